"""What was written on the target since it opened: what an undo would throw away, row by row and beside rows."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.postgres.connect import told
from switchover.postgres.fingerprint import read_fingerprint, schema_differences
from switchover.postgres.rowdiff import Reading, count_changes, count_large_objects
from switchover.postgres.sequences import read_sequences, sequence_differences
from switchover.postgres.side import AT_ONCE, on, open_side
from switchover.postgres.sums import whole
from switchover.postgres.together import all_of, both
from switchover.words import plain

if TYPE_CHECKING:
    from switchover.postgres.connect import Database
    from switchover.postgres.side import Side


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
class Changes:
    """Everything on the target that the source, as it was copied, has not; false when there is nothing."""

    tables: tuple[TableChange, ...] = ()
    beside: tuple[str, ...] = ()
    """Differences of the schema, and sequences that were drawn from, in a line each."""

    def __bool__(self) -> bool:
        return bool(self.tables or self.beside)


async def changes(source: Database, target: Database, app: str) -> Changes:
    """The rows of each table that are on the target and not on the source, changed, or gone; and what else differs.

    A table that only one side has counts with all its rows; large objects count as a table of that name. Of a column
    that only one side has the values are not counted: that it is there is a difference. Materialized views hold
    nothing of their own.
    """
    async with AsyncExitStack() as stack:
        ours, theirs = await both(
            *(stack.enter_async_context(open_side(db, app, views=False)) for db in (source, target))
        )
        beside = await _beside(ours, theirs)
        waiting = sorted(ours.tables.keys() | theirs.tables.keys())
        found: list[TableChange] = []

        async def work(number: int) -> None:
            while waiting:
                change = await _change(ours, theirs, waiting.pop(), number)
                if change is not None and (change.inserted or change.updated or change.deleted):
                    found.append(change)

        await all_of(work(number) for number in range(AT_ONCE))
        with told(source), told(target):
            objects = await count_large_objects(ours.first, theirs.first)
        if objects.any:
            found.append(TableChange("large objects", objects.inserted, objects.updated, objects.deleted, exact=True))
    return Changes(tuple(sorted(found, key=lambda each: each.table)), beside)


async def _beside(ours: Side, theirs: Side) -> tuple[str, ...]:
    """Where the schemas and the sequences differ; bytes of large objects are counted by themselves."""
    floor = min(side.first.info.server_version for side in (ours, theirs))
    facts = await both(*(on(side, read_fingerprint(side.first, floor, large_objects=False)) for side in (ours, theirs)))
    stand = await both(*(on(side, read_sequences(side.first)) for side in (ours, theirs)))
    return (*schema_differences(*facts), *sequence_differences(*stand))


async def _change(ours: Side, theirs: Side, name: str, number: int) -> TableChange | None:
    """How the rows of one table differ, in the columns that both have; None when they do not."""
    mine, other = ours.tables.get(name), theirs.tables.get(name)
    shown = plain(name, 200)
    if mine is None or other is None:
        side = ours if mine is not None else theirs
        table = mine or other
        assert table is not None  # one of the two has it
        rows = (await on(side, whole(side.sessions[number], table))).rows
        return TableChange(shown, 0, 0, rows, exact=True) if mine else TableChange(shown, rows, 0, 0, exact=True)
    common = set(mine.columns) & set(other.columns)
    mine, other = mine.only(common), other.only(common)
    digests = await both(
        on(ours, whole(ours.sessions[number], mine)), on(theirs, whole(theirs.sessions[number], other))
    )
    if mine.forms == other.forms and digests[0] == digests[1]:
        return None
    with told(ours.db):
        counted = await count_changes(Reading(ours.sessions[number], mine), Reading(theirs.sessions[number], other))
    exact = bool(mine.key) and mine.key == other.key
    return TableChange(shown, counted.inserted, counted.updated, counted.deleted, exact=exact)
