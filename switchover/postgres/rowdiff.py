"""Which rows differ between two sides: both are read in one order, and merged, in constant memory."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg import AsyncServerCursor, sql

from switchover.postgres.table import Table, hashed, key_text, record
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from psycopg import AsyncConnection

EXAMPLES = 20
AT_ONCE = 5000

LARGE_OBJECTS = sql.SQL("SELECT lpad(oid::text, 10, '0'), {} FROM pg_largeobject_metadata ORDER BY 1").format(
    hashed(sql.SQL("md5(lo_get(oid))"), 1)
)


@dataclass(slots=True)
class Changes:
    """Rows on the target against the source."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Keys of the first rows that are missing, extra or different on the target."""

    def note(self, kind: str, key: str) -> None:
        seen = self.examples.setdefault(kind, [])
        if len(seen) < EXAMPLES:
            seen.append(plain(key, 60))

    @property
    def enough(self) -> bool:
        """Whether there are examples to show a person."""
        return sum(len(seen) for seen in self.examples.values()) >= EXAMPLES


async def count_changes(
    source: AsyncConnection, target: AsyncConnection, table: Table, *, examples_only: bool = False
) -> Changes:
    """Rows inserted, updated and deleted on the target; without a primary key a change is one of each.

    ``examples_only`` stops as soon as there are enough to show.
    """
    query = _keyed(table) if table.key else _unkeyed(table)
    return await _merge(source, target, query, keyed=bool(table.key), examples_only=examples_only)


async def count_large_objects(source: AsyncConnection, target: AsyncConnection) -> Changes:
    """Large objects made, changed and removed on the target."""
    return await _merge(source, target, LARGE_OBJECTS, keyed=True, examples_only=False)


async def example_keys(source: AsyncConnection, target: AsyncConnection, table: Table) -> str:
    """Some keys of rows that differ, in words; empty where there is no key to name them by."""
    if not table.key:
        return ""
    found = (await count_changes(source, target, table, examples_only=True)).examples
    words = [f"{kind} {', '.join(found[kind])}" for kind in ("missing", "extra", "different") if kind in found]
    return f": {'; '.join(words)}" if words else ""


def _keyed(table: Table) -> sql.Composed:
    return sql.SQL("SELECT {key}, {hash} FROM ONLY {table} AS r ORDER BY convert_to({key}, 'UTF8')").format(
        key=key_text(table), hash=hashed(record(table), 1), table=table.identifier
    )


def _unkeyed(table: Table) -> sql.Composed:
    """Equal rows counted; the hash, as text, stands for a key."""
    return sql.SQL('SELECT {hash}::text COLLATE "C", count(*) FROM ONLY {table} AS r GROUP BY 1 ORDER BY 1').format(
        hash=hashed(record(table), 1), table=table.identifier
    )


async def _merge(
    source: AsyncConnection, target: AsyncConnection, query: sql.Composed, *, keyed: bool, examples_only: bool
) -> Changes:
    found = Changes()
    ours, theirs = _rows(source, query), _rows(target, query)
    try:
        mine, other = await anext(ours, None), await anext(theirs, None)
        while (mine is not None or other is not None) and not (examples_only and found.enough):
            if other is None or (mine is not None and mine[0] < other[0]):
                assert mine is not None  # noqa: S101  one of the two is there
                found.deleted += 1 if keyed else mine[1]
                found.note("missing", mine[0])
                mine = await anext(ours, None)
            elif mine is None or other[0] < mine[0]:
                found.inserted += 1 if keyed else other[1]
                found.note("extra", other[0])
                other = await anext(theirs, None)
            else:
                _same_key(found, mine, other, keyed=keyed)
                mine, other = await anext(ours, None), await anext(theirs, None)
    finally:
        await ours.aclose()
        await theirs.aclose()
    return found


def _same_key(found: Changes, mine: tuple[str, int], other: tuple[str, int], *, keyed: bool) -> None:
    if mine[1] == other[1]:
        return
    if keyed:
        found.updated += 1
        found.note("different", mine[0])
    else:
        found.inserted += max(0, other[1] - mine[1])
        found.deleted += max(0, mine[1] - other[1])


async def _rows(session: AsyncConnection, query: sql.Composed) -> AsyncGenerator[tuple[str, int], None]:
    """Key and number of each, in the order of the key's bytes (UTF-8 sorts as code points do)."""
    async with AsyncServerCursor(session, f"rows_{uuid.uuid4().hex[:8]}") as cursor:
        cursor.itersize = AT_ONCE
        await cursor.execute(query)
        async for key, number in cursor:
            yield str(key), int(number)
