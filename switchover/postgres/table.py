"""A table as comparison sees it: columns by name, and the text that stands for one of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname), n.nspname, c.relname, pg_relation_size(c.oid),
  ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attname COLLATE "C"),
  ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY array_position(i.indkey, a.attnum))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND (c.relkind = 'r' OR c.relispopulated)
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One table or materialized view that holds rows of its own: also each partition, and a parent's own rows."""

    name: str
    schema: str
    relation: str
    bytes: int
    columns: tuple[str, ...]
    key: tuple[str, ...]
    """Columns of the primary key; empty without one."""

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)


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


def _row(columns: tuple[str, ...]) -> sql.Composable:
    if not columns:
        return sql.SQL("''")
    names = sql.SQL(", ").join(sql.Identifier("r", column) for column in columns)
    return sql.SQL("ROW({})::text").format(names)
