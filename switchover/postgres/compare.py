"""Exact comparison of two databases: every row, sequence and object; the verdict never says more than was seen.

Each table's rows are counted and hashed into two sums of 64-bit hashes with different seeds, so the order of
rows does not matter and an accident goes unseen with a chance of about 2^-128. The record's text form tells
NULL from an empty string, and every session pins the settings that text depends on.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.fingerprint import read_fingerprint, schema_differences
from switchover.postgres.rowdiff import count_changes, example_keys
from switchover.postgres.sequences import read_sequences
from switchover.postgres.table import Table, read_tables, record
from switchover.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

    OnProgress = Callable[[str, float, float, str], None]

AT_ONCE = 2
"""Tables hashed at the same time on each side; one core each."""

SEEDS = (1, 2)


class Verdict(StrEnum):
    """What a comparison says."""

    SAME = "same"
    DIFFERS = "differs"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Digest:
    """A table's rows, summed up."""

    rows: int
    sums: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TableCompared:
    """One table of both sides."""

    table: str
    source_rows: int
    target_rows: int
    same: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and every difference in a line."""

    verdict: Verdict
    tables: tuple[TableCompared, ...]
    sequences: int
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableChange:
    """Rows of a table on the target against the source."""

    table: str
    inserted: int
    updated: int
    deleted: int
    exact: bool
    """Whether rows could be matched by a primary key; without one an update is one deleted and one inserted."""


@dataclass(frozen=True, slots=True)
class _Side:
    """Sessions of one side that share one snapshot."""

    sessions: tuple[AsyncConnection, ...]
    tables: dict[str, Table]

    @property
    def first(self) -> AsyncConnection:
        return self.sessions[0]


async def compare(  # noqa: PLR0913  both sides, and how to look at them
    source: Database,
    target: Database,
    app: str,
    *,
    on_progress: OnProgress,
    source_snapshot: str | None = None,
    sequences: bool = True,
) -> Comparison:
    """Compare everything, under one snapshot on each side; ``sequences`` False leaves their values out.

    A source that is written to meanwhile is compared as of ``source_snapshot``; sequences know no snapshot.
    """
    with told(target):
        async with AsyncExitStack() as stack:
            ours, theirs = await asyncio.gather(
                _open(stack, source, app, source_snapshot), _open(stack, target, app, None)
            )
            facts = await asyncio.gather(read_fingerprint(ours.first), read_fingerprint(theirs.first))
            differences = schema_differences(*facts)
            tables = await _tables(ours, theirs, on_progress, differences)
            values = await asyncio.gather(read_sequences(ours.first), read_sequences(theirs.first))
            if sequences:
                apart = sorted({(each.schema, each.name) for each in set(values[0]) ^ set(values[1])})
                differences += [f"sequence {schema}.{name} does not stand at the same value" for schema, name in apart]
    verdict = Verdict.DIFFERS if differences else Verdict.SAME
    return Comparison(verdict, tuple(tables), len(values[0]), tuple(differences))


async def changes(source: Database, target: Database, app: str) -> tuple[TableChange, ...]:
    """The rows of each table that are on the target and not on the source, changed, or gone."""
    found: list[TableChange] = []
    with told(target):
        async with AsyncExitStack() as stack:
            ours, theirs = await asyncio.gather(_open(stack, source, app, None), _open(stack, target, app, None))
            for name in sorted(ours.tables.keys() & theirs.tables.keys()):
                table = ours.tables[name]
                digests = await asyncio.gather(_digest(ours.first, table), _digest(theirs.first, theirs.tables[name]))
                if digests[0] != digests[1]:
                    counted = await count_changes(ours.first, theirs.first, table)
                    found.append(TableChange(name, *counted, exact=bool(table.key)))
    return tuple(found)


async def _open(stack: AsyncExitStack, db: Database, app: str, snapshot: str | None) -> _Side:
    """Open the side's sessions on one snapshot: the given one, or one of its own."""
    sessions = []
    for _ in range(AT_ONCE):
        session = await stack.enter_async_context(await connect(db, app))
        await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        await session.execute("SET LOCAL search_path = pg_catalog")
        if snapshot is None:
            row = await (await session.execute("SELECT pg_export_snapshot()")).fetchone()
            snapshot = str(row[0]) if row is not None else None
        else:
            await session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        sessions.append(session)
    tables = await read_tables(sessions[0])
    return _Side(tuple(sessions), {table.name: table for table in tables})


async def _tables(ours: _Side, theirs: _Side, on_progress: OnProgress, differences: list[str]) -> list[TableCompared]:
    """Compare every table that both sides have; one that only one side has is a schema difference already."""
    waiting = sorted(ours.tables.keys() & theirs.tables.keys(), key=lambda name: -ours.tables[name].bytes)
    whole, left = len(waiting), list(reversed(waiting))
    compared: list[TableCompared] = []

    async def work(number: int) -> None:
        while left:
            name = left.pop()
            mine, other = ours.tables[name], theirs.tables[name]
            if mine.columns != other.columns:
                differences.append(f"table {name}: its columns differ, so its rows were not compared")
                continue
            sums = await asyncio.gather(_digest(ours.sessions[number], mine), _digest(theirs.sessions[number], other))
            same = sums[0] == sums[1]
            compared.append(TableCompared(name, sums[0].rows, sums[1].rows, same))
            if not same:
                keys = await example_keys(ours.sessions[number], theirs.sessions[number], mine)
                differences.append(
                    f"table {name}: {count(sums[0].rows, 'row')} on the source, {count(sums[1].rows, 'row')} on the "
                    f"target, contents differ{keys}"
                )
            on_progress(f"compared {len(compared)} of {whole} tables", len(compared), whole, "tables")

    await asyncio.gather(*(work(number) for number in range(AT_ONCE)))
    return sorted(compared, key=lambda each: each.table)


async def _digest(session: AsyncConnection, table: Table) -> Digest:
    sums: Sequence[sql.Composable] = [
        sql.SQL("coalesce(sum(hashtextextended({}, {})::numeric), 0)").format(record(table), sql.Literal(seed))
        for seed in SEEDS
    ]
    query = sql.SQL("SELECT count(*), {} FROM ONLY {} AS r").format(sql.SQL(", ").join(sums), table.identifier)
    row = await (await session.execute(query)).fetchone()
    assert row is not None  # noqa: S101  an aggregate has one row
    return Digest(row[0], tuple(int(each) for each in row[1:]))
