"""Who could write: the roles that may log in and hold a write privilege here, their own or by membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.postgres.locks import TABLES

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_WRITERS = """
WITH tables AS MATERIALIZED (
  SELECT c.oid, n.oid AS schema, t.nspname, t.relname FROM ({tables}) AS t
  JOIN pg_namespace n ON n.nspname = t.nspname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.relname
)
SELECT l.rolname, w.rolname, w.nspname, w.relname,
       (SELECT nspname FROM pg_namespace n WHERE has_schema_privilege(w.oid, n.oid, 'CREATE')
        AND nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'switchover') LIMIT 1),
       (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'
        AND c.relpersistence <> 't' AND n.nspname <> 'switchover' AND has_schema_privilege(w.oid, n.oid, 'USAGE')
        AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(w.oid, c.oid, 'USAGE, UPDATE') END LIMIT 1)
FROM pg_roles l CROSS JOIN LATERAL (
  SELECT g.oid, g.rolname, t.nspname, t.relname FROM (
    SELECT oid, rolname FROM pg_roles g
    WHERE g.oid = l.oid OR (NOT l.rolsuper AND pg_has_role(l.oid, g.oid, '{member}')) ORDER BY g.oid <> l.oid
  ) AS g CROSS JOIN LATERAL (
    SELECT nspname, relname FROM tables t WHERE has_schema_privilege(g.oid, t.schema, 'USAGE')
    AND has_table_privilege(g.oid, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') LIMIT 1
  ) AS t LIMIT 1
) AS w
WHERE l.rolcanlogin AND has_database_privilege(l.oid, current_database(), 'CONNECT') ORDER BY 1
"""

_COLUMNS = """
WITH granted AS MATERIALIZED (
  SELECT DISTINCT e.grantee FROM pg_attribute a, aclexplode(a.attacl) AS e
  WHERE a.attacl IS NOT NULL AND a.attrelid >= 16384 AND e.privilege_type IN ('INSERT', 'UPDATE')
)
SELECT rolname FROM pg_roles l WHERE rolcanlogin AND has_database_privilege(oid, current_database(), 'CONNECT')
AND EXISTS (SELECT FROM granted WHERE CASE WHEN grantee = 0 THEN true ELSE pg_has_role(l.oid, grantee, 'MEMBER') END)
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Writer:
    """One role that could write, and what it could write to."""

    role: str
    acts_as: str
    """Itself, or the role that it belongs to and may become."""
    table: tuple[str, str]
    schema: str | None
    """One in which it may make a table; None when there is none."""
    sequence: int | None
    """The oid of one whose next value it may take."""


async def read_writers(session: AsyncConnection) -> tuple[tuple[Writer, ...], tuple[str, ...]]:
    """Those who could write to a whole table, and those to whom single columns only are granted."""
    member = "SET" if session.info.server_version >= 160000 else "MEMBER"
    query = _WRITERS.format(tables=TABLES, member=member)
    rows = await (await session.execute(query.encode())).fetchall()
    found = tuple(Writer(role, acts, (schema, table), *more) for role, acts, schema, table, *more in rows)
    known = {each.role for each in found}
    columns = await (await session.execute(_COLUMNS)).fetchall()
    return found, tuple(row[0] for row in columns if row[0] not in known)
