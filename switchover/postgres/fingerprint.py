"""What a schema is, as sorted catalog facts that two major versions word alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_USER = "NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'"
_NOT_EXTENSION = "AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.objid = {oid} AND x.deptype = 'e')"

QUERIES = {
    "schema": f"""
        SELECT n.nspname, concat_ws(' ', pg_get_userbyid(n.nspowner), n.nspacl::text) FROM pg_namespace n
        WHERE n.nspname {_USER} AND n.nspname <> 'public'""",  # noqa: S608  constants only
    "relation": f"""
        SELECT format('%I.%I', n.nspname, c.relname), concat_ws(' ', c.relkind, c.relpersistence,
          pg_get_userbyid(c.relowner), c.relacl::text, c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
          c.reloptions::text, c.relispopulated, pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname {_USER}""",  # noqa: S608
    "column": f"""
        SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname), concat_ws(' ', format_type(a.atttypid, a.atttypmod),
          a.attnotnull, a.attidentity, a.attgenerated, (SELECT collname FROM pg_collation WHERE oid = a.attcollation),
          pg_get_expr(d.adbin, d.adrelid), a.attacl::text,
          row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
        AND n.nspname {_USER}""",  # noqa: S608
    "constraint": f"""
        SELECT format('%s on %s', k.conname, coalesce(k.conrelid::regclass::text, k.contypid::regtype::text)),
          concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable, k.condeferred)
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
        WHERE k.contype <> 'n' AND n.nspname {_USER}""",  # noqa: S608
    "index": f"""
        SELECT format('%I.%I', n.nspname, c.relname), concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid,
          i.indisready, i.indisreplident, i.indisclustered)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname {_USER}""",  # noqa: S608
    "trigger": f"""
        SELECT format('%s on %s', t.tgname, t.tgrelid::regclass), concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT t.tgisinternal AND n.nspname {_USER}""",  # noqa: S608
    "view": f"""
        SELECT format('%I.%I', n.nspname, c.relname), pg_get_viewdef(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm') AND n.nspname {_USER}""",  # noqa: S608
    "rule": f"""
        SELECT format('%s on %s', r.rulename, r.ev_class::regclass), concat_ws(' ', pg_get_ruledef(r.oid), r.ev_enabled)
        FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE r.rulename <> '_RETURN' AND n.nspname {_USER}""",  # noqa: S608
    "policy": f"""
        SELECT format('%s on %s', p.polname, p.polrelid::regclass), concat_ws(' ', p.polcmd, p.polpermissive,
          (SELECT string_agg(CASE WHEN o = 0 THEN 'public' ELSE pg_get_userbyid(o) END, ',') FROM unnest(p.polroles) o),
          pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname {_USER}""",  # noqa: S608
    "function": f"""
        SELECT p.oid::regprocedure::text, concat_ws(' ', CASE WHEN p.prokind = 'a' THEN 'aggregate'
          ELSE pg_get_functiondef(p.oid) END, pg_get_userbyid(p.proowner), p.proacl::text)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname {_USER} {_NOT_EXTENSION.format(oid="p.oid")}""",  # noqa: S608
    "type": f"""
        SELECT format('%I.%I', n.nspname, t.typname), concat_ws(' ', t.typtype,
          pg_get_userbyid(t.typowner), t.typacl::text,
          t.typnotnull, t.typdefault, format_type(t.typbasetype, t.typtypmod),
          (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('e', 'd', 'r') AND n.nspname {_USER} {_NOT_EXTENSION.format(oid="t.oid")}""",  # noqa: S608
    "sequence": f"""
        SELECT format('%I.%I', n.nspname, c.relname), concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement,
          s.seqmax, s.seqmin, s.seqcache, s.seqcycle, (SELECT format('%s.%s', d.refobjid::regclass, a.attname)
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass LIMIT 1))
        FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname {_USER}""",  # noqa: S608
    "extension": "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace",
    "event trigger": """
        SELECT evtname, concat_ws(' ', evtevent, evtfoid::regproc, evtenabled, evttags::text) FROM pg_event_trigger""",
    "publication": "SELECT pubname, concat_ws(' ', pubinsert, pubupdate, pubdelete, pubtruncate) FROM pg_publication",
    "default privileges": """
        SELECT concat_ws(' ', pg_get_userbyid(defaclrole), defaclobjtype, (SELECT nspname FROM pg_namespace
          WHERE oid = defaclnamespace)), defaclacl::text FROM pg_default_acl""",
    "comment": f"""
        SELECT concat_ws(' ', d.classoid::regclass, d.objoid::regclass, d.objsubid), d.description
        FROM pg_description d JOIN pg_class c ON c.oid = d.objoid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE d.classoid = 'pg_class'::regclass AND n.nspname {_USER}""",  # noqa: S608
    "statistics": f"""
        SELECT format('%I.%I', n.nspname, s.stxname), pg_get_statisticsobjdef(s.oid)
        FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE n.nspname {_USER}""",  # noqa: S608
    "large object": """
        SELECT m.oid::text, concat_ws(' ', pg_get_userbyid(m.lomowner), m.lomacl::text,
          (SELECT sum(hashtextextended(encode(p.data, 'hex'), p.pageno)::numeric)
          FROM pg_largeobject p WHERE p.loid = m.oid)) FROM pg_largeobject_metadata m""",
}
"""Each gives name and fact. NOT NULL constraints are left out: only PostgreSQL 18 lists them, the column says it."""


async def read_fingerprint(session: AsyncConnection) -> set[tuple[str, str, str]]:
    """Every fact of the schema, as (kind, name, fact); white space folded, as versions differ in it."""
    facts: set[tuple[str, str, str]] = set()
    for kind, query in QUERIES.items():
        found = await session.execute(query)
        for name, fact in await found.fetchall():
            facts.add((kind, str(name), " ".join(str(fact).split())))
    return facts


def schema_differences(ours: set[tuple[str, str, str]], theirs: set[tuple[str, str, str]]) -> list[str]:
    """Where two schemas differ, a line each."""
    source, target = ({(kind, name): fact for kind, name, fact in side} for side in (ours, theirs))
    lines = []
    for key in sorted(source.keys() | target.keys()):
        if source.get(key) == target.get(key):
            continue
        if key not in target:
            lines.append(f"{key[0]} {key[1]} is missing on the target")
        elif key not in source:
            lines.append(f"{key[0]} {key[1]} is only on the target")
        else:
            lines.append(f"{key[0]} {key[1]} is {target[key]!r} on the target, {source[key]!r} on the source")
    return lines
