"""What only a superuser can make: asked of the source where our role on the target is none."""

from __future__ import annotations

from switchover.postgres.preflight.check import Check

_OURS = "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{}'::regclass AND e.objid = {} AND e.deptype = 'e')"
_TYPES = (
    "NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')"
)
"""A range type's constructors are made with it."""

_GRANTED = """
  SELECT 'pg_class'::regclass AS class, oid, 0 AS part, relowner AS owner, relacl AS acl, relnamespace AS schema,
    CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END AS kind FROM pg_class
  UNION ALL SELECT 'pg_class'::regclass, c.oid, a.attnum, c.relowner, a.attacl, c.relnamespace, 'c'
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attacl IS NOT NULL
  UNION ALL SELECT 'pg_proc'::regclass, oid, 0, proowner, proacl, pronamespace, 'f' FROM pg_proc
  UNION ALL SELECT 'pg_type'::regclass, oid, 0, typowner, typacl, typnamespace, 'T' FROM pg_type
  UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspowner, nspacl, oid, 'n' FROM pg_namespace
  UNION ALL SELECT 'pg_language'::regclass, oid, 0, lanowner, lanacl, 0, 'l' FROM pg_language
  UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl, 0, 'F' FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl, 0, 'S' FROM pg_foreign_server
  UNION ALL SELECT 'pg_largeobject'::regclass, oid, 0, lomowner, lomacl, 0, 'L' FROM pg_largeobject_metadata
"""
"""Whatever can be granted on, with the letter by which acldefault knows it. Of the system's own, pg_dump carries what
lies in pg_catalog, and the languages."""

_ITEMS = "SELECT grantee, privilege_type, is_grantable FROM aclexplode({})"
_AT_FIRST = "coalesce(i.initprivs, acldefault(g.kind, g.owner))"

SUPERUSER_ONLY = Check(
    "superuser-objects",
    "block",
    f"""
    SELECT 'event trigger ' || quote_ident(evtname) FROM pg_event_trigger t
      WHERE {_OURS.format("pg_event_trigger", "t.oid")}
    UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
      WHERE p.oid >= 16384 AND (NOT l.lanpltrusted OR p.proleakproof)
      AND {_TYPES} AND {_OURS.format("pg_proc", "p.oid")}
    UNION ALL SELECT 'foreign-data wrapper ' || quote_ident(fdwname) FROM pg_foreign_data_wrapper w
      WHERE {_OURS.format("pg_foreign_data_wrapper", "w.oid")}
    UNION ALL SELECT 'operator class ' || quote_ident(opcname) FROM pg_opclass o
      WHERE o.oid >= 16384 AND {_OURS.format("pg_opclass", "o.oid")}
    UNION ALL SELECT 'operator family ' || quote_ident(opfname) FROM pg_opfamily f
      WHERE f.oid >= 16384 AND {_OURS.format("pg_opfamily", "f.oid")}
    UNION ALL SELECT 'type ' || t.oid::regtype FROM pg_type t WHERE t.oid >= 16384 AND t.typtype = 'b'
      AND t.typcategory <> 'A' AND {_OURS.format("pg_type", "t.oid")}
    UNION ALL SELECT 'publication ' || quote_ident(pubname) FROM pg_publication WHERE puballtables
    UNION ALL SELECT 'access method ' || quote_ident(amname) FROM pg_am a
      WHERE a.oid >= 16384 AND {_OURS.format("pg_am", "a.oid")}
    UNION ALL SELECT DISTINCT format('privileges given by %I, not by the owner, on %s', pg_get_userbyid(a.grantor),
        pg_describe_object(g.class, g.oid, g.part)) FROM ({_GRANTED}) AS g, aclexplode(g.acl) AS a
      WHERE a.grantor <> g.owner AND g.schema IS DISTINCT FROM to_regnamespace('switchover')
    UNION ALL SELECT 'privileges on the system''s ' || pg_describe_object(g.class, g.oid, g.part)
      FROM ({_GRANTED}) AS g
      LEFT JOIN pg_init_privs i ON i.classoid = g.class AND i.objoid = g.oid AND i.objsubid = g.part
      WHERE g.oid < 16384 AND g.class <> 'pg_largeobject'::regclass AND g.schema IN (0, 'pg_catalog'::regnamespace)
      AND g.acl IS NOT NULL AND g.acl IS DISTINCT FROM i.initprivs AND EXISTS (
        ({_ITEMS.format("g.acl")} EXCEPT {_ITEMS.format(_AT_FIRST)})
        UNION ALL ({_ITEMS.format(_AT_FIRST)} EXCEPT {_ITEMS.format("g.acl")}))
    ORDER BY 1""",
    "only a superuser may make these on the target, and our role there is none",
    "the restore would end at the first of them",
    "let the plan connect to the target as a superuser, or drop them from the source",
)
