"""A table as comparison sees it: columns by name, and the text that stands for one of its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg import AsyncConnection

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname), n.nspname, c.relname, pg_relation_size(c.oid),
  ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attname COLLATE "C"),
  ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, place), pg_attribute a
        WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum
        AND k.place <= i.indnkeyatts ORDER BY a.attname COLLATE "C")
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover')
AND n.nspname !~ '^pg_(toast|temp)' AND (NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.objid = c.oid
  AND x.classid = 'pg_class'::regclass AND x.deptype = 'e')
OR EXISTS (SELECT 1 FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
"""
"""A table of an extension holds the extension's data, unless the extension says that it is the user's."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table that holds rows of its own: also each partition, and a parent's own rows."""

    name: str
    schema: str
    relation: str
    bytes: int
    columns: tuple[str, ...]
    key: tuple[str, ...]
    """Columns of the primary key, by name; empty without one."""

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)

    def only(self, columns: Collection[str]) -> Table:
        """The same table, seen through fewer columns."""
        key = self.key if set(self.key) <= set(columns) else ()
        return replace(self, columns=tuple(each for each in self.columns if each in columns), key=key)


async def read_tables(session: AsyncConnection) -> tuple[Table, ...]:
    """Every table of the database, ours left out."""
    found = await session.execute(_TABLES)
    return tuple(
        Table(name, schema, relation, size, tuple(columns), tuple(key))
        for name, schema, relation, size, columns, key in await found.fetchall()
    )


def record(table: Table) -> sql.Composable:
    """One row as text, columns by name: NULL, empty string and commas cannot be mistaken for one another."""
    return _row(table.columns)


def key_text(table: Table) -> sql.Composable:
    """The primary key as text."""
    return _row(table.key)


def hashed(text: sql.Composable, seed: int) -> sql.Composable:
    """The 64-bit hash of a text, by its bytes whatever its collation."""
    return sql.SQL('hashtextextended({} COLLATE "C", {})').format(text, sql.Literal(seed))


def _row(columns: tuple[str, ...]) -> sql.Composable:
    if not columns:
        return sql.SQL("''::text")
    names = sql.SQL(", ").join(sql.Identifier("r", column) for column in columns)
    return sql.SQL("ROW({})::text").format(names)
