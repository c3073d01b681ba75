"""Exact comparison of two databases: every row, sequence and object; the verdict never says more than was seen.

Each table's rows are counted and their 64-bit hashes added up, so the order of rows does not matter and an accident
goes unseen with a chance of about 2^-64. Hashes are over the bytes of the values: 1.0 is not 1.00, and 0 is not -0.
Where sums differ the rows are looked for, by their text, with the settings that text depends on pinned; a
difference is said only when a row is found. Rows of materialized views count as those of tables; right after a copy
has made them anew from equal tables they can be left out. What was not looked at makes the verdict INCOMPLETE.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from switchover.postgres.connect import told
from switchover.postgres.fingerprint import read_fingerprint, schema_differences
from switchover.postgres.globals.facts import global_facts
from switchover.postgres.globals.read import mattering, read_named
from switchover.postgres.rowdiff import Reading, explain
from switchover.postgres.sequences import read_sequences, sequence_differences
from switchover.postgres.side import AT_ONCE, on, open_side
from switchover.postgres.sums import Digest, Piece, sum_up
from switchover.postgres.table import newest, together
from switchover.postgres.together import both
from switchover.words import count, duration, plain, size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from switchover.postgres.connect import Database
    from switchover.postgres.fingerprint import Facts
    from switchover.postgres.sequences import SequenceValue
    from switchover.postgres.side import Side
    from switchover.postgres.table import Table

    OnProgress = Callable[[str, float, float, str], None]
    Units = dict[str, tuple[Table, ...]]


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
    """In a line: how many rows, and the keys of some that differ, with the columns; or where they lie."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and every difference in a line."""

    verdict: Verdict
    tables: tuple[TableCompared, ...]
    sequences: int
    differences: tuple[str, ...]
    unseen: frozenset[str] = frozenset()
    """The preflight's findings that tell of what was not looked at: a plan accepts it by these ids."""


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
    views: bool = True,
    jobs: int = AT_ONCE,
    not_data: Collection[str] = (),
    globals: bool = False,
    only: Collection[str] | None = None,
    last: int = 0,
) -> Comparison:
    """Compare everything, under one snapshot on each side, by ``jobs`` sessions on each.

    A source that is written to meanwhile is compared as of ``source_snapshot``; sequences know no snapshot:
    ``sequences`` False leaves their values out. ``partitions`` False compares a partitioned table's rows as a
    whole, and not how it is parted; ``views`` False leaves out the rows of materialized views. Rows of foreign
    tables, extensions' own rows and what lies in the system's schemas cannot be looked at: unless ``not_data`` names
    them, the verdict is INCOMPLETE at best. ``globals`` compares what surrounds the database too: roles, memberships,
    settings and privileges, which a copy gets only with its final name; passwords never. Where there is no time for
    everything: ``only`` names the tables whose rows are all looked at; of the others it is the ``last`` ones by
    primary key, where that is one whole number.
    """
    async with AsyncExitStack() as stack:
        ours, theirs = await both(
            stack.enter_async_context(open_side(source, app, snapshot=source_snapshot, jobs=jobs, views=views)),
            stack.enter_async_context(open_side(target, app, jobs=jobs, views=views)),
        )
        floor = min(side.first.info.server_version for side in (ours, theirs))
        mine, other = await both(
            _objects(ours, floor, partitions=partitions, beyond=globals),
            _objects(theirs, floor, partitions=partitions, beyond=globals),
        )
        differences = schema_differences(mine.facts, other.facts)
        if globals:
            differences += schema_differences(*await _global_facts(ours, theirs))
        units = [_units(side, partitions=partitions) for side in (ours, theirs)]
        if only is not None:
            units = [_some(side, only, last) for side in units]
        compared = await _tables(ours, theirs, units, on_progress)
        differences += [each.difference for each in compared if each.difference]
        if sequences:
            differences += sequence_differences(mine.sequences, other.sequences)
        unseen = [each for each in sorted({*ours.unseen, *theirs.unseen}) if each.name not in not_data]
    if differences:
        return Comparison(Verdict.DIFFERS, compared, len(mine.sequences), tuple(differences))
    notes = (*(each.says for each in unseen), *_left(ours, units[0], last))
    verdict = Verdict.INCOMPLETE if notes else Verdict.SAME
    return Comparison(verdict, compared, len(mine.sequences), notes, frozenset(each.finding for each in unseen))


async def _global_facts(ours: Side, theirs: Side) -> tuple[Facts, Facts]:
    """The roles that matter are the source's: whom else the target lets in shows in what it grants."""
    roles = await on(ours, mattering(ours.first))
    return global_facts(
        *await both(on(ours, read_named(ours.first, roles)), on(theirs, read_named(theirs.first, roles)))
    )


async def _objects(side: Side, floor: int, *, partitions: bool, beyond: bool) -> _Objects:
    """The schema by one session, the sequences by another."""
    facts = read_fingerprint(side.first, floor, partitions=partitions, beyond=beyond)
    return _Objects(*await on(side, both(facts, read_sequences(side.sessions[-1]))))


async def _tables(ours: Side, theirs: Side, units: list[Units], on_progress: OnProgress) -> tuple[TableCompared, ...]:
    """Sum up every table that both sides have, both sides at once; then look for the rows that differ."""
    names = [name for name in sorted(units[0].keys() & units[1].keys()) if _alike(units[0][name], units[1][name])]
    wanted = [[table for name in names for table in side[name]] for side in units]
    meter = _Meter(sum(table.bytes for side in wanted for table in side), on_progress)
    sums = await both(
        on(ours, sum_up(ours.sessions, wanted[0], meter.add)),
        on(theirs, sum_up(theirs.sessions, wanted[1], meter.add)),
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


def _some(units: Units, only: Collection[str], last: int) -> Units:
    """Some tables whole, and of the others their newest rows, where it is known which these are."""
    found = {name: tables for name, tables in units.items() if name in only}
    if last:
        others = {name: tables for name, tables in units.items() if name not in only}
        found |= {
            name: tuple(newest(table, last) for table in tables)
            for name, tables in others.items()
            if all(table.counter and not table.condition for table in tables)
        }
    return found


def _left(side: Side, units: Units, last: int) -> tuple[str, ...]:
    """Which rows were not looked at, in words."""
    looked_at = [table for tables in units.values() for table in tables]
    partly, none = sum(1 for table in looked_at if table.newest), len(side.tables) - len(looked_at)
    return (
        *([f"of {count(partly, 'table')} the newest {last:,} rows alone were looked at"] if partly else []),
        *([f"the rows of {count(none, 'table')} were not looked at"] if none else []),
    )


def _units(side: Side, *, partitions: bool) -> Units:
    """What is compared as one: each table, or all partitions of a table together."""
    found: dict[str, tuple[Table, ...]] = {}
    for table in side.tables.values():
        name = table.name if partitions or table.root is None else table.root
        found[name] = (*found.get(name, ()), table)
    return found


def _alike(ours: tuple[Table, ...], theirs: tuple[Table, ...]) -> bool:
    """Whether the rows of both can be compared."""
    return len({(table.columns, table.forms) for table in (*ours, *theirs)}) == 1


async def _explained(ours: Side, theirs: Side, name: str, units: list[Units], digests: list[Digest]) -> str:
    """What differs in a table whose sums differ; empty when every row's text is the same on both sides."""
    mine, other = (together(name, side[name]) for side in units)
    rows = f"{count(digests[0].rows, 'row')} on the source, {count(digests[1].rows, 'row')} on the target"
    with told(ours.db):
        found = await explain(Reading(ours.first, mine), Reading(theirs.first, other))
    kind = "materialized view" if mine.view else "table"
    return "" if found is None else f"{kind} {plain(name, 200)}: {rows}, contents differ{found}"


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
