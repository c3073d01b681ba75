"""What only a superuser can make: asked of the source where our role on the target is none."""

from __future__ import annotations

from switchover.postgres.preflight.check import Check

_OURS = "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{}'::regclass AND e.objid = {} AND e.deptype = 'e')"

SUPERUSER_ONLY = Check(
    "superuser-objects",
    "block",
    f"""
    SELECT 'event trigger ' || quote_ident(evtname) FROM pg_event_trigger t
      WHERE {_OURS.format("pg_event_trigger", "t.oid")}
    UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
      WHERE p.oid >= 16384 AND (NOT l.lanpltrusted OR p.proleakproof) AND l.lanname <> 'internal'
      AND {_OURS.format("pg_proc", "p.oid")}
    UNION ALL SELECT 'foreign-data wrapper ' || quote_ident(fdwname) FROM pg_foreign_data_wrapper w
      WHERE {_OURS.format("pg_foreign_data_wrapper", "w.oid")}
    UNION ALL SELECT 'operator class ' || quote_ident(opcname) FROM pg_opclass o
      WHERE o.oid >= 16384 AND {_OURS.format("pg_opclass", "o.oid")}
    UNION ALL SELECT 'type ' || t.oid::regtype FROM pg_type t WHERE t.oid >= 16384 AND t.typtype = 'b'
      AND t.typcategory <> 'A' AND {_OURS.format("pg_type", "t.oid")}
    UNION ALL SELECT 'publication ' || quote_ident(pubname) FROM pg_publication WHERE puballtables
    UNION ALL SELECT 'access method ' || quote_ident(amname) FROM pg_am a
      WHERE a.oid >= 16384 AND {_OURS.format("pg_am", "a.oid")}
    ORDER BY 1""",  # noqa: S608  constants only
    "only a superuser may make these on the target, and our role there is none",
    "the restore would end at the first of them",
    "let the plan connect to the target as a superuser, or drop them from the source",
)
