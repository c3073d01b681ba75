"""A copy without a file: rows go from server to server through pipes between PostgreSQL's own programs.

The schema goes first, by pg_dump and pg_restore. Large tables then go each by a pair of psql, very large ones in
several parts by ranges of blocks, all small ones by one pg_dump into one pg_restore, with sequences and large
objects; all of them under one exported snapshot. The indexes and keys of a table begin the moment it is full,
the longest first. What needs them follows, then foreign keys, then event triggers. Every object is made by
pg_restore from its own archive, so that nothing is forgotten that a dump would hold.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, database_name, told
from switchover.postgres.copy import hold_snapshot
from switchover.postgres.errors import CopyFailed
from switchover.postgres.guard import read_fact, write_fact
from switchover.postgres.lock_waits import blockers_named, waiting
from switchover.postgres.programs import LOCK_PATIENCE, LONGEST_S, refuse_failed
from switchover.postgres.stream.jobs import Job, run_jobs
from switchover.postgres.stream.meter import Meter, watched
from switchover.postgres.stream.programs import (
    End,
    end_of,
    fits,
    list_needs,
    list_section,
    read_part,
    read_rest,
    read_schema,
    restore_entries,
    write_part,
    write_rest,
)
from switchover.postgres.stream.shape import ForeignKey, Part, Shape, Streamed, parted, read_shape, stand_alone
from switchover.postgres.toc import AfterData, Entry, part_before, read_list, sort_out, write_list
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from psycopg import AsyncConnection

    from switchover.children import Command, Finished
    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database
    from switchover.postgres.programs import Tools

    OnProgress = Callable[[str, float, float, str], None]

FACT = "streamed"
"""The note in the copy itself that says how far it is, so that a later run may go on."""

SORT_MEMORY = 256 * 1024 * 1024
"""Bytes an index build may use at least; the default of 64 MB makes large sorts spill."""

BATCH = 100
"""Indexes of small tables made, or tables emptied, in one transaction: each holds a few of the server's locks."""

OBJECTS = 1000
"""Large objects removed in one transaction: each holds a lock."""

_SCHEMA, _TABLES, _REST = "schema", "tables", "rest"
_UNLINK = """
SELECT max(o.oid), count(lo_unlink(o.oid))
FROM (SELECT oid FROM pg_largeobject_metadata WHERE oid > %s::oid ORDER BY oid LIMIT %s) AS o
"""
_MEMORY = "SELECT greatest(pg_size_bytes(current_setting('maintenance_work_mem')), %s) / 1024"
_THERE = """
SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.indisvalid
"""
_KEYS_THERE = """
SELECT n.nspname, c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f'
"""


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """A stream that is complete."""

    bytes: int
    """Of the tables on the source."""
    seconds: float
    tables: int
    kept: int
    """Tables that an earlier, broken-off stream had filled already."""


async def resumable(target: Database, app: str, stamp: str) -> bool:
    """Whether the copy holds whole tables of this very source, and nothing that could not be made again."""
    said = await read_fact(target, app, FACT)
    if not isinstance(said, dict) or "alone" not in said:
        return False
    return said.get("stamp") == stamp and said.get("stage") == _TABLES


async def stream(  # noqa: PLR0913  two databases, and how to copy
    source: Database,
    target: Database,
    folder: Path,
    tools: Tools,
    *,
    snapshot: str | None,
    stamp: str,
    on_progress: OnProgress,
) -> StreamFacts:
    """Fill an empty database, or go on where ``resumable`` says one may. Raises CopyFailed.

    ``stamp`` says what it is a copy of: equal stamps mean equal rows. ``folder`` is used for the schema alone,
    and gone in the end. Without a ``snapshot`` one is held as long as it lasts.
    """
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        if snapshot is None:
            session, snapshot = await hold_snapshot(source, tools.app)
            stack.push_async_callback(session.close)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        _make(folder)
        async with blockers_named(source, tools.app, lambda who: on_progress(waiting(who), 0, 0, "bytes")):
            shape = await _shape(source, tools.app, snapshot)
        meter = Meter.of(shape, on_progress)
        run = _Stream(
            target,
            tools,
            stamp,
            snapshot,
            folder / "schema",
            end_of(source, await database_name(source, tools.app), tools, (f"lock_timeout={LOCK_PATIENCE}",)),
            end_of(target, await database_name(target, tools.app), tools, await _settings(target, tools.app)),
            shape,
            meter,
        )
        async with blockers_named(source, tools.app, meter.wait):
            await run.all()
    return StreamFacts(shape.bytes, time.monotonic() - started, len(shape.tables), run.kept)


@dataclass(slots=True)
class _Stream:
    target: Database
    tools: Tools
    stamp: str
    snapshot: str
    archive: Path
    reading: End
    writing: End
    shape: Shape
    meter: Meter
    alone: tuple[Streamed, ...] = ()
    """The tables that do not go with the small ones, the largest first; a later run keeps to what the first chose."""
    full: set[str] = field(default_factory=set)
    """The tables that are full, by oid; and ``rest`` for all the small ones."""
    left: dict[int, int] = field(default_factory=dict)
    kept: int = 0
    stage: str = _SCHEMA
    noting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def all(self) -> None:
        async with watched(self.meter, self.target, self.tools.app):
            before, after = await self.schema()
            await run_jobs([*before, *self.filling(), *await self.indexing(after.early)], self.tools.jobs)
            await self.reach("rest")
            await self.restore(after.middle)
            await run_jobs(await self.referring(after.foreign), self.tools.jobs)
            await self.restore(after.last)
        await self.reach("done")

    async def schema(self) -> tuple[list[Job], AfterData]:
        """Make what the large tables need; the job that makes everything else; and what comes after the rows."""
        before = os.umask(0o077)
        try:
            await self.run(read_schema(self.reading, self.archive, self.snapshot))
        finally:
            os.umask(before)
        everything = {entry.id: entry for entry in read_list(await self.listed(list_needs(*self.there)))}
        sections = [
            [everything[entry.id] for entry in read_list(await self.listed(list_section(*self.there, section)))]
            for section in ("pre-data", "post-data")
        ]
        after = sort_out(sections[1], self.shape.indexes)
        if await resumable(self.target, self.tools.app, self.stamp):
            self.stage = _TABLES
            await self.resume()
            return [], after
        self.alone = tuple(table for table in stand_alone(self.shape, self.tools.jobs) if fits(table))
        first, second = part_before(sections[0], {table.oid for table in self.alone})
        await self.restore(first, together=False)

        async def work() -> None:
            await self.restore(second, together=False)
            await self.reach(_TABLES)

        return [Job(_SCHEMA, math.inf, work)], after

    async def resume(self) -> None:
        """Keep the tables that are full; empty all others, and remove every large object if it will come again."""
        said = await read_fact(self.target, self.tools.app, FACT)
        alone, self.full = _noted(said, "alone"), _noted(said, "full")
        with_name = [(table, str(table.oid)) for table in self.shape.tables]
        self.alone = tuple(table for table, name in with_name if name in alone)
        again = [table for table, name in with_name if (name if name in alone else _REST) not in self.full]
        self.kept = len(self.shape.tables) - len(again)
        with told(self.target):
            async with await connect(self.target, self.tools.app) as session:
                for start in range(0, len(again), BATCH):
                    each = (sql.SQL("ONLY {}").format(table.identifier) for table in again[start : start + BATCH])
                    await session.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(each)))
                if _REST not in self.full:
                    await _remove_large_objects(session)

    def filling(self) -> list[Job]:
        wanted = [table for table in self.alone if str(table.oid) not in self.full]
        parts = parted(wanted, self.shape.bytes, self.tools.jobs)
        self.left = {table.oid: sum(1 for part in parts if part.table == table) for table in wanted}
        jobs = [
            Job(_data(part), part.table.bytes / part.of + self.shape.cost_after(part.table.oid), self.fill_with(part))
            for part in parts
        ]
        if _REST not in self.full:
            small = self.shape.bytes - sum(table.bytes for table in self.alone)
            many = len(self.shape.tables) - len(self.alone)
            needs = frozenset({_SCHEMA} if self.stage == _SCHEMA else ())
            jobs.append(Job(_REST, 2.0 * small + 100_000.0 * many, self.fill_rest, needs))
        return jobs

    def fill_with(self, part: Part) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            commands = read_part(self.reading, part, self.snapshot), write_part(self.writing, part)
            await self.pipe(*commands, f"table {plain(f'{part.table.schema}.{part.table.name}', 200)}")
            self.meter.fill(part.table, 1 / part.of)
            self.left[part.table.oid] -= 1
            if not self.left[part.table.oid]:
                await self.is_full(str(part.table.oid))

        return work

    async def fill_rest(self) -> None:
        await self.pipe(read_rest(self.reading, self.alone, self.snapshot), write_rest(self.writing), "small tables")
        self.meter.add(self.shape.bytes - sum(table.bytes for table in self.alone))
        await self.is_full(_REST)

    async def indexing(self, early: tuple[Entry, ...]) -> list[Job]:
        """Those of a large table each for itself, once it is full; those of small ones in batches."""
        there = set(await self.rows(_THERE))
        alone = {table.oid: table for table in self.alone}
        needs = {
            oid: frozenset(_data(part) for part in parted([table], self.shape.bytes, self.tools.jobs))
            for oid, table in alone.items()
            if str(oid) not in self.full
        }
        jobs: list[Job] = []
        small: list[Entry] = []
        for entry in early:
            index = self.shape.indexes[entry.oid]
            if (index.schema, index.name) in there:
                self.meter.add(index.bytes)
            elif index.table not in alone:
                small.append(entry)
            else:
                table, needed = frozenset({index.table}), needs.get(index.table, frozenset())
                shares, takes = (table, frozenset[int]()) if index.constraint is None else (frozenset[int](), table)
                work = self.restore_with((entry,), index.bytes)
                jobs.append(Job(f"index:{entry.oid}", index.cost, work, needed, shares, takes))
        needed = frozenset({_REST} if _REST not in self.full else ())
        for batch in _by_table(small, self.shape):
            indexes = [self.shape.indexes[entry.oid] for entry in batch]
            work = self.restore_with(batch, sum(index.bytes for index in indexes))
            jobs.append(Job(f"indexes:{batch[0].oid}", sum(index.cost for index in indexes), work, needed))
        return jobs

    async def referring(self, foreign: tuple[Entry, ...]) -> list[Job]:
        """Each foreign key for itself: it looks up every row of its table."""
        there = set(await self.rows(_KEYS_THERE))
        jobs = []
        for entry in foreign:
            key: ForeignKey | None = self.shape.foreign_keys.get(entry.oid)
            if key is None or (key.schema, key.relation, key.name) not in there:
                takes = frozenset({key.table, key.refers} if key else ())
                work = self.restore_with((entry,), 0)
                jobs.append(Job(f"key:{entry.oid}", key.bytes if key else 0, work, takes=takes))
        return jobs

    def restore_with(self, entries: tuple[Entry, ...], number: int) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            await self.restore(entries)
            self.meter.add(number)

        return work

    async def restore(self, entries: tuple[Entry, ...], *, together: bool = True) -> None:
        if entries:
            listed = self.archive.with_name(f"list-{entries[0].id}")
            write_list(listed, entries)
            await self.run(restore_entries(*self.there, listed, together=together))

    @property
    def there(self) -> tuple[End, Path]:
        return self.writing, self.archive

    async def listed(self, command: Command) -> list[str]:
        lines: list[str] = []
        await self.run(command, lines.append)
        return lines

    async def reach(self, stage: str) -> None:
        """Say in the copy how far it is, one at a time: a note that overtakes a later one would take it back."""
        self.stage = stage
        async with self.noting:
            full: list[Json] = [*sorted(self.full)]
            alone: list[Json] = [str(table.oid) for table in self.alone]
            says: dict[str, Json] = {"stamp": self.stamp, "stage": self.stage, "alone": alone, "full": full}
            await write_fact(self.target, self.tools.app, FACT, says)

    async def is_full(self, what: str) -> None:
        self.full.add(what)
        await self.reach(self.stage)

    async def rows(self, query: str) -> list[tuple[str, ...]]:
        with told(self.target):
            async with await connect(self.target, self.tools.app) as session:
                return await (await session.execute(query.encode())).fetchall()

    async def run(self, command: Command, on_line: Callable[[str], None] | None = None) -> None:
        children = self.tools.children
        ended = await children.run(command.argv, timeout_s=LONGEST_S, env=command.env, on_line=on_line)
        refuse_failed(command.argv, ended)

    async def pipe(self, source: Command, sink: Command, what: str) -> None:
        """Both must end well; a source that found its pipe broken is not the cause."""
        first, second = await self.tools.children.pipe(source, sink, timeout_s=LONGEST_S)
        broken = first.code not in (0, -signal.SIGPIPE) and "roken pipe" not in first.said
        order: list[tuple[Command, Finished]] = [(source, first), (sink, second)]
        for command, ended in order if broken else reversed(order):
            try:
                refuse_failed(command.argv, ended)
            except CopyFailed as failed:
                raise CopyFailed(f"{what}: {failed}") from None


def _data(part: Part) -> str:
    return f"data:{part.table.oid}:{part.number}"


def _noted(said: Json, key: str) -> set[str]:
    """The oids, and what else there is, of a list in the note."""
    known = said.get(key) if isinstance(said, dict) else None
    return {str(each) for each in known} if isinstance(known, list) else set()


async def _remove_large_objects(session: AsyncConnection) -> None:
    last: int | None = 0
    while last is not None:
        row = await (await session.execute(_UNLINK, (last, OBJECTS))).fetchone()
        last = row[0] if row is not None else None


def _by_table(entries: Iterable[Entry], shape: Shape) -> list[tuple[Entry, ...]]:
    """In batches, all of a table in one: making its key excludes making its other indexes meanwhile."""
    batches: list[list[Entry]] = []
    last = -1
    for entry in sorted(entries, key=lambda each: (shape.indexes[each.oid].table, each.id)):
        table = shape.indexes[entry.oid].table
        if not batches or (len(batches[-1]) >= BATCH and table != last):
            batches.append([])
        batches[-1].append(entry)
        last = table
    return [tuple(batch) for batch in batches]


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


async def _shape(source: Database, app: str, snapshot: str) -> Shape:
    with told(source):
        async with await connect(source, app) as session:
            await session.execute(f"SET lock_timeout = '{LOCK_PATIENCE}'".encode())
            await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            return await read_shape(session)


async def _settings(target: Database, app: str) -> tuple[str, ...]:
    """A lost commit is no harm before the copy is complete: the note that says so is written through."""
    with told(target):
        async with await connect(target, app) as session:
            row = await (await session.execute(_MEMORY, (SORT_MEMORY,))).fetchone()
            assert row is not None  # always one row
            return ("lock_timeout=0", "synchronous_commit=off", f"maintenance_work_mem={row[0]}")
