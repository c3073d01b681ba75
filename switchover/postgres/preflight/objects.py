"""What is in the source's database that a copy loses, breaks on, or carries to its operator's surprise."""

from __future__ import annotations

from switchover.postgres.guard import TABLES
from switchover.postgres.preflight.check import Check
from switchover.postgres.unseen import SYSTEM_OBJECTS

_USERS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'"
_RELATION = f"pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {_USERS}"
_NAME = "format('%I.%I', n.nspname, c.relname)"
_NOT_EXTENSIONS = """NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{0}'::regclass AND e.objid = {1}
  AND e.deptype = 'e')"""

_TABLES = ", ".join(f"'{name}'" for name in TABLES)

OBJECTS: tuple[Check, ...] = (
    Check(
        "own-schema",
        "block",
        f"""SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace('switchover')
        AND NOT (d.classid = 'pg_class'::regclass
          AND d.objid IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relname IN ({_TABLES})))
        ORDER BY 1""",  # noqa: S608
        "schema switchover of the source holds what is not this program's",
        "the schema is this program's own, and is left out of the copy",
        "ALTER … SET SCHEMA for each, or ALTER SCHEMA switchover RENAME TO another name",
    ),
    Check(
        "system-schema-objects",
        "block",
        SYSTEM_OBJECTS,
        "the system's schemas hold what users have made",
        "pg_dump leaves out what lies in pg_catalog and information_schema, and the fence does not reach it",
        "ALTER … SET SCHEMA for each, or DROP it",
    ),
    Check(
        "dropped-defaults",
        "block",
        """SELECT 'schema public', 'CREATE SCHEMA public' WHERE to_regnamespace('public') IS NULL
        UNION ALL SELECT 'extension plpgsql', 'CREATE EXTENSION plpgsql'
          WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'plpgsql') ORDER BY 1""",
        "the source lacks what every new database has",
        "the copy is made from template0, which has it, and would differ from the source",
    ),
    Check(
        "unreadable-tables",
        "block",
        f"""SELECT {_NAME}, format('GRANT SELECT ON %I.%I TO %I', n.nspname, c.relname, current_user)
        FROM {_RELATION} WHERE (c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, 'SELECT'))
        OR (c.relkind IN ('r', 'p', 'm') AND NOT has_table_privilege(c.oid, 'SELECT')) ORDER BY 1""",  # noqa: S608
        "our role may not read tables or sequences of the source",
        "pg_dump would end in the middle",
    ),
    Check(
        "closed-schemas",
        "block",
        f"""SELECT format('%I', n.nspname), format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user)
        FROM pg_namespace n WHERE {_USERS} AND NOT has_schema_privilege(n.oid, 'USAGE') ORDER BY 1""",  # noqa: S608
        "our role may not look into schemas of the source",
        "what lies in them could be neither copied nor compared",
    ),
    Check(
        "row-security",
        "block",
        f"""SELECT {_NAME} FROM {_RELATION} WHERE c.relrowsecurity AND row_security_active(c.oid) ORDER BY 1""",  # noqa: S608
        "policies hide rows of these tables from our role",
        "pg_dump refuses such a table, for a copy without the hidden rows would look whole",
        "let the plan connect as a superuser, or as a role with BYPASSRLS",
    ),
    Check(
        "unreadable-large-objects",
        "block",
        """SELECT m.oid::text, format('GRANT SELECT ON LARGE OBJECT %s TO %I', m.oid, current_user)
        FROM pg_largeobject_metadata m WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        AND NOT pg_has_role(m.lomowner, 'USAGE') AND current_setting('lo_compat_privileges') = 'off'
        AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
          AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE'))) ORDER BY m.oid""",
        "our role may not read large objects of the source",
        "pg_dump would end in the middle",
    ),
    Check(
        "invalid-indexes",
        "block",
        f"""SELECT {_NAME}, format('REINDEX INDEX CONCURRENTLY %I.%I', n.nspname, c.relname)
        FROM pg_index i JOIN {_RELATION} ON c.oid = i.indexrelid
        WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready AND i.indislive) ORDER BY 1""",  # noqa: S608
        "indexes of the source are not valid",
        "pg_dump leaves them out, so the target would have fewer indexes; make them whole, or drop them",
    ),
    Check(
        "child-columns",
        "block",
        f"""SELECT {_NAME} FROM {_RELATION} WHERE c.relkind IN ('r', 'f') AND NOT c.relispartition
        AND EXISTS (SELECT FROM (SELECT a.attnum, row_number() OVER (ORDER BY i.place, a.attnum) AS made,
            row_number() OVER (ORDER BY a.attnum) AS stands
          FROM pg_attribute a LEFT JOIN LATERAL (SELECT min(ARRAY[h.inhseqno, p.attnum]) AS place FROM pg_inherits h
            JOIN pg_attribute p ON p.attrelid = h.inhparent AND p.attname = a.attname AND NOT p.attisdropped
            WHERE h.inhrelid = c.oid) AS i ON true
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS x WHERE made <> stands)
        AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) ORDER BY 1""",  # noqa: S608
        "columns of inheriting tables stand in another order than a dump makes them",
        "pg_dump makes inherited columns first; what selects * or inserts without a list would find others",
        "make the table anew in the order that pg_dump gives it, before the rehearsal",
    ),
    Check(
        "child-nulls",
        "block",
        f"""SELECT format('%s.%I', {_NAME}, a.attname), format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', {_NAME},
          a.attname)
        FROM {_RELATION} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'f') AND NOT a.attnotnull AND EXISTS (SELECT FROM pg_inherits h
          JOIN pg_attribute p ON p.attrelid = h.inhparent AND p.attname = a.attname AND p.attnotnull
          WHERE h.inhrelid = c.oid) ORDER BY 1""",  # noqa: S608
        "columns of inheriting tables may be null where their parent's may not",
        "a dump makes them NOT NULL with the parent's, and rows with null in them end the restore",
        before=180000,
    ),
    Check(
        "unvalidated",
        "info",
        f"""SELECT format('%I on %I.%I', k.conname, n.nspname, c.relname),
          format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', n.nspname, c.relname, k.conname)
        FROM pg_constraint k JOIN {_RELATION} ON c.oid = k.conrelid
        WHERE NOT k.convalidated AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true) ORDER BY 1""",  # noqa: S608
        "constraints were never validated",
        "they are copied as they are: rows that break them may be among the data",
    ),
    Check(
        "unlogged",
        "info",
        f"""SELECT {_NAME}, format('ALTER TABLE %I.%I SET LOGGED', n.nspname, c.relname) FROM {_RELATION}
        WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1""",  # noqa: S608
        "unlogged tables",
        "their rows are copied, but a crash of either server empties them, and no standby or base backup has them",
    ),
    Check(
        "foreign-tables",
        "warn",
        f"SELECT {_NAME} FROM {_RELATION} WHERE c.relkind = 'f' ORDER BY 1",  # noqa: S608
        "rows of foreign tables are neither copied nor compared",
        "the application reads them through the target from then on",
        "see that the target reaches the same foreign servers, through its firewall and theirs",
    ),
    Check(
        "user-mappings",
        "warn",
        """SELECT format('%s on %I', m.usename, m.srvname) FROM pg_user_mappings m
        WHERE m.umoptions IS NULL AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) ORDER BY 1""",
        "user mappings whose options our role may not read",
        "a password in them would not be copied, and the foreign server would refuse the target",
        "make these mappings on the target by hand, or let the plan connect as a superuser",
    ),
    Check(
        "subscriptions",
        "warn",
        """SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() ORDER BY 1""",
        "subscriptions are not copied",
        "the old database goes on receiving, the new one does not",
        "make them on the target after the switchover, with copy_data = false and a slot of their own",
    ),
    Check(
        "followers",
        "warn",
        """SELECT format('slot %s%s', slot_name, CASE WHEN NOT active THEN ', inactive' END)
        FROM pg_replication_slots WHERE database IS NULL OR database = current_database()
        UNION ALL SELECT trim(format('standby %s %s', application_name, host(client_addr))) FROM pg_stat_replication r
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid) ORDER BY 1""",
        "others follow the source",
        "a standby or subscriber of the old server knows nothing of the new one",
        "plan for each whether it is attached to the target or retired",
    ),
    Check(
        "sequences-near-end",
        "warn",
        """SELECT format('%I.%I at %s %%', schemaname, sequencename, share), concat_ws('; ',
          (SELECT format('ALTER TABLE %s ALTER COLUMN %I TYPE bigint', a.attrelid::regclass, a.attname)
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = format('%I.%I', schemaname, sequencename)::regclass
            AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
            AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)),
          format('ALTER SEQUENCE %I.%I AS bigint NO %s', schemaname, sequencename,
            CASE WHEN increment_by > 0 THEN 'MAXVALUE' ELSE 'MINVALUE' END))
        FROM (SELECT *, CASE WHEN increment_by > 0
            THEN (last_value::numeric - min_value) * 100 / nullif(max_value::numeric - min_value, 0)
            ELSE (max_value::numeric - last_value) * 100 / nullif(max_value::numeric - min_value, 0) END::int AS share
          FROM pg_sequences WHERE last_value IS NOT NULL AND NOT cycle AND schemaname <> 'switchover') AS s
        WHERE share >= 80 ORDER BY share DESC""",
        "sequences have used up most of their numbers",
        "an insert fails once they are used up; here or there",
    ),
    Check(
        "extension-tables",
        "warn",
        f"""SELECT {_NAME} FROM {_RELATION} JOIN pg_depend p ON p.classid = 'pg_class'::regclass AND p.objid = c.oid
          AND p.deptype = 'e' JOIN pg_extension x ON x.oid = p.refobjid
        WHERE c.relkind = 'r' AND pg_relation_size(c.oid) > 0 AND NOT c.oid = ANY(coalesce(x.extconfig, '{{}}'))
        ORDER BY 1""",  # noqa: S608
        "tables of extensions hold rows that a dump leaves out",
        "the extension has not named them as its configuration (pg_extension_config_dump), so they come empty",
        "copy their rows by hand where the application has written them",
    ),
    Check(
        "scheduled-jobs",
        "warn",
        "SELECT extname FROM pg_extension WHERE extname IN ('pg_cron', 'pg_partman', 'pgagent', 'timescaledb')",
        "jobs run inside the database",
        "copied with it they run on the target too, and one may make a partition or delete rows in the middle",
        "pause them before the window on both sides, and resume them on the side that is live",
    ),
    Check(
        "c-functions",
        "warn",
        f"""SELECT format('%s of %s', p.oid::regprocedure, p.probin) FROM pg_proc p
        JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE l.lanname = 'c' AND {_USERS} AND {_NOT_EXTENSIONS.format("pg_proc", "p.oid")} ORDER BY 1""",  # noqa: S608
        "functions in C that belong to no extension",
        "CREATE FUNCTION fails where the target's host lacks the library, built for its own version",
        "install the library on the target's host; only a superuser may make such functions",
    ),
    Check(
        "dictionary-files",
        "warn",
        f"""SELECT format('%I.%I', n.nspname, d.dictname)
        FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace
        WHERE {_USERS} AND {_NOT_EXTENSIONS.format("pg_ts_dict", "d.oid")}
        AND d.dictinitoption ~* '(dictfile|afffile|synonyms|thesaurus|stopwords|rules)' ORDER BY 1""",  # noqa: S608
        "text search dictionaries that read files of the server's host",
        "CREATE TEXT SEARCH DICTIONARY fails without the file; with another one the search finds other words",
        "copy the files to $(pg_config --sharedir)/tsearch_data on the target's host",
    ),
    Check(
        "security-labels",
        "warn",
        "SELECT DISTINCT provider FROM pg_seclabels ORDER BY 1",
        "security labels by providers",
        "they are refused where the target has not loaded the provider",
        "put the provider into the target's shared_preload_libraries",
    ),
    Check(
        "own-collations",
        "info",
        f"""SELECT format('%I.%I', n.nspname, c.collname) FROM pg_collation c
        JOIN pg_namespace n ON n.oid = c.collnamespace
        WHERE {_USERS} AND NOT c.collisdeterministic ORDER BY 1""",  # noqa: S608
        "collations under which different texts are equal",
        "rows are compared by their bytes all the same; patterns on such columns work from PostgreSQL 18 on",
    ),
    Check(
        "large-objects",
        "info",
        "SELECT format('%s of them', count(*)) FROM pg_largeobject_metadata HAVING count(*) > 0",
        "large objects",
        "each is copied and compared by its bytes; they are slower than rows",
    ),
)
