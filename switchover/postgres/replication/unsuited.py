"""What of a schema logical replication does not carry, carries at a price, or would stop at; told before it begins.

https://www.postgresql.org/docs/current/logical-replication-restrictions.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from switchover.postgres.connect import connect, told
from switchover.postgres.finding import Finding
from switchover.postgres.replication.published import Identity, read_published
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.finding import Severity
    from switchover.postgres.replication.published import PublishedTable

SHOWN = 6

_USER = """n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'"""
_ACTIVE = """
SELECT schemaname, relname, n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE n_tup_upd + n_tup_del > 0
"""
_INCOMPARABLE = f"""
WITH RECURSIVE parts(relid, oid) AS (
  SELECT a.attrelid, a.atttypid FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND {_USER} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  UNION SELECT p.relid, CASE t.typtype WHEN 'd' THEN t.typbasetype WHEN 'c' THEN a.atttypid ELSE t.typelem END
  FROM parts p JOIN pg_type t ON t.oid = p.oid
  LEFT JOIN pg_attribute a ON t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE (t.typtype = 'c' AND a.atttypid IS NOT NULL) OR t.typtype = 'd' OR (t.typtype = 'b' AND t.typcategory = 'A')
)
SELECT n.nspname, c.relname, string_agg(DISTINCT p.oid::regtype::text, ', ')
FROM parts p JOIN pg_type t ON t.oid = p.oid JOIN pg_class c ON c.oid = p.relid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.typtype = 'b' AND t.typcategory <> 'A' AND NOT EXISTS (
  SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
  WHERE m.amname IN ('btree', 'hash') AND o.opcdefault AND (o.opcintype = t.oid OR o.opcintype IN (
    SELECT casttarget FROM pg_cast k WHERE k.castsource = t.oid AND k.castmethod = 'b' AND k.castcontext = 'i')))
GROUP BY 1, 2
"""
"""Tables with a column of which two values cannot be told to be equal; arrays and composites have their parts'."""

_LISTS = {
    "unlogged": f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence = 'u' AND {_USER} ORDER BY 1, 2""",
    "foreign": f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'f' AND {_USER} ORDER BY 1, 2""",
    "views": f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'm' AND c.relispopulated AND {_USER} ORDER BY 1, 2""",
    "sequences": f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {_USER} ORDER BY 1, 2""",
    "triggers": f"""
        SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND {_USER} ORDER BY 1, 2""",
    "rules": f"""
        SELECT c.relname, r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.ev_enabled IN ('A', 'R') AND {_USER} ORDER BY 1, 2""",
    "generated": f"""
        SELECT n.nspname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND a.attgenerated = 's' AND NOT a.attisdropped AND {_USER} ORDER BY 1, 2, 3""",
    "deferrable": f"""
        SELECT c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE k.contype IN ('p', 'u', 'x') AND k.condeferrable AND {_USER} ORDER BY 1, 2""",
    "exclusion": f"""
        SELECT c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE k.contype = 'x' AND NOT k.condeferrable AND {_USER} ORDER BY 1, 2""",
    "guarded": f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_roles o ON o.oid = c.relowner
        WHERE c.relkind = 'r' AND c.relrowsecurity AND c.relforcerowsecurity AND NOT (o.rolsuper OR o.rolbypassrls)
        AND {_USER} ORDER BY 1, 2""",
    "not-owned": f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND NOT pg_has_role(c.relowner, 'USAGE')
        AND {_USER} ORDER BY 1, 2""",
}
_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"


async def schema_findings(db: Database, app: str, *, version_num: int = 0) -> tuple[Finding, ...]:
    """What of this database, the first publisher, needs something else than replication, or something first.

    ``version_num`` is the other server's when there is to be a way back: it publishes the same tables then.
    """
    with told(db):
        async with await connect(db, app) as session:
            tables = (await read_published(session, "", version_num=version_num)).tables
            active = {(schema, name): number for schema, name, number in await _rows(session, _ACTIVE)}
            mute = {(schema, name): types for schema, name, types in await _rows(session, _INCOMPARABLE)}
            lists = {kind: await _rows(session, query) for kind, query in _LISTS.items()}
            objects = (await _rows(session, _OBJECTS))[0][0]
    return (*_identities(tables, active, mute), *_listed(lists), *_objects(objects))


def _identities(
    tables: tuple[PublishedTable, ...], active: dict[tuple[str, str], int], mute: dict[tuple[str, str], str]
) -> Iterator[Finding]:
    """How changed rows of each table will be known on the other side."""
    if refused := [each.shown for each in tables if each.identity is Identity.GENERATED]:
        says = f"tables whose rows are known only by a generated column: {_some(refused)}"
        why = "it is not sent, so an UPDATE or DELETE fails where it is published (from 18 on), or finds no row"
        yield Finding("identity-generated", "block", says, "add a primary key without generated columns", why)
    full = [each for each in tables if each.identity in (Identity.NONE, Identity.FULL)]
    stuck = [each for each in full if (each.schema, each.name) in mute]
    grades: tuple[tuple[Severity, bool], ...] = (("block", True), ("warn", False))
    for severity, hit in grades:
        if names := [f"{t.shown} ({mute[t.schema, t.name]})" for t in stuck if ((t.schema, t.name) in active) is hit]:
            says = f"rows without a key and with a type that knows no equality: {_some(names)}"
            why = "the first UPDATE or DELETE there stops all replication"
            why += "; some have been done" if hit else "; none has been seen since the statistics began"
            yield Finding("identity-stops" if hit else "identity-may-stop", severity, says, "add a primary key", why)
    if widened := [each for each in full if each.identity is Identity.NONE and each not in stuck]:
        busy = [each for each in widened if (each.schema, each.name) in active]
        says = f"{count(len(widened), 'table')} without a primary key: {_some([each.shown for each in widened])}"
        why = (
            "each gets REPLICA IDENTITY FULL until the end: an UPDATE or DELETE writes the whole old row into the log, "
            "and the other side looks through the table for it"
        )
        if busy:
            why += f"; updated or deleted from so far: {_some([each.shown for each in busy])}"
        fix = "a primary key, or REPLICA IDENTITY USING INDEX, is quicker"
        yield Finding("identity-full", "warn" if busy else "info", says, fix, why)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is said when one of the lists has something in it."""

    name: str
    severity: Severity
    says: str
    fix: str
    why: str = ""


_KINDS = (
    _Kind("unlogged", "warn", "rows of unlogged tables do not follow", "copy them behind the fence, or SET LOGGED"),
    _Kind("foreign", "info", "rows of foreign tables do not follow", "they stay where they are"),
    _Kind("views", "info", "materialized views do not follow", "REFRESH them on the target behind the fence"),
    _Kind("sequences", "info", "sequences do not follow", "their values are set behind the fence"),
    _Kind(
        "triggers",
        "warn",
        "triggers that also fire when a row is applied",
        "ALTER TABLE … ENABLE TRIGGER (without ALWAYS or REPLICA)",
        "what they write is written on both sides, and comes twice",
    ),
    _Kind(
        "rules",
        "info",
        "rules made for a session that applies rows",
        "nothing, unless one is meant to act on the target: make it a trigger",
        "no rule acts on rows that are applied; what it has written on the publisher comes as rows of its own",
    ),
    _Kind(
        "generated",
        "info",
        "generated columns are not sent",
        "see that what they are made with does the same in the target's version",
        "the other side computes them anew",
    ),
    _Kind(
        "deferrable",
        "info",
        "keys that may be deferred are not checked as rows are applied",
        "write on one side alone; the comparison at the cutover tells rows that are there twice",
        "a row written on the other side meanwhile would stand beside one with the same key",
    ),
    _Kind(
        "exclusion",
        "info",
        "exclusion constraints are checked as rows are applied",
        "write on one side alone",
        "a row written on the other side meanwhile would stop all replication",
    ),
    _Kind(
        "guarded",
        "block",
        "tables with forced row-level security whose owner is bound by it",
        "ALTER TABLE … NO FORCE ROW LEVEL SECURITY, or ALTER ROLE owner BYPASSRLS",
        "nothing may be applied to them",
    ),
    _Kind(
        "not-owned", "block", "tables that our role does not own", "GRANT owner TO our role", "only an owner publishes"
    ),
)


def _listed(lists: dict[str, list[tuple[Any, ...]]]) -> Iterator[Finding]:
    for kind in _KINDS:
        if found := [plain(".".join(each), 150) for each in lists[kind.name]]:
            says = f"{kind.says}: {_some(found)}"
            yield Finding(f"replicate-{kind.name}", kind.severity, says, kind.fix, kind.why)


def _objects(number: int) -> Iterator[Finding]:
    if number:
        says = f"{count(number, 'large object')}: replication does not carry them"
        why = "one made or dropped after the copy is seen by number and highest name; a change of its bytes is not"
        fix = "let nobody write them from the copy on, or move by dump; they are compared behind the fence"
        yield Finding("replicate-large-objects", "warn", says, fix, why)


async def _rows(session: AsyncConnection, query: str) -> list[tuple[Any, ...]]:
    return await (await session.execute(query.encode())).fetchall()


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
