"""Exact comparison of two databases: every row, sequence and object; the verdict never says more than was seen.

Each table's rows are counted and their 64-bit hashes added up, so the order of rows does not matter and an accident
goes unseen with a chance of about 2^-64. Hashes are over the bytes of the values: 1.0 is not 1.00, and 0 is not -0.
Where sums differ the rows are looked for, by their text, with the settings that text depends on pinned; a
difference is said only when a row is found. Materialized views are compared by definition and by whether they are
populated: their rows are the restore's own, made from equal tables.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.fingerprint import read_fingerprint, schema_differences
from switchover.postgres.globals.facts import global_facts
from switchover.postgres.globals.read import mattering, read_named
from switchover.postgres.rowdiff import count_changes, count_large_objects, explain
from switchover.postgres.sequences import read_sequences
from switchover.postgres.sums import Digest, Piece, sum_up, whole
from switchover.postgres.table import Table, read_tables
from switchover.postgres.together import all_of, both
from switchover.words import count, duration, plain, size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.fingerprint import Facts
    from switchover.postgres.sequences import SequenceValue

    OnProgress = Callable[[str, float, float, str], None]

T = TypeVar("T")
AT_ONCE = 2
"""Tables hashed at the same time on each side; one core each."""


class Verdict(StrEnum):
    """What a comparison says."""

    SAME = "same"
    DIFFERS = "differs"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class TableCompared:
    """One table of both sides."""

    table: str
    source_rows: int
    target_rows: int
    same: bool
    difference: str = ""
    """In a line: how many rows, and the keys of some that differ, with the columns."""


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


@dataclass(frozen=True, slots=True)
class _Objects:
    """What a side holds beside rows."""

    facts: Facts
    sequences: tuple[SequenceValue, ...]


async def compare(  # noqa: PLR0913  both sides, and how to look at them
    source: Database,
    target: Database,
    app: str,
    *,
    on_progress: OnProgress,
    source_snapshot: str | None = None,
    sequences: bool = True,
    partitions: bool = True,
    jobs: int = AT_ONCE,
    not_data: Collection[str] = (),
    globals: bool = False,
    only: Collection[str] | None = None,
) -> Comparison:
    """Compare everything, under one snapshot on each side, by ``jobs`` sessions on each.

    A source that is written to meanwhile is compared as of ``source_snapshot``; sequences know no snapshot:
    ``sequences`` False leaves their values out. ``partitions`` False compares a partitioned table's rows as a
    whole, and not how it is parted. Rows of foreign tables cannot be looked at: unless ``not_data`` names them,
    the verdict is INCOMPLETE at best. ``globals`` compares what surrounds the database too: roles, memberships,
    settings and privileges, which a copy gets only with its final name; passwords never. ``only`` names the tables
    whose rows are looked at, where there is no time for all.
    """
    async with AsyncExitStack() as stack:
        ours, theirs = await both(
            _open(stack, source, app, source_snapshot, jobs), _open(stack, target, app, None, jobs)
        )
        floor = min(side.first.info.server_version for side in (ours, theirs))
        mine, other = await both(
            _objects(ours, floor, partitions=partitions, beyond=globals),
            _objects(theirs, floor, partitions=partitions, beyond=globals),
        )
        differences = schema_differences(mine.facts, other.facts)
        if globals:
            differences += schema_differences(*await _global_facts(ours, theirs))
        compared = await _tables(ours, theirs, on_progress, partitions=partitions, only=only)
        differences += [each.difference for each in compared if each.difference]
        if sequences:
            differences += _sequence_differences(mine.sequences, other.sequences)
        unseen = [each for each in sorted({*ours.foreign, *theirs.foreign}) if each not in not_data]
    if differences:
        return Comparison(Verdict.DIFFERS, compared, len(mine.sequences), tuple(differences))
    left = [] if only is None else [name for name in ours.tables if name not in only]
    notes = tuple(f"foreign table {each}: its rows were not looked at" for each in unseen)
    notes += (f"the rows of {count(len(left), 'table')} were not looked at",) if left else ()
    return Comparison(Verdict.INCOMPLETE if notes else Verdict.SAME, compared, len(mine.sequences), notes)


async def changes(source: Database, target: Database, app: str) -> tuple[TableChange, ...]:
    """The rows of each table that are on the target and not on the source, changed, or gone.

    A table that only one side has counts with all its rows; large objects count as a table of that name.
    """
    async with AsyncExitStack() as stack:
        ours, theirs = await both(_open(stack, source, app, None, AT_ONCE), _open(stack, target, app, None, AT_ONCE))
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
        rows = (await _on(side, whole(side.sessions[number], table))).rows
        return TableChange(shown, 0, 0, rows, exact=True) if mine else TableChange(shown, rows, 0, 0, exact=True)
    common = set(mine.columns) & set(other.columns)
    mine, other = mine.only(common), other.only(common)
    digests = await both(
        _on(ours, whole(ours.sessions[number], mine)), _on(theirs, whole(theirs.sessions[number], other))
    )
    if mine.forms == other.forms and digests[0] == digests[1]:
        return None
    matched = mine if mine.key == other.key else replace(mine, key=())
    with told(ours.db):
        counted = await count_changes(ours.sessions[number], theirs.sessions[number], matched)
    if not counted.any:
        return None
    return TableChange(shown, counted.inserted, counted.updated, counted.deleted, exact=bool(matched.key))


async def _global_facts(ours: _Side, theirs: _Side) -> tuple[Facts, Facts]:
    """The roles that matter are the source's: whom else the target lets in shows in what it grants."""
    roles = await _on(ours, mattering(ours.first))
    return global_facts(
        *await both(_on(ours, read_named(ours.first, roles)), _on(theirs, read_named(theirs.first, roles)))
    )


async def _objects(side: _Side, floor: int, *, partitions: bool, beyond: bool) -> _Objects:
    """The schema by one session, the sequences by another."""
    facts = read_fingerprint(side.first, floor, partitions=partitions, beyond=beyond)
    return _Objects(*await _on(side, both(facts, read_sequences(side.sessions[-1]))))


async def _on(side: _Side, work: Coroutine[object, object, T]) -> T:
    """Run against one side, whose name any error then bears."""
    with told(side.db):
        return await work


async def _open(stack: AsyncExitStack, db: Database, app: str, snapshot: str | None, jobs: int) -> _Side:
    """Open the side's sessions on one snapshot: the given one, or one of its own."""
    sessions = []
    with told(db):
        for _ in range(jobs):
            session = await stack.enter_async_context(await connect(db, app))
            await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await session.execute("SET LOCAL search_path = pg_catalog")
            await session.execute("SET LOCAL max_parallel_workers_per_gather = 0")
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


async def _tables(
    ours: _Side, theirs: _Side, on_progress: OnProgress, *, partitions: bool, only: Collection[str] | None
) -> tuple[TableCompared, ...]:
    """Sum up every table that both sides have, both sides at once; then look for the rows that differ."""
    units = [_units(side, partitions=partitions) for side in (ours, theirs)]
    if only is not None:
        units = [{name: tables for name, tables in side.items() if name in only} for side in units]
    names = [name for name in sorted(units[0].keys() & units[1].keys()) if _alike(units[0][name], units[1][name])]
    wanted = [[table for name in names for table in side[name]] for side in units]
    meter = _Meter(sum(table.bytes for side in wanted for table in side), on_progress)
    sums = await both(
        _on(ours, sum_up(ours.sessions, wanted[0], meter.add)),
        _on(theirs, sum_up(theirs.sessions, wanted[1], meter.add)),
    )
    found = []
    for name in sorted(units[0].keys() & units[1].keys()):
        shown = plain(name, 200)
        if name not in names:
            says = f"table {shown}: other columns or types, so its rows were not compared"
            found.append(TableCompared(shown, -1, -1, same=False, difference=says))
            continue
        digests = [
            sum((summed[table.name] for table in side[name]), Digest())
            for side, summed in zip(units, sums, strict=True)
        ]
        says = await _explained(ours, theirs, name, units, digests) if digests[0] != digests[1] else ""
        found.append(TableCompared(shown, digests[0].rows, digests[1].rows, same=not says, difference=says))
    return tuple(found)


def _units(side: _Side, *, partitions: bool) -> dict[str, tuple[Table, ...]]:
    """What is compared as one: each table, or all partitions of a table together."""
    found: dict[str, tuple[Table, ...]] = {}
    for table in side.tables.values():
        name = table.name if partitions or table.root is None else table.root
        found[name] = (*found.get(name, ()), table)
    return found


def _alike(ours: tuple[Table, ...], theirs: tuple[Table, ...]) -> bool:
    """Whether the rows of both can be compared."""
    return len({(table.columns, table.forms) for table in (*ours, *theirs)}) == 1


async def _explained(
    ours: _Side, theirs: _Side, name: str, units: list[dict[str, tuple[Table, ...]]], digests: list[Digest]
) -> str:
    """What differs in a table whose sums differ; empty when every row's text is the same on both sides."""
    rows = f"{count(digests[0].rows, 'row')} on the source, {count(digests[1].rows, 'row')} on the target"
    says = f"table {plain(name, 200)}: {rows}, contents differ"
    (mine, *parts), (other, *others) = units[0][name], units[1][name]
    if parts or others or mine.name != other.name:
        return says
    with told(ours.db):
        keys = await explain(ours.first, theirs.first, mine if mine.key == other.key else replace(mine, key=()))
    return "" if keys is None else says + keys


@dataclass(slots=True)
class _Meter:
    """Bytes of both sides that are summed up, of all."""

    whole: int
    on_progress: OnProgress
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, piece: Piece) -> None:
        self.done += piece.bytes
        left = (time.monotonic() - self.started) / self.done * (self.whole - self.done) if self.done else 0.0
        says = f"compared {size(self.done)} of {size(self.whole)} of both sides, about {duration(round(left))} left"
        self.on_progress(says, self.done, self.whole, "bytes")


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
