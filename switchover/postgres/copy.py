"""Dump and restore by PostgreSQL's own programs; what they are told is data, and no secret is in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, database_name, told
from switchover.postgres.errors import CopyFailed
from switchover.postgres.facts import server_facts
from switchover.postgres.lock_waits import blockers_named, waiting
from switchover.postgres.programs import (
    LOCK_PATIENCE,
    WRITABLE,
    Tools,
    client_program,
    client_release,
    named,
    run_program,
)
from switchover.postgres.table import read_tables
from switchover.postgres.tally import BEGINS, DUMPS, ENDS, Tally
from switchover.postgres.toc import read_list, sort_out, write_list
from switchover.postgres.together import all_of
from switchover.words import count, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.toc import Entry

    OnProgress = Callable[[str, float, float, str], None]


SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """A dump that is complete."""

    bytes: int
    seconds: float
    sha256: str
    """Of the list of its files' checksums, which lies among them."""
    tables: int
    client: int


def dump_argv(
    folder: str | Path, *, jobs: int, bin: str | None, snapshot: str | None, dbname: str | None = None
) -> tuple[str, ...]:
    """pg_dump in directory format; where and who come from the environment."""
    given = [f"--snapshot={snapshot}"] if snapshot else []
    given += [named(dbname)] if dbname else []
    return (
        client_program("pg_dump", bin),
        "--format=directory",
        f"--jobs={jobs}",
        "--verbose",
        f"--lock-wait-timeout={LOCK_PATIENCE}",
        "--exclude-schema=switchover",
        *given,
        f"--file={folder}",
    )


def restore_argv(folder: str | Path, dbname: str, *, jobs: int, bin: str | None, listed: str | Path) -> tuple[str, ...]:
    """pg_restore of what ``listed`` names, straight into a database. Subscriptions are left out: they bind the copy
    to its publisher's slot, so that it could not be dropped any more."""
    return (
        client_program("pg_restore", bin),
        "--format=directory",
        f"--jobs={jobs}",
        "--exit-on-error",
        "--no-subscriptions",
        "--verbose",
        f"--use-list={listed}",
        named(dbname),
        str(folder),
    )


async def hold_snapshot(db: Database, app: str) -> tuple[AsyncConnection, str]:
    """Open a session that keeps one snapshot for others to share, as long as it lives."""
    with told(db):
        session = await connect(db, app)
        await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = await (await session.execute("SELECT pg_export_snapshot()")).fetchone()
        assert row is not None  # always one row
        return session, str(row[0])


async def dump(
    source: Database, folder: Path, tools: Tools, *, snapshot: str | None, on_progress: OnProgress
) -> DumpFacts:
    """Dump into a new folder, 0700 with files of 0600; a partial one of before is wiped. Raises CopyFailed."""
    started = time.monotonic()
    facts = await server_facts(source, tools.app)
    client = await client_release("pg_dump", tools.bin)
    if client is None or client.major < facts.major:
        raise CopyFailed(f"pg_dump {client or 'is missing and'} cannot dump a server {facts.major}; set database.bin")
    await asyncio.to_thread(_wipe, folder)
    counted = Tally(on_progress, DUMPS, "dumped", await _table_sizes(source, tools.app))

    def waits(who: str) -> None:
        on_progress(waiting(who), counted.done, len(counted.sizes), "tables")

    argv = dump_argv(folder, jobs=tools.jobs, bin=tools.bin, snapshot=snapshot, dbname=facts.name)
    before = os.umask(0o077)
    try:
        async with blockers_named(source, tools.app, waits):
            await run_program(argv, source, tools, counted)
    finally:
        os.umask(before)
    written, digest = await asyncio.to_thread(_seal, folder, tools.jobs)
    on_progress(f"dumped {count(counted.done, 'table')}, {size(written)}", counted.done, counted.done, "tables")
    return DumpFacts(written, time.monotonic() - started, digest, counted.done, client.major)


async def restore(folder: Path, target: Database, tools: Tools, *, on_progress: OnProgress) -> None:
    """Restore into an empty database and stop at the first error. Raises CopyFailed with the server's words.

    Foreign keys and event triggers come when all else is done: beside other work a key to a partitioned table and an
    index of it wait for each other, and one of the two workers ends with "deadlock detected".
    """
    name = await database_name(target, tools.app)
    lines: list[str] = []
    argv = (client_program("pg_restore", tools.bin), "--list", "--verbose", str(folder))
    await run_program(argv, target, tools, lines.append)
    after = sort_out(read_list(lines), ())
    sizes = await asyncio.to_thread(_data_sizes, folder, after.middle, tools.jobs)
    counted = Tally(on_progress, ENDS if tools.jobs > 1 else BEGINS, "restored", sizes)
    for number, entries in enumerate((after.middle, (*after.foreign, *after.last))):
        if entries:
            listed = list_beside(folder, number)
            write_list(listed, entries)
            restores = restore_argv(folder, name, jobs=tools.jobs, bin=tools.bin, listed=listed)
            await run_program(restores, target, tools, counted, (WRITABLE,))
            listed.unlink()


def list_beside(folder: Path, number: int = 0) -> Path:
    """Where the list lies that tells pg_restore what of a dump to restore."""
    return folder.with_name(f"{folder.name}.list{number}")


async def analyze(target: Database, app: str, jobs: int = 4) -> None:
    """Gather statistics: a database without them is a slow one on the first evening.

    A table with a foreign one beneath it is left out: its statistics would be fetched from that other server.
    """
    with told(target):
        async with await connect(target, app) as session:
            beyond = set(await (await session.execute(_ABOVE_FOREIGN)).fetchall())
            tables = await read_tables(session)
        waiting = [table for table in tables if (table.schema, table.relation) not in beyond]
        waiting.sort(key=lambda table: table.bytes)

        async def work() -> None:
            async with await connect(target, app) as session:
                while waiting:
                    await session.execute(sql.SQL("ANALYZE {}").format(waiting.pop().identifier))

        await all_of(work() for _ in range(jobs))
        async with await connect(target, app) as session:
            parents = await (await session.execute(_PARENTS)).fetchall()
            for names in (each for each in parents if each not in beyond):
                await session.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*names)))


_PARENTS = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
AND n.nspname !~ '^pg_(toast|temp)' AND (c.relkind = 'p' OR c.relispopulated)
"""
_SIZES = """
SELECT n.nspname || '.' || c.relname, (c.relpages + coalesce(t.relpages, 0))::int8 * 8192
FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_'
"""
_ABOVE_FOREIGN = """
WITH RECURSIVE above AS (
  SELECT i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'f'
  UNION SELECT i.inhparent FROM pg_inherits i JOIN above a ON a.inhparent = i.inhrelid)
SELECT n.nspname, c.relname FROM above a JOIN pg_class c ON c.oid = a.inhparent
JOIN pg_namespace n ON n.oid = c.relnamespace
"""


async def _table_sizes(db: Database, app: str) -> dict[str, int]:
    """Bytes of each table as last analyzed, by the name that pg_dump says: to measure a locked one would wait."""
    with told(db):
        async with await connect(db, app) as session:
            return dict(await (await session.execute(_SIZES)).fetchall())


def _data_sizes(folder: Path, entries: Iterable[Entry], jobs: int) -> dict[str, int]:
    """Bytes of each table's file in the dump, by what pg_restore calls it."""
    sizes = {int(path.name.partition(".")[0]): path.stat().st_size for path in folder.glob("[0-9]*.dat*")}
    tables = [entry for entry in entries if entry.says.startswith("TABLE DATA ")]
    return {_called(entry, jobs): sizes.get(entry.id, 0) for entry in tables}


def _called(entry: Entry, jobs: int) -> str:
    """Several jobs say an entry's number; one says schema and name, which the list gives between kind and owner."""
    said = entry.says.removeprefix("TABLE DATA ").rpartition(" ")[0]
    return str(entry.id) if jobs > 1 else said.replace(" ", ".", 1)


def _wipe(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _seal(folder: Path, jobs: int) -> tuple[int, str]:
    """Write SUMS over every file, for ``sha256sum --check`` years later; bytes in all, and the hash of the sums."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    with ThreadPoolExecutor(jobs) as pool:
        sums = "".join(f"{digest}  {path.name}\n" for path, digest in zip(files, pool.map(_sha256, files), strict=True))
    sealed = folder / SUMS
    sealed.touch(mode=0o600)
    sealed.write_text(sums)
    return sum(path.stat().st_size for path in files), hashlib.sha256(sums.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
