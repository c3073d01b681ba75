"""What a comparison cannot look at: named, so that nobody takes the rest for the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SYSTEM_OBJECTS = """
SELECT concat(i.type, ' ', i.identity) FROM (
  SELECT 'pg_class'::regclass AS class, oid, relnamespace FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
  UNION ALL SELECT 'pg_type'::regclass, t.oid, t.typnamespace FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typelem = 0 AND (t.typrelid = 0 OR c.relkind = 'c')
  UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
  UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace FROM pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfnamespace FROM pg_opfamily
  UNION ALL SELECT 'pg_conversion'::regclass, oid, connamespace FROM pg_conversion
  UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace FROM pg_ts_config
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace FROM pg_ts_dict
  UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxnamespace FROM pg_statistic_ext
) AS o(class, object, namespace) JOIN pg_namespace n ON n.oid = o.namespace,
pg_identify_object(o.class, o.object, 0) i
WHERE o.object >= 16384 AND n.nspname IN ('pg_catalog', 'information_schema')
AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = o.class AND e.objid = o.object AND e.deptype IN ('e', 'i'))
ORDER BY 1
"""
"""What users have made in the system's schemas, by their oids (FirstNormalObjectId in transam.h). A collation is no
such thing: pg_import_system_collations makes it, and what uses one that the target lacks ends the restore."""

_FOREIGN = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'f' ORDER BY 1"

_EXTENSIONS = """
SELECT c.oid::regclass::text, n.nspname, c.relname,
  has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
JOIN pg_extension x ON x.oid = d.refobjid
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND NOT c.oid = ANY (coalesce(x.extconfig, '{}')) ORDER BY 1
"""


@dataclass(frozen=True, slots=True, order=True)
class Unseen:
    """One thing that neither a copy nor a comparison sees."""

    finding: str
    """The id of the preflight's finding that tells of it: a plan accepts it by that."""
    name: str
    says: str


async def read_unseen(session: AsyncConnection) -> tuple[Unseen, ...]:
    """Foreign tables, tables of extensions that hold rows, and what users have made in the system's schemas.

    Run with ``search_path = pg_catalog``.
    """
    foreign = await (await session.execute(_FOREIGN)).fetchall()
    system = await (await session.execute(SYSTEM_OBJECTS)).fetchall()
    return (
        *(_unseen("foreign-tables", "foreign table {}: its rows were not looked at", name) for (name,) in foreign),
        *[
            _unseen("extension-tables", "table {} of an extension: its rows were not looked at", name)
            for name in await _filled(session)
        ],
        *(
            _unseen("system-schema-objects", "{}: in a schema of the system, so not looked at", name)
            for (name,) in system
        ),
    )


async def _filled(session: AsyncConnection) -> list[str]:
    """Tables of extensions that hold rows which a dump leaves out; also those that may not be read."""
    found = []
    for name, schema, relation, readable in await (await session.execute(_EXTENSIONS)).fetchall():
        if readable:
            async with session.transaction(force_rollback=True):
                any_row = sql.SQL("SELECT FROM ONLY {} LIMIT 1").format(sql.Identifier(schema, relation))
                if await (await session.execute(any_row)).fetchone() is None:
                    continue
        found.append(name)
    return found


def _unseen(finding: str, says: str, name: str) -> Unseen:
    shown = plain(name, 200)
    return Unseen(finding, shown, says.format(shown))
