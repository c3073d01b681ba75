"""Which rows differ between two sides: both are read in one order, and merged, in constant memory.

Each query's locks are given back when it is read, by a savepoint; the transaction's snapshot is kept.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import AsyncServerCursor, sql

from switchover.postgres.table import Table, hashed, key_text, record
from switchover.postgres.together import both
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from psycopg import AsyncConnection

EXAMPLES = 20
EXPLAINED = 5
"""Rows of which the columns that differ are named: each side is read once more for them."""
SHOWN = 6
BUCKETS = 1024
KINDS = ("missing", "extra", "different")
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
    """Keys of the first rows that are missing, extra or different on the target, as the server writes them."""

    def note(self, kind: str, key: str) -> None:
        seen = self.examples.setdefault(kind, [])
        if len(seen) < EXAMPLES:
            seen.append(key)

    @property
    def enough(self) -> bool:
        """Whether there are examples to show a person."""
        return sum(len(seen) for seen in self.examples.values()) >= EXAMPLES

    @property
    def any(self) -> bool:
        return bool(self.inserted or self.updated or self.deleted)


async def count_changes(
    source: AsyncConnection, target: AsyncConnection, table: Table, *, examples_only: bool = False
) -> Changes:
    """Rows inserted, updated and deleted on the target; without a primary key a change is one of each.

    Each side first sums its rows up by buckets of their keys, and only rows of buckets that differ are sorted and
    merged. Rows are told apart by their text, so that no accident of a hash function is taken for a difference.
    ``examples_only`` stops as soon as there are enough to show.
    """
    buckets = await _differing_buckets(source, target, table)
    if not buckets:
        return Changes()
    query = _keyed(table, buckets) if table.key else _unkeyed(table, buckets)
    return await _merge(source, target, query, keyed=bool(table.key), examples_only=examples_only)


async def count_large_objects(source: AsyncConnection, target: AsyncConnection) -> Changes:
    """Large objects made, changed and removed on the target."""
    return await _merge(source, target, LARGE_OBJECTS, keyed=True, examples_only=False)


async def explain(source: AsyncConnection, target: AsyncConnection, table: Table) -> str | None:
    """Keys of some rows that differ, with the columns, in words; None when every row is the same after all."""
    found = await count_changes(source, target, table, examples_only=True)
    if not found.any:
        return None
    if not table.key:
        return f" ({count(found.deleted, 'row')} missing, {count(found.inserted, 'row')} extra, at least)"
    words = [
        f"{kind} {', '.join(plain(key, 60) for key in found.examples[kind])}"
        for kind in KINDS[:2]
        if kind in found.examples
    ]
    if different := found.examples.get(KINDS[2]):
        columns = await _differing_columns(source, target, table, different[:EXPLAINED])
        words.append(f"different {', '.join(plain(key, 60) + columns.get(key, '') for key in different)}")
    return f": {'; '.join(words)}"


async def _differing_columns(
    source: AsyncConnection, target: AsyncConnection, table: Table, keys: list[str]
) -> dict[str, str]:
    """For each key the columns whose text is not the same on both sides, in words."""
    each = sql.SQL(", ").join(
        sql.SQL("coalesce({}, 0)").format(hashed(sql.SQL("{}::text").format(sql.Identifier("r", column)), 1))
        for column in table.columns
    )
    query = sql.SQL("SELECT {key}, ARRAY[{each}] FROM ONLY {table} AS r WHERE {key} = ANY ({keys})").format(
        key=key_text(table), each=each, table=table.identifier, keys=sql.Literal(keys)
    )
    ours, theirs = await both(_pairs(source, query), _pairs(target, query))
    found = {}
    for key in ours.keys() & theirs.keys():
        pairs = zip(table.columns, ours[key], theirs[key], strict=True)
        apart = [plain(column, 60) for column, mine, other in pairs if mine != other]
        found[key] = f" in {', '.join(apart[:SHOWN])}" + (f" and {len(apart) - SHOWN} more" if apart[SHOWN:] else "")
    return found


def _bucket(table: Table) -> sql.Composed:
    """Which of the buckets a row belongs to: by its key, else by all of it."""
    return sql.SQL("({} & {})").format(hashed(key_text(table) if table.key else record(table), 3), BUCKETS - 1)


async def _differing_buckets(source: AsyncConnection, target: AsyncConnection, table: Table) -> list[int]:
    query = sql.SQL("SELECT {bucket}, ROW(count(*), sum({hash}))::text FROM ONLY {table} AS r GROUP BY 1").format(
        bucket=_bucket(table), hash=hashed(record(table), 1), table=table.identifier
    )
    ours, theirs = await both(_pairs(source, query), _pairs(target, query))
    return sorted(number for number in ours.keys() | theirs.keys() if ours.get(number) != theirs.get(number))


async def _pairs(session: AsyncConnection, query: sql.Composed) -> dict[Any, Any]:
    async with session.transaction(force_rollback=True):
        return dict(await (await session.execute(query)).fetchall())


def _keyed(table: Table, buckets: list[int]) -> sql.Composed:
    return sql.SQL(
        "SELECT {key}, {hash} FROM ONLY {table} AS r WHERE {bucket} = ANY ({buckets}) "
        "ORDER BY convert_to({key}, 'UTF8')"
    ).format(
        key=key_text(table),
        hash=hashed(record(table), 1),
        table=table.identifier,
        bucket=_bucket(table),
        buckets=sql.Literal(buckets),
    )


def _unkeyed(table: Table, buckets: list[int]) -> sql.Composed:
    """Equal rows counted; the hash, as text, stands for a key."""
    return sql.SQL(
        'SELECT {hash}::text COLLATE "C", count(*) FROM ONLY {table} AS r WHERE {bucket} = ANY ({buckets}) '
        "GROUP BY 1 ORDER BY 1"
    ).format(hash=hashed(record(table), 1), table=table.identifier, bucket=_bucket(table), buckets=sql.Literal(buckets))


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
    name = f"rows_{uuid.uuid4().hex[:8]}"
    async with session.transaction(force_rollback=True), AsyncServerCursor(session, name) as cursor:
        cursor.itersize = AT_ONCE
        await cursor.execute(query)
        async for key, number in cursor:
            yield str(key), int(number)
