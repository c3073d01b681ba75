"""What is to be streamed: tables with their columns and sizes, indexes and foreign keys; and who goes how."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

ALONE_FROM = 8 * 1024 * 1024
"""Bytes from which a table is worth two processes of its own."""

TAIL_UP_TO = 256 * 1024 * 1024
"""Bytes that one pipe may carry for all the small tables together, if that is not a small part of the whole."""

COSTLY = {"gin": 5.0, "gist": 5.0, "spgist": 5.0}
"""What a byte of such an index costs to build, against one of a B-tree or of a table (measured: 80 ns, 13 and 17)."""

_TABLES = """
SELECT c.oid::int8, n.nspname, c.relname, coalesce(pg_table_size(c.oid), 0),
  coalesce(pg_relation_size(c.oid) / 8192, 0)::int8,
  greatest(c.reltuples, 0)::int8,
  ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attgenerated = '' ORDER BY a.attnum),
  NOT EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    AND NOT (b.typtype = 'e' OR (b.oid < 16384 AND b.typtype IN ('b', 'r', 'm') AND b.typreceive <> 0
      AND b.typname !~ '^_?(reg|aclitem$|tsquery$|(int2|oid)vector$)')))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'
AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.objid = c.oid AND x.classid = 'pg_class'::regclass
  AND x.deptype = 'e')
ORDER BY 4 DESC, c.oid
"""
"""Binary copying is for types whose binary form means the same on both sides: the reg… types send numbers that
another server gives to other objects, and arrays and composites of user types send their type's number; an empty
tsquery, int2vector or oidvector is refused in the form in which it was sent (tsqueryrecv, int2vectorrecv), and an
aclitem has none. A table that was dropped after the snapshot was taken has no size; to copy it fails, and says so."""

_INDEXES = """
SELECT i.indexrelid::int8, i.indrelid::int8, n.nspname, x.relname, coalesce(pg_relation_size(i.indexrelid), 0),
  m.amname, k.oid::int8
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = x.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid
WHERE c.relkind = 'r' AND c.oid >= 16384
"""

_FOREIGN_KEYS = """
SELECT k.oid::int8, k.conrelid::int8, k.confrelid::int8, n.nspname, c.relname, k.conname,
  coalesce(pg_relation_size(c.oid), 0)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
"""


@dataclass(frozen=True, slots=True)
class Streamed:
    """One table to be filled."""

    oid: int
    schema: str
    name: str
    bytes: int
    blocks: int
    rows: int
    columns: tuple[str, ...]
    binary: bool
    """Whether its rows may go in PostgreSQL's binary form."""

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Index:
    """One index of a plain table, or the constraint it stands for."""

    oid: int
    table: int
    schema: str
    name: str
    bytes: int
    method: str
    constraint: int | None
    """The constraint's oid, which the archive lists instead of the index's."""

    @property
    def cost(self) -> float:
        """How long it takes to build, in bytes of a table that are copied in that time."""
        return self.bytes * COSTLY.get(self.method, 1.0)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One foreign key."""

    oid: int
    table: int
    refers: int
    schema: str
    relation: str
    name: str
    bytes: int
    """Of the table whose rows must be looked up."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that is streamed, or made after it."""

    tables: tuple[Streamed, ...]
    indexes: dict[int, Index]
    """By the number under which the archive lists each."""
    foreign_keys: dict[int, ForeignKey]

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self.tables)

    def cost_after(self, table: int) -> float:
        """What can begin only when the table is full."""
        return sum(index.cost for index in self.indexes.values() if index.table == table)


@dataclass(frozen=True, slots=True)
class Part:
    """Some blocks of a table, or all of them."""

    table: Streamed
    number: int
    of: int

    @property
    def where(self) -> sql.Composable:
        """Which rows; the last part has no end, for the table may have grown since it was measured."""
        if self.of == 1:
            return sql.SQL("")
        step = ceil(self.table.blocks / self.of)
        start = sql.Literal(f"({self.number * step},0)")
        if self.number == self.of - 1:
            return sql.SQL(" WHERE ctid >= {}").format(start)
        end = sql.Literal(f"({(self.number + 1) * step},0)")
        return sql.SQL(" WHERE ctid >= {} AND ctid < {}").format(start, end)


async def read_shape(session: AsyncConnection) -> Shape:
    """What the session's snapshot shows; run with every other session of the copy on the same snapshot."""
    tables = [
        Streamed(oid, schema, name, size, blocks, rows, tuple(columns), binary)
        for oid, schema, name, size, blocks, rows, columns, binary in await _rows(session, _TABLES)
    ]
    indexes = [Index(*row) for row in await _rows(session, _INDEXES)]
    keys = [ForeignKey(*row) for row in await _rows(session, _FOREIGN_KEYS)]
    return Shape(
        tuple(tables),
        {each.oid if each.constraint is None else each.constraint: each for each in indexes},
        {each.oid: each for each in keys},
    )


def stand_alone(shape: Shape, jobs: int) -> tuple[Streamed, ...]:
    """The tables that get processes of their own; all others share one pipe. Largest first."""
    left, few = shape.bytes, max(TAIL_UP_TO, shape.bytes // (2 * jobs))
    alone = []
    for table in sorted(shape.tables, key=lambda each: -each.bytes):
        if table.bytes < ALONE_FROM and left <= few:
            break
        if table.columns:
            alone.append(table)
            left -= table.bytes
    return tuple(alone)


def parted(tables: Iterable[Streamed], whole: int, jobs: int) -> tuple[Part, ...]:
    """The tables in parts, so that no part is more than its share of the ``whole`` bytes."""
    share = max(whole / (2 * jobs), ALONE_FROM)
    found = []
    for table in tables:
        of = min(max(1, ceil(table.bytes / share)), max(1, table.blocks))
        found += [Part(table, number, of) for number in range(of)]
    return tuple(found)


async def _rows(session: AsyncConnection, query: str) -> list[tuple[Any, ...]]:
    return await (await session.execute(query.encode())).fetchall()
