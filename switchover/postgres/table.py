"""A table as comparison sees it: columns by name, and the text that stands for one of its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg import AsyncConnection

_FORM = """
SELECT array_agg(x.name ORDER BY x.name COLLATE "C"), array_agg(x.form ORDER BY x.name COLLATE "C") FROM (
  SELECT a.attname::text AS name, CASE
    WHEN b.typtype = 'e' THEN 'enum_send'
    WHEN b.oid >= 16384 OR b.typtype NOT IN ('b', 'r', 'm') OR b.typsend = 0
      OR b.typname ~ '^(_?reg|refcursor$|_aclitem$)' THEN 'text'
    WHEN b.typname = ANY (%(hashed)s) AND (a.attcollation = 0 OR l.collisdeterministic) THEN 'hash'
    ELSE b.typsend::regproc::text END AS form
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS x
"""
"""How the bytes of a value are got at: hashed as they are, by the type's binary output, or by its text.

The binary output of user types holds numbers that another server gives to other types, and the reg… types are
such numbers; refcursor has that of text, which would not take it, and the items of an aclitem[] have none."""

_KEY = """
ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, place), pg_attribute a
      WHERE i.indrelid = {0} AND i.indisprimary AND a.attrelid = {0} AND a.attnum = k.attnum
      AND k.place <= i.indnkeyatts ORDER BY a.attname COLLATE "C")
"""

_COUNTER = """
coalesce((SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
  WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)), '')
"""

_TABLES = f"""
SELECT format('%%I.%%I', n.nspname, c.relname), n.nspname, c.relname, pg_relation_size(c.oid), f.names, f.forms,
  {_KEY.format("c.oid")}, quote_ident(m.nspname) || '.' || quote_ident(o.relname), {_KEY.format("o.oid")},
  coalesce(e.condition, ''), c.relkind = 'm', {_COUNTER}
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL ({_FORM}) AS f(names, forms)
LEFT JOIN pg_class o ON c.relispartition AND o.oid = pg_partition_root(c.oid)
LEFT JOIN pg_namespace m ON m.oid = o.relnamespace
LEFT JOIN (SELECT u.config, u.condition FROM pg_extension x, unnest(x.extconfig, x.extcondition) u(config, condition))
  AS e ON e.config = c.oid
WHERE (c.relkind = 'r' OR (c.relkind = 'm' AND c.relispopulated AND %(views)s))
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'
AND (e.config IS NOT NULL OR NOT EXISTS (SELECT FROM pg_depend x WHERE x.objid = c.oid
  AND x.classid = 'pg_class'::regclass AND x.deptype = 'e'))
"""
"""A table of an extension holds the extension's data, but for the rows of which the extension says that they are the
user's: the condition begins with WHERE, and a dump takes these rows alone (pg_extension_config_dump)."""

_HASHED = [
    *("bool", "int2", "int4", "int8", "oid", "text", "varchar", "name", "uuid", "bytea", "pg_lsn"),
    *("date", "time", "timetz", "timestamp", "timestamptz", "inet", "cidr", "macaddr", "macaddr8"),
]
"""Types of which two values are equal only if their bytes are. Not so numeric (1.0 = 1.00), floats (0 = -0), interval
(1 day = 24 hours), bpchar (trailing blanks), jsonb and all that holds them."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table that holds rows of its own: also each partition, and a parent's own rows."""

    name: str
    schema: str
    relation: str
    bytes: int
    columns: tuple[str, ...]
    forms: tuple[str, ...]
    """How each column's bytes are got at; the same on both sides where the types are."""
    key: tuple[str, ...]
    """Columns of the primary key, by name; empty without one."""
    root: str | None
    """The partitioned table at the top, for a partition."""
    root_key: tuple[str, ...] = ()
    """Columns of that one's primary key."""
    condition: str = ""
    """Which of an extension's rows are the user's, as the extension has said it."""
    view: bool = False
    """Whether it is a materialized view."""
    counter: str = ""
    """The column that is its primary key, where that is one whole number; of such a table the newest rows are known."""
    newest: int = 0
    """How many of its newest rows, by that key, it stands for; 0 for all."""
    parts: tuple[Table, ...] = ()
    """The tables that this one stands for, all partitions together."""

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)

    @property
    def rows(self) -> sql.Composed:
        """What follows FROM: its own rows, as ``r``."""
        if self.parts:
            names = sql.SQL(", ").join(map(sql.Identifier, ("tableoid", "ctid", *self.columns)))
            each = (sql.SQL("SELECT {} FROM ONLY {}").format(names, part.identifier) for part in self.parts)
            return sql.SQL("({}) AS r").format(sql.SQL(" UNION ALL ").join(each))
        if self.condition:
            return sql.SQL("(SELECT ctid, * FROM ONLY {} {}) AS r").format(self.identifier, sql.SQL(self.condition))
        if self.newest:
            return sql.SQL("(SELECT ctid, * FROM ONLY {} ORDER BY {} DESC LIMIT {}) AS r").format(
                self.identifier, sql.Identifier(self.counter), sql.Literal(self.newest)
            )
        return sql.SQL("ONLY {} AS r").format(self.identifier)

    @property
    def place(self) -> sql.SQL:
        """Where a row lies, as text: what names a row that has no key, on its own side alone."""
        return sql.SQL("concat(r.tableoid::regclass, ' ', r.ctid)" if self.parts else "r.ctid::text")

    def only(self, columns: Collection[str]) -> Table:
        """The same table, seen through fewer columns."""
        key = self.key if set(self.key) <= set(columns) else ()
        kept = [pair for pair in zip(self.columns, self.forms, strict=True) if pair[0] in columns]
        return replace(self, columns=tuple(name for name, _ in kept), forms=tuple(form for _, form in kept), key=key)


def newest(table: Table, rows: int) -> Table:
    """The same table, of which only that many rows with the highest keys are looked at."""
    return replace(table, newest=rows, bytes=0)


async def read_tables(session: AsyncConnection, *, views: bool = False) -> tuple[Table, ...]:
    """Every table of the database, ours left out; with ``views`` also the materialized views that are populated."""
    found = await session.execute(_TABLES.encode(), {"hashed": _HASHED, "views": views})
    return tuple(
        Table(
            name, schema, relation, size, tuple(columns or ()), tuple(forms or ()), tuple(key), root, tuple(top), *rest
        )
        for name, schema, relation, size, columns, forms, key, root, top, *rest in await found.fetchall()
    )


def together(name: str, tables: tuple[Table, ...]) -> Table:
    """The one table of that name; or all partitions of it as one, by the key that holds for them all."""
    first = tables[0]
    if first.name == name:
        return first
    return replace(first, name=name, bytes=sum(each.bytes for each in tables), key=first.root_key, parts=tables)


def record(table: Table) -> sql.Composable:
    """One row as text, columns by name: NULL, empty string and commas cannot be mistaken for one another."""
    return _row(table.columns)


def key_text(table: Table) -> sql.Composable:
    """The primary key as text."""
    return _row(table.key)


def row_hash(table: Table) -> sql.Composable:
    """The 64-bit hash of a row by the bytes of its values, columns by name.

    PostgreSQL combines the hashes of a record's values linearly, so that sums of them would not see two rows
    exchange a value: each row's is hashed once more. The functions are those of hash partitions, which must
    not change between versions (record hashing: PostgreSQL 14).
    """
    if not table.columns:
        return sql.SQL("1::bigint")
    values = sql.SQL(", ").join(_value(column, form) for column, form in zip(table.columns, table.forms, strict=True))
    return sql.SQL("hashint8extended(hash_record_extended(ROW({}), 1), 2)").format(values)


def _value(column: str, form: str) -> sql.Composable:
    value = sql.Identifier("r", column)
    match form:
        case "hash":
            return value
        case "text":
            return sql.SQL('ROW({})::text COLLATE "C"').format(value)
        case _:
            return sql.SQL("{}({})").format(sql.Identifier(form), value)


def hashed(text: sql.Composable, seed: int) -> sql.Composable:
    """The 64-bit hash of a text, by its bytes whatever its collation."""
    return sql.SQL('hashtextextended({} COLLATE "C", {})').format(text, sql.Literal(seed))


def _row(columns: tuple[str, ...]) -> sql.Composable:
    if not columns:
        return sql.SQL("''::text")
    names = sql.SQL(", ").join(sql.Identifier("r", column) for column in columns)
    return sql.SQL("ROW({})::text").format(names)
