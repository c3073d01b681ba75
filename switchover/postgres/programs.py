"""PostgreSQL's own client programs: how they are run; no secret is among their arguments."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from switchover.postgres.errors import CopyFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from switchover.children import Children, Finished
    from switchover.postgres.connect import Database

LONGEST_S = 86400.0
LOCK_PATIENCE = "60s"
"""How long a copy waits for a table of the source that somebody has locked."""

ANSWER_S = 10.0
"""How long a program may take to say its version."""

WRITABLE = "default_transaction_read_only=off"
"""A target role, or the target itself, may be read-only unless it is told otherwise."""

COPYING = ("pg_dump", "pg_restore", "psql")
"""The programs that a copy needs."""


@dataclass(frozen=True, slots=True)
class Tools:
    """How the client programs are run: parallel jobs, their folder, our name, and the runner of children."""

    jobs: int
    bin: str | None
    app: str
    children: Children


@dataclass(frozen=True, slots=True)
class Release:
    """A client program's version."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def client_program(name: str, bin: str | None) -> str:
    """The path of a client program: in the plan's folder, else on the PATH."""
    return str(Path(bin).expanduser() / name) if bin else name


async def client_release(name: str, bin: str | None) -> Release | None:
    """The version of a client program; None when there is none. Raises CopyFailed when it does not answer."""
    program = client_program(name, bin)
    if shutil.which(program) is None:
        return None
    try:
        said = await asyncio.to_thread(
            subprocess.run, [program, "--version"], capture_output=True, text=True, check=False, timeout=ANSWER_S
        )
    except subprocess.TimeoutExpired:
        raise CopyFailed(
            f"{program} --version gave no answer for {ANSWER_S:g} s; call it by hand, or set database.bin"
        ) from None
    number = re.search(r"(\d+)(?:\.(\d+))?", said.stdout)
    return Release(int(number[1]), int(number[2] or 0)) if number else None


def named(dbname: str) -> str:
    """The database as an argument, quoted: a bare name with = in it would be read as a connection text."""
    return "--dbname=" + make_conninfo("", dbname=dbname)


def with_settings(env: Mapping[str, str], settings: Iterable[str]) -> dict[str, str]:
    """The environment of a program whose sessions have these settings, whatever the role's or the database's are."""
    options = " ".join((env.get("PGOPTIONS", ""), *(f"-c {each}" for each in settings))).strip()
    return {**env, "PGOPTIONS": options} if options else {**env}


async def run_program(
    argv: tuple[str, ...],
    db: Database,
    tools: Tools,
    on_line: Callable[[str], None],
    settings: tuple[str, ...] = (),
) -> None:
    """Run one program on one server. Raises CopyFailed with its own words."""
    # Its words are read, so they must be English; and the dump must be in the database's own encoding.
    env = with_settings({**db.env(), "PGAPPNAME": tools.app, "LC_ALL": "C"}, settings)
    env.pop("PGCLIENTENCODING", None)
    refuse_failed(argv, await tools.children.run(argv, timeout_s=LONGEST_S, env=env, on_line=on_line))


def refuse_failed(argv: tuple[str, ...], ended: Finished) -> None:
    """Raise CopyFailed when the program did not end well."""
    if ended.code == 0:
        return
    words = [line for line in ended.said.splitlines() if "error" in line.lower() or "fatal" in line.lower()]
    said = " ".join(words[-3:]) or ended.said[-300:] or "it said nothing"
    if "server closed the connection unexpectedly" in ended.said:
        said += "; the server's own log says why: it may have crashed, been shut down, or have no room left for WAL"
    raise CopyFailed(f"{Path(argv[0]).name} ended with {ended.code}: {said}")
