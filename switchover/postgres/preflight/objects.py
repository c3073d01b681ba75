"""What is in the source's database that a copy loses, breaks on, or carries to its operator's surprise."""

from __future__ import annotations

from switchover.postgres.guard import TABLES
from switchover.postgres.preflight.catalog import NAME, NOT_EXTENSIONS, RELATION, USERS
from switchover.postgres.preflight.check import Check
from switchover.postgres.unseen import SYSTEM_OBJECTS

_TABLES = ", ".join(f"'{name}'" for name in TABLES)

OBJECTS: tuple[Check, ...] = (
    Check(
        "own-schema",
        "block",
        f"""SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace('switchover')
        AND NOT (d.classid = 'pg_class'::regclass
          AND d.objid IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relname IN ({_TABLES})))
        ORDER BY 1""",
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
        f"""SELECT {NAME}, format('GRANT SELECT ON %I.%I TO %I', n.nspname, c.relname, current_user)
        FROM {RELATION} WHERE (c.relkind = 'S' AND NOT has_sequence_privilege(c.oid, 'SELECT'))
        OR (c.relkind IN ('r', 'p', 'm') AND NOT has_table_privilege(c.oid, 'SELECT')) ORDER BY 1""",
        "our role may not read tables or sequences of the source",
        "pg_dump would end in the middle",
    ),
    Check(
        "closed-schemas",
        "block",
        f"""SELECT format('%I', n.nspname), format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user)
        FROM pg_namespace n WHERE {USERS} AND NOT has_schema_privilege(n.oid, 'USAGE') ORDER BY 1""",
        "our role may not look into schemas of the source",
        "what lies in them could be neither copied nor compared",
    ),
    Check(
        "row-security",
        "block",
        f"""SELECT {NAME} FROM {RELATION} WHERE c.relrowsecurity AND row_security_active(c.oid) ORDER BY 1""",
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
        f"""SELECT {NAME}, format('REINDEX INDEX CONCURRENTLY %I.%I', n.nspname, c.relname)
        FROM pg_index i JOIN {RELATION} ON c.oid = i.indexrelid
        WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready AND i.indislive) ORDER BY 1""",
        "indexes of the source are not valid",
        "pg_dump leaves them out, so the target would have fewer indexes; make them whole, or drop them",
    ),
    Check(
        "child-columns",
        "block",
        f"""SELECT {NAME} FROM {RELATION} WHERE c.relkind IN ('r', 'f') AND NOT c.relispartition
        AND EXISTS (SELECT FROM (SELECT a.attnum, row_number() OVER (ORDER BY i.place, a.attnum) AS made,
            row_number() OVER (ORDER BY a.attnum) AS stands
          FROM pg_attribute a LEFT JOIN LATERAL (SELECT min(ARRAY[h.inhseqno, p.attnum]) AS place FROM pg_inherits h
            JOIN pg_attribute p ON p.attrelid = h.inhparent AND p.attname = a.attname AND NOT p.attisdropped
            WHERE h.inhrelid = c.oid) AS i ON true
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS x WHERE made <> stands)
        AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) ORDER BY 1""",
        "columns of inheriting tables stand in another order than a dump makes them",
        "pg_dump makes inherited columns first; what selects * or inserts without a list would find others",
        "make the table anew in the order that pg_dump gives it, before the rehearsal",
    ),
    Check(
        "child-nulls",
        "block",
        f"""SELECT format('%s.%I', {NAME}, a.attname), format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', {NAME},
          a.attname)
        FROM {RELATION} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'f') AND NOT a.attnotnull AND EXISTS (SELECT FROM pg_inherits h
          JOIN pg_attribute p ON p.attrelid = h.inhparent AND p.attname = a.attname AND p.attnotnull
          WHERE h.inhrelid = c.oid) ORDER BY 1""",
        "columns of inheriting tables may be null where their parent's may not",
        "a dump makes them NOT NULL with the parent's, and rows with null in them end the restore",
        before=180000,
    ),
    Check(
        "unvalidated",
        "info",
        f"""SELECT format('%I on %I.%I', k.conname, n.nspname, c.relname),
          format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', n.nspname, c.relname, k.conname)
        FROM pg_constraint k JOIN {RELATION} ON c.oid = k.conrelid
        WHERE NOT k.convalidated AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true) ORDER BY 1""",
        "constraints were never validated",
        "they are copied as they are: rows that break them may be among the data",
    ),
    Check(
        "unindexed-foreign-keys",
        "info",
        f"""SELECT format('%I on %I.%I', k.conname, n.nspname, c.relname),
          format('CREATE INDEX CONCURRENTLY ON %I.%I (%s)', n.nspname, c.relname,
            (SELECT string_agg(format('%I', a.attname), ', ' ORDER BY array_position(k.conkey, a.attnum))
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY(k.conkey)))
        FROM pg_constraint k JOIN {RELATION} ON c.oid = k.conrelid
        WHERE k.contype = 'f' AND k.conparentid = 0 AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid
          AND i.indisvalid AND i.indpred IS NULL
          AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
        ORDER BY pg_relation_size(c.oid) DESC, 1""",
        "foreign keys without an index",
        "each row that is deleted from the table they refer to has the whole table looked through; here or there",
    ),
    Check(
        "unlogged",
        "info",
        f"""SELECT {NAME}, format('ALTER TABLE %I.%I SET LOGGED', n.nspname, c.relname) FROM {RELATION}
        WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1""",
        "unlogged tables",
        "their rows are copied, but a crash of either server empties them, and no standby or base backup has them",
    ),
    Check(
        "foreign-tables",
        "warn",
        f"SELECT {NAME} FROM {RELATION} WHERE c.relkind = 'f' ORDER BY 1",
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
        "extension-tables",
        "warn",
        f"""SELECT {NAME} FROM {RELATION} JOIN pg_depend p ON p.classid = 'pg_class'::regclass AND p.objid = c.oid
          AND p.deptype = 'e' JOIN pg_extension x ON x.oid = p.refobjid
        WHERE c.relkind = 'r' AND pg_relation_size(c.oid) > 0 AND NOT c.oid = ANY(coalesce(x.extconfig, '{{}}'))
        ORDER BY 1""",
        "tables of extensions hold rows that a dump leaves out",
        "the extension has not named them as its configuration (pg_extension_config_dump), so they come empty",
        "copy their rows by hand where the application has written them",
    ),
    Check(
        "c-functions",
        "warn",
        f"""SELECT format('%s of %s', p.oid::regprocedure, p.probin) FROM pg_proc p
        JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE l.lanname = 'c' AND {USERS} AND {NOT_EXTENSIONS.format("pg_proc", "p.oid")} ORDER BY 1""",
        "functions in C that belong to no extension",
        "CREATE FUNCTION fails where the target's host lacks the library, built for its own version",
        "install the library on the target's host; only a superuser may make such functions",
    ),
    Check(
        "dictionary-files",
        "warn",
        f"""SELECT format('%I.%I', n.nspname, d.dictname)
        FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace
        WHERE {USERS} AND {NOT_EXTENSIONS.format("pg_ts_dict", "d.oid")}
        AND d.dictinitoption ~* '(dictfile|afffile|synonyms|thesaurus|stopwords|rules)' ORDER BY 1""",
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
        "names-by-case",
        "info",
        f"""SELECT string_agg({NAME}, ' and ' ORDER BY c.relname) FROM {RELATION}
        WHERE c.relkind NOT IN ('i', 'I', 'c') GROUP BY n.nspname, lower(c.relname::text) HAVING count(*) > 1
        ORDER BY 1""",
        "names that differ only by case",
        "a statement of your own that leaves the quotes out means the other one",
    ),
    Check(
        "own-collations",
        "info",
        f"""SELECT format('%I.%I', n.nspname, c.collname) FROM pg_collation c
        JOIN pg_namespace n ON n.oid = c.collnamespace
        WHERE {USERS} AND NOT c.collisdeterministic ORDER BY 1""",
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
