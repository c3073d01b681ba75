"""Dump and restore by PostgreSQL's own programs; what they are told is data, and no secret is in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from switchover.postgres.connect import connect, database_name, told
from switchover.postgres.errors import CopyFailed
from switchover.postgres.facts import client_major, client_program, server_facts
from switchover.words import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from switchover.children import Children
    from switchover.postgres.connect import Database

    OnProgress = Callable[[str, float, float, str], None]

LONGEST_S = 86400.0


@dataclass(frozen=True, slots=True)
class Tools:
    """How the client programs are run: parallel jobs, their folder, our name, and the runner of children."""

    jobs: int
    bin: str | None
    app: str
    children: Children


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """A dump that is complete."""

    bytes: int
    seconds: float
    sha256: str
    tables: int
    client: int


def dump_argv(folder: str | Path, *, jobs: int, bin: str | None, snapshot: str | None) -> tuple[str, ...]:
    """pg_dump in directory format; where and who come from the environment."""
    given = (f"--snapshot={snapshot}",) if snapshot else ()
    return (
        client_program("pg_dump", bin),
        "--format=directory",
        f"--jobs={jobs}",
        "--verbose",
        "--exclude-schema=switchover",
        *given,
        f"--file={folder}",
    )


def restore_argv(folder: str | Path, dbname: str, *, jobs: int, bin: str | None) -> tuple[str, ...]:
    """pg_restore straight into a database; subscriptions are left out, for they would start to pull."""
    return (
        client_program("pg_restore", bin),
        "--format=directory",
        f"--jobs={jobs}",
        "--exit-on-error",
        "--no-subscriptions",
        "--verbose",
        f"--dbname={dbname}",
        str(folder),
    )


async def hold_snapshot(db: Database, app: str) -> tuple[AsyncConnection, str]:
    """Open a session that keeps one snapshot for others to share, as long as it lives."""
    with told(db):
        session = await connect(db, app)
        await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = await (await session.execute("SELECT pg_export_snapshot()")).fetchone()
        assert row is not None  # noqa: S101  always one row
        return session, str(row[0])


async def dump(
    source: Database, folder: Path, tools: Tools, *, snapshot: str | None, on_progress: OnProgress
) -> DumpFacts:
    """Dump into a new folder, 0700 with files of 0600; a partial one of before is wiped. Raises CopyFailed."""
    started = time.monotonic()
    facts = await server_facts(source, tools.app)
    client = await client_major(tools.bin)
    if client is None or client < facts.major:
        raise CopyFailed(f"pg_dump {client or 'is missing and'} cannot dump a server {facts.major}; set database.bin")
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    counted = _Counter(
        on_progress, re.compile(r"dumping contents of table"), "dumped", await _table_count(source, tools.app)
    )
    before = os.umask(0o077)
    try:
        argv = dump_argv(folder, jobs=tools.jobs, bin=tools.bin, snapshot=snapshot)
        await _run(argv, source, tools, counted)
    finally:
        os.umask(before)
    total, digest = await asyncio.to_thread(_digest, folder)
    on_progress(f"dumped {size(total)}", 1, 1, "")
    return DumpFacts(total, time.monotonic() - started, digest, counted.done, client)


async def restore(folder: Path, target: Database, tools: Tools, *, on_progress: OnProgress) -> None:
    """Restore into an empty database and stop at the first error. Raises CopyFailed with the server's words."""
    name = await database_name(target, tools.app)
    counted = _Counter(
        on_progress, re.compile(r"finished item \d+ TABLE DATA|processing data for table"), "restored", 0
    )
    await _run(restore_argv(folder, name, jobs=tools.jobs, bin=tools.bin), target, tools, counted)


async def analyze(target: Database, app: str) -> None:
    """Gather statistics: a database without them is a slow one on the first evening."""
    with told(target):
        async with await connect(target, app) as session:
            await session.execute("ANALYZE")


class _Counter:
    """Counts the client's verbose lines that say a table is done."""

    def __init__(self, on_progress: OnProgress, line: re.Pattern[str], verb: str, total: int) -> None:
        self._on_progress = on_progress
        self._line = line
        self._verb = verb
        self._total = total
        self.done = 0

    def __call__(self, line: str) -> None:
        if self._line.search(line):
            self.done += 1
            self._on_progress(f"{self._verb} {self.done} tables", self.done, self._total, "tables")


async def _run(argv: tuple[str, ...], db: Database, tools: Tools, on_line: Callable[[str], None]) -> None:
    env = {**db.env(), "PGAPPNAME": tools.app}
    ended = await tools.children.run(argv, timeout_s=LONGEST_S, env=env, on_line=on_line)
    if ended.code != 0:
        words = [line for line in ended.said.splitlines() if "error" in line.lower() or "fatal" in line.lower()]
        said = " ".join(words[-3:]) or ended.said[-300:]
        raise CopyFailed(f"{Path(argv[0]).name} ended with {ended.code}: {said}")


async def _table_count(db: Database, app: str) -> int:
    with told(db):
        async with await connect(db, app) as session:
            found = await session.execute(
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
                "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_'"
            )
            row = await found.fetchone()
            return int(row[0]) if row is not None else 0


def _digest(folder: Path) -> tuple[int, str]:
    """Bytes in all, and one hash over the sorted hashes of the files."""
    total = 0
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total += path.stat().st_size
        with path.open("rb") as file:
            whole.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total, whole.hexdigest()
