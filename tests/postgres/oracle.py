"""A second opinion on whether two databases hold the same: what one pg_dump says of both, nothing of the product's."""

from __future__ import annotations

import difflib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SHOWN = 60
WIDTH = 240

_HEADER = re.compile(r"-- (Data for )?Name: ")
_VIEW = re.compile(r"-- Name: .*(; Type: (MATERIALIZED )?VIEW| _RETURN; Type: RULE);")
_COPY = re.compile(r"COPY .* FROM stdin;$")
_NOISE = re.compile(
    r"--$|$|-- (Dumped|PostgreSQL database dump)|\\(un)?restrict |BEGIN;$|COMMIT;$"
    r"|-- (Data for )?Name: .*; Type: (BLOBS?|BLOB METADATA);"
)
_OBJECT = re.compile(r"SELECT pg_catalog.lo_(create|open)|ALTER LARGE OBJECT ")
"""Large objects stand together or apart as it pleases the program: each statement is on its own here."""
_SETTING = re.compile(r"SET (default_tablespace|default_table_access_method) = (.*);$")
_WORDING = (
    (re.compile(r' CONSTRAINT ("[^"]*_not_null"|[^ "]*_not_null) NOT NULL'), " NOT NULL"),
    (re.compile(r"\( VALUES "), "(VALUES "),
)
"""Names that the server gave, and blanks that it puts where a view is read again."""
_QUALIFIER = re.compile(r'(?<![\w".])("(?:[^"]|"")+"|\w+)\.(?=["\w*])')
"""Two versions do not qualify the same columns in a view."""
_PRIVILEGES = re.compile(r"(?<=GRANT |EVOKE )[A-Z,]+(?= ON TABLE )")
_ALL = "SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER"
"""What two versions know; MAINTAIN is known from PostgreSQL 17 on."""
_ROLES = re.compile(r"(?<= TO )[^()]+(?= USING \(| WITH CHECK \()")


def difference(program: Path, source: str, target: str) -> str:
    """A short unified diff of what ``program`` dumps of two conninfos; empty when they hold the same."""
    dumps = [dump(program, where) for where in (source, target)]
    loose = len({_version(each) for each in dumps}) > 1
    ours, theirs = (Counter(_loosely(entry) if loose else entry for entry in entries(each) if entry) for each in dumps)
    lines = difflib.unified_diff(_lines(ours - theirs), _lines(theirs - ours), "source", "target", n=1, lineterm="")
    return "\n".join(line[:WIDTH] for _, line in zip(range(SHOWN), lines, strict=False))


def dump(program: Path, conninfo: str) -> str:
    """Schema, rows, sequences and large objects as SQL."""
    argv = [program, "--exclude-schema=switchover", f"--dbname={conninfo}"]
    done = subprocess.run(argv, capture_output=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def entries(dumped: str) -> Iterator[str]:
    """Each object with its header, in which the order of rows says nothing; settings stand with what they are for."""
    entry: list[str] = []
    rows: list[str] | None = None
    settings: dict[str, str] = {}
    lines = dumped.split("\n")
    for number, line in enumerate(lines):
        if rows is not None:
            rows.append(line)
            if line == "\\.":
                entry += sorted(rows)
                rows = None
        elif (line == "--" and _HEADER.match(lines[number + 1])) or _OBJECT.match(line):
            yield "\n".join(entry)
            entry = [] if line == "--" else [line]
        elif found := _SETTING.match(line):
            settings[found[1]] = found[2]
        elif not _NOISE.match(line):
            entry += [_plain(line), f"-- {settings}"] if line.startswith("CREATE TABLE ") else [_plain(line)]
            rows = [] if _COPY.match(line) else None
    yield "\n".join(entry)


def _plain(line: str) -> str:
    for pattern, wording in _WORDING:
        line = pattern.sub(wording, line)
    if line.startswith("CREATE POLICY "):
        line = _ROLES.sub(lambda found: ", ".join(sorted(found[0].split(", "))), line)
    return line


def _loosely(entry: str) -> str:
    """Without what two versions word otherwise."""
    entry = _QUALIFIER.sub("", entry) if _VIEW.match(entry) else entry
    return _PRIVILEGES.sub(_known, entry)


def _known(privileges: re.Match[str]) -> str:
    return ",".join(sorted({*privileges[0].replace("ALL", _ALL).split(",")} - {"MAINTAIN"}))


def _version(dumped: str) -> str:
    found = re.search(r"^-- Dumped from database version (\d+)", dumped, re.MULTILINE)
    assert found is not None
    return found[1]


def _lines(found: Counter[str]) -> list[str]:
    return "\n".join(sorted(found.elements())).splitlines()
