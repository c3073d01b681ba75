"""Exact comparison of two databases: every row, sequence and object; the verdict never says more than was seen.

Each table's rows are counted and hashed into two sums of 64-bit hashes with different seeds, so the order of
rows does not matter and an accident goes unseen with a chance of about 2^-128. The record's text form tells
NULL from an empty string, and every session pins the settings that text depends on. Materialized views are
compared by definition and by whether they are populated: their rows are the restore's own, made from equal tables.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.fingerprint import read_fingerprint, schema_differences
from switchover.postgres.rowdiff import count_changes, count_large_objects, example_keys
from switchover.postgres.sequences import read_sequences
from switchover.postgres.table import Table, hashed, read_tables, record
from switchover.postgres.together import all_of, both
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.sequences import SequenceValue

    OnProgress = Callable[[str, float, float, str], None]

T = TypeVar("T")
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

    db: Database
    sessions: tuple[AsyncConnection, ...]
    tables: dict[str, Table]
    foreign: tuple[str, ...]

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
    not_data: Collection[str] = (),
) -> Comparison:
    """Compare everything, under one snapshot on each side; ``sequences`` False leaves their values out.

    A source that is written to meanwhile is compared as of ``source_snapshot``; sequences know no snapshot. Rows of
    foreign tables cannot be looked at: unless ``not_data`` names them, the verdict is INCOMPLETE at best.
    """
    async with AsyncExitStack() as stack:
        ours, theirs = await both(_open(stack, source, app, source_snapshot), _open(stack, target, app, None))
        floor = min(side.first.info.server_version for side in (ours, theirs))
        facts = await both(
            _on(ours, read_fingerprint(ours.first, floor)), _on(theirs, read_fingerprint(theirs.first, floor))
        )
        differences = schema_differences(*facts)
        tables = await _tables(ours, theirs, on_progress, differences)
        values = await both(_on(ours, read_sequences(ours.first)), _on(theirs, read_sequences(theirs.first)))
        if sequences:
            differences += _sequence_differences(*values)
        unseen = [each for each in sorted({*ours.foreign, *theirs.foreign}) if each not in not_data]
    if differences:
        return Comparison(Verdict.DIFFERS, tuple(tables), len(values[0]), tuple(differences))
    notes = tuple(f"foreign table {each}: its rows were not looked at" for each in unseen)
    return Comparison(Verdict.INCOMPLETE if notes else Verdict.SAME, tuple(tables), len(values[0]), notes)


async def changes(source: Database, target: Database, app: str) -> tuple[TableChange, ...]:
    """The rows of each table that are on the target and not on the source, changed, or gone.

    A table that only one side has counts with all its rows; large objects count as a table of that name.
    """
    async with AsyncExitStack() as stack:
        ours, theirs = await both(_open(stack, source, app, None), _open(stack, target, app, None))
        waiting = sorted(ours.tables.keys() | theirs.tables.keys())
        found: list[TableChange] = []

        async def work(number: int) -> None:
            while waiting:
                change = await _change(ours, theirs, waiting.pop(), number)
                if change is not None:
                    found.append(change)

        await all_of(work(number) for number in range(AT_ONCE))
        with told(source), told(target):
            objects = await count_large_objects(ours.first, theirs.first)
        if objects.inserted or objects.updated or objects.deleted:
            found.append(TableChange("large objects", objects.inserted, objects.updated, objects.deleted, exact=True))
    return tuple(sorted(found, key=lambda each: each.table))


async def _change(ours: _Side, theirs: _Side, name: str, number: int) -> TableChange | None:
    """How one table differs; None when it does not."""
    mine, other = ours.tables.get(name), theirs.tables.get(name)
    shown = plain(name, 200)
    if mine is None or other is None:
        side = ours if mine is not None else theirs
        table = mine or other
        assert table is not None  # noqa: S101  one of the two has it
        rows = (await _on(side, _digest(side.sessions[number], table))).rows
        return TableChange(shown, 0, 0, rows, exact=True) if mine else TableChange(shown, rows, 0, 0, exact=True)
    common = set(mine.columns) & set(other.columns)
    mine, other = mine.only(common), other.only(common)
    digests = await both(
        _on(ours, _digest(ours.sessions[number], mine)), _on(theirs, _digest(theirs.sessions[number], other))
    )
    if digests[0] == digests[1]:
        return None
    matched = mine if mine.key == other.key else replace(mine, key=())
    with told(ours.db):
        counted = await count_changes(ours.sessions[number], theirs.sessions[number], matched)
    return TableChange(shown, counted.inserted, counted.updated, counted.deleted, exact=bool(matched.key))


async def _on(side: _Side, work: Coroutine[object, object, T]) -> T:
    """Run against one side, whose name any error then bears."""
    with told(side.db):
        return await work


async def _open(stack: AsyncExitStack, db: Database, app: str, snapshot: str | None) -> _Side:
    """Open the side's sessions on one snapshot: the given one, or one of its own."""
    sessions = []
    with told(db):
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
        foreign = await sessions[0].execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'f'")
        names = tuple(plain(row[0], 200) for row in await foreign.fetchall())
    return _Side(db, tuple(sessions), {table.name: table for table in tables}, names)


async def _tables(ours: _Side, theirs: _Side, on_progress: OnProgress, differences: list[str]) -> list[TableCompared]:
    """Compare every table that both sides have; one that only one side has is a schema difference already."""
    waiting = sorted(ours.tables.keys() & theirs.tables.keys(), key=lambda name: ours.tables[name].bytes)
    whole, done = len(waiting), 0
    compared: list[TableCompared] = []

    async def work(number: int) -> None:
        nonlocal done
        while waiting:
            name = waiting.pop()
            result, difference = await _table(ours, theirs, name, number)
            done += 1
            compared.append(result)
            if difference:
                differences.append(difference)
            on_progress(f"compared {done} of {whole} tables", done, whole, "tables")

    await all_of(work(number) for number in range(AT_ONCE))
    return sorted(compared, key=lambda each: each.table)


async def _table(ours: _Side, theirs: _Side, name: str, number: int) -> tuple[TableCompared, str]:
    """Compare one table that both have; the difference in a line, empty without one."""
    mine, other = ours.tables[name], theirs.tables[name]
    shown = plain(name, 200)
    if mine.columns != other.columns:
        return TableCompared(shown, -1, -1, same=False), f"table {shown}: other columns, so its rows were not compared"
    sums = await both(
        _on(ours, _digest(ours.sessions[number], mine)), _on(theirs, _digest(theirs.sessions[number], other))
    )
    if sums[0] == sums[1]:
        return TableCompared(shown, sums[0].rows, sums[1].rows, same=True), ""
    keys = ""
    if mine.key == other.key:
        with told(ours.db):
            keys = await example_keys(ours.sessions[number], theirs.sessions[number], mine)
    says = (
        f"table {shown}: {count(sums[0].rows, 'row')} on the source, {count(sums[1].rows, 'row')} on the target, "
        f"contents differ{keys}"
    )
    return TableCompared(shown, sums[0].rows, sums[1].rows, same=False), says


def _sequence_differences(ours: Sequence[SequenceValue], theirs: Sequence[SequenceValue]) -> list[str]:
    """One that only one side has is a schema difference already."""
    there = {(each.schema, each.name): each for each in theirs}
    return [
        f"sequence {plain(f'{each.schema}.{each.name}', 200)} stands at {_standing(other)} on the target, "
        f"{_standing(each)} on the source"
        for each in ours
        if (other := there.get((each.schema, each.name))) is not None and other != each
    ]


def _standing(value: SequenceValue) -> str:
    return f"{value.last_value}, {'used' if value.is_called else 'not used'}"


async def _digest(session: AsyncConnection, table: Table) -> Digest:
    sums = [sql.SQL("coalesce(sum({}::numeric), 0)").format(hashed(record(table), seed)) for seed in SEEDS]
    query = sql.SQL("SELECT count(*), {} FROM ONLY {} AS r").format(sql.SQL(", ").join(sums), table.identifier)
    row = await (await session.execute(query)).fetchone()
    assert row is not None  # noqa: S101  an aggregate has one row
    return Digest(row[0], tuple(int(each) for each in row[1:]))
