"""A second opinion on whether two databases hold the same: what one pg_dump says of both, and nothing of the product's."""

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
_COPY = re.compile(r"COPY .* FROM stdin;$")
_SETTING = re.compile(r"SET (default_tablespace|default_table_access_method) = (.*);$")


def difference(program: Path, source: str, target: str) -> str:
    """A short unified diff of what ``program`` dumps of two conninfos; empty when they hold the same."""
    ours, theirs = (Counter(entries(dump(program, where))) for where in (source, target))
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
        elif line == "--" and _HEADER.match(lines[number + 1]):
            yield "\n".join(entry)
            entry = []
        elif found := _SETTING.match(line):
            settings[found[1]] = found[2]
        elif line.startswith("CREATE TABLE "):
            entry += [line, f"-- {settings}"]
        elif line not in ("", "--"):
            entry.append(line)
            rows = [] if _COPY.match(line) else None
    yield "\n".join(entry)


def _lines(found: Counter[str]) -> list[str]:
    return "\n".join(sorted(found.elements())).splitlines()
