"""Which rows differ between two sides: both are read in one order, and merged, in constant memory.

Each query's locks are given back when it is read, by a savepoint; the transaction's snapshot is kept. A row is named by
its primary key, and without one by where it lies on its side (ctid), never by what it holds.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, slots=True)
class Reading:
    """One side's table, and the session that reads it."""

    session: AsyncConnection
    table: Table


@dataclass(slots=True)
class Found:
    """Rows on the target against the source."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first rows that are missing, extra or different on the target: their keys, as the server writes them, or
    where they lie on the side that has them."""

    def note(self, kind: str, name: str) -> None:
        seen = self.examples.setdefault(kind, [])
        if len(seen) < EXAMPLES:
            seen.append(name)

    @property
    def enough(self) -> bool:
        """Whether there are examples to show a person."""
        return sum(len(seen) for seen in self.examples.values()) >= EXAMPLES

    @property
    def any(self) -> bool:
        return bool(self.inserted or self.updated or self.deleted)


async def count_changes(ours: Reading, theirs: Reading, *, examples_only: bool = False) -> Found:
    """Rows inserted, updated and deleted on the target; without a common primary key a change is one of each.

    Each side first sums its rows up by buckets of their keys, and only rows of buckets that differ are sorted and
    merged. Rows are told apart by their text, so that no accident of a hash function is taken for a difference.
    ``examples_only`` stops as soon as there are enough to show.
    """
    ours, theirs = _matched(ours, theirs)
    buckets = await _differing_buckets(ours, theirs)
    if not buckets:
        return Found()
    keyed = bool(ours.table.key)
    query = _keyed if keyed else _unkeyed
    return await _merge(
        _rows(ours.session, query(ours.table, buckets)),
        _rows(theirs.session, query(theirs.table, buckets)),
        keyed=keyed,
        examples_only=examples_only,
    )


async def count_large_objects(source: AsyncConnection, target: AsyncConnection) -> Found:
    """Large objects made, changed and removed on the target."""
    rows = (_rows(session, LARGE_OBJECTS) for session in (source, target))
    return await _merge(*rows, keyed=True, examples_only=False)


async def explain(ours: Reading, theirs: Reading) -> str | None:
    """Some rows that differ, by key with the columns, else by place, in words; None when every row is the same."""
    found = await count_changes(ours, theirs, examples_only=True)
    if not found.any:
        return None
    start = f", in at least {count(EXAMPLES, 'row')}: " if found.enough else ": "
    ours, theirs = _matched(ours, theirs)
    if not ours.table.key:
        return start + "; ".join(_placed(found))
    words = [
        f"{kind} {', '.join(plain(key, 60) for key in found.examples[kind])}"
        for kind in KINDS[:2]
        if kind in found.examples
    ]
    if different := found.examples.get(KINDS[2]):
        columns = await _differing_columns(ours, theirs, different[:EXPLAINED])
        words.append(f"different {', '.join(plain(key, 60) + columns.get(key, '') for key in different)}")
    return start + "; ".join(words)


def _placed(found: Found) -> list[str]:
    """Rows without a key; of rows that are the same, one stands for all."""
    sides = (("missing", found.deleted, "source"), ("extra", found.inserted, "target"))
    return [
        f"{count(rows, 'row')} {kind}, on the {side} at {', '.join(plain(each, 160) for each in found.examples[kind])}"
        for kind, rows, side in sides
        if rows
    ]


def _matched(ours: Reading, theirs: Reading) -> tuple[Reading, Reading]:
    """Both as they are where their rows can be matched by one key; else without any."""
    if ours.table.key == theirs.table.key:
        return ours, theirs
    keyless = (replace(each, table=replace(each.table, key=())) for each in (ours, theirs))
    return next(keyless), next(keyless)


async def _differing_columns(ours: Reading, theirs: Reading, keys: list[str]) -> dict[str, str]:
    """For each key the columns whose text is not the same on both sides, in words."""
    columns = ours.table.columns
    mine, other = await both(*(_pairs(side, _column_hashes(side.table, keys)) for side in (ours, theirs)))
    found = {}
    for key in mine.keys() & other.keys():
        pairs = zip(columns, mine[key], other[key], strict=True)
        apart = [plain(column, 60) for column, one, another in pairs if one != another]
        found[key] = f" in {', '.join(apart[:SHOWN])}" + (f" and {len(apart) - SHOWN} more" if apart[SHOWN:] else "")
    return found


def _column_hashes(table: Table, keys: list[str]) -> sql.Composed:
    each = sql.SQL(", ").join(
        sql.SQL("coalesce({}, 0)").format(hashed(sql.SQL("{}::text").format(sql.Identifier("r", column)), 1))
        for column in table.columns
    )
    return sql.SQL("SELECT {key}, ARRAY[{each}] FROM {rows} WHERE {key} = ANY ({keys})").format(
        key=key_text(table), each=each, rows=table.rows, keys=sql.Literal(keys)
    )


def _bucket(table: Table) -> sql.Composed:
    """Which of the buckets a row belongs to: by its key, else by all of it."""
    return sql.SQL("({} & {})").format(hashed(key_text(table) if table.key else record(table), 3), BUCKETS - 1)


async def _differing_buckets(ours: Reading, theirs: Reading) -> list[int]:
    mine, other = await both(*(_pairs(side, _bucket_sums(side.table)) for side in (ours, theirs)))
    return sorted(number for number in mine.keys() | other.keys() if mine.get(number) != other.get(number))


def _bucket_sums(table: Table) -> sql.Composed:
    return sql.SQL("SELECT {bucket}, ROW(count(*), sum({hash}))::text FROM {rows} GROUP BY 1").format(
        bucket=_bucket(table), hash=hashed(record(table), 1), rows=table.rows
    )


async def _pairs(side: Reading, query: sql.Composed) -> dict[Any, Any]:
    async with side.session.transaction(force_rollback=True):
        return dict(await (await side.session.execute(query)).fetchall())


def _keyed(table: Table, buckets: list[int]) -> sql.Composed:
    return sql.SQL(
        "SELECT {key}, {hash} FROM {rows} WHERE {bucket} = ANY ({buckets}) ORDER BY convert_to({key}, 'UTF8')"
    ).format(
        key=key_text(table),
        hash=hashed(record(table), 1),
        rows=table.rows,
        bucket=_bucket(table),
        buckets=sql.Literal(buckets),
    )


def _unkeyed(table: Table, buckets: list[int]) -> sql.Composed:
    """Equal rows counted; the hash, as text, stands for a key, and the place of one of them for a name."""
    return sql.SQL(
        'SELECT {hash}::text COLLATE "C", count(*), min({place}) FROM {rows} WHERE {bucket} = ANY ({buckets}) '
        "GROUP BY 1 ORDER BY 1"
    ).format(
        hash=hashed(record(table), 1),
        place=table.place,
        rows=table.rows,
        bucket=_bucket(table),
        buckets=sql.Literal(buckets),
    )


_Row = tuple[str, int, str]
"""What rows are matched by, what must be the same, and how a person finds the row."""


async def _merge(
    ours: AsyncGenerator[_Row, None], theirs: AsyncGenerator[_Row, None], *, keyed: bool, examples_only: bool
) -> Found:
    found = Found()
    try:
        mine, other = await anext(ours, None), await anext(theirs, None)
        while (mine is not None or other is not None) and not (examples_only and found.enough):
            if other is None or (mine is not None and mine[0] < other[0]):
                assert mine is not None  # one of the two is there
                found.deleted += 1 if keyed else mine[1]
                found.note("missing", mine[2])
                mine = await anext(ours, None)
            elif mine is None or other[0] < mine[0]:
                found.inserted += 1 if keyed else other[1]
                found.note("extra", other[2])
                other = await anext(theirs, None)
            else:
                _same_key(found, mine, other, keyed=keyed)
                mine, other = await anext(ours, None), await anext(theirs, None)
    finally:
        await ours.aclose()
        await theirs.aclose()
    return found


def _same_key(found: Found, mine: _Row, other: _Row, *, keyed: bool) -> None:
    if mine[1] == other[1]:
        return
    if keyed:
        found.updated += 1
        found.note("different", mine[2])
    elif mine[1] < other[1]:
        found.inserted += other[1] - mine[1]
        found.note("extra", other[2])
    else:
        found.deleted += mine[1] - other[1]
        found.note("missing", mine[2])


async def _rows(session: AsyncConnection, query: sql.Composed) -> AsyncGenerator[_Row, None]:
    """Key, number and name of each, in the order of the key's bytes (UTF-8 sorts as code points do)."""
    name = f"rows_{uuid.uuid4().hex[:8]}"
    async with session.transaction(force_rollback=True), AsyncServerCursor(session, name) as cursor:
        cursor.itersize = AT_ONCE
        await cursor.execute(query)
        async for key, number, *place in cursor:
            yield str(key), int(number), str(place[0] if place else key)
