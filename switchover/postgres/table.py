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

_TABLES = f"""
SELECT format('%%I.%%I', n.nspname, c.relname), n.nspname, c.relname, pg_relation_size(c.oid), f.names, f.forms,
  ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, place), pg_attribute a
        WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum
        AND k.place <= i.indnkeyatts ORDER BY a.attname COLLATE "C"),
  CASE WHEN c.relispartition THEN (SELECT format('%%I.%%I', m.nspname, r.relname) FROM pg_class r
    JOIN pg_namespace m ON m.oid = r.relnamespace WHERE r.oid = pg_partition_root(c.oid)) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL ({_FORM}) AS f(names, forms)
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover')
AND n.nspname !~ '^pg_(toast|temp)' AND (NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.objid = c.oid
  AND x.classid = 'pg_class'::regclass AND x.deptype = 'e')
OR EXISTS (SELECT 1 FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
"""  # noqa: S608  constants only
"""A table of an extension holds the extension's data, unless the extension says that it is the user's."""

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

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.relation)

    def only(self, columns: Collection[str]) -> Table:
        """The same table, seen through fewer columns."""
        key = self.key if set(self.key) <= set(columns) else ()
        kept = [pair for pair in zip(self.columns, self.forms, strict=True) if pair[0] in columns]
        return replace(self, columns=tuple(name for name, _ in kept), forms=tuple(form for _, form in kept), key=key)


async def read_tables(session: AsyncConnection) -> tuple[Table, ...]:
    """Every table of the database, ours left out."""
    found = await session.execute(_TABLES.encode(), {"hashed": _HASHED})
    return tuple(
        Table(name, schema, relation, size, tuple(columns or ()), tuple(forms or ()), tuple(key), root)
        for name, schema, relation, size, columns, forms, key, root in await found.fetchall()
    )


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
            return sql.SQL('{}::text COLLATE "C"').format(value)
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
