"""The catalog queries behind a fingerprint: each gives the name of an object and one fact about it.

Run with ``search_path = pg_catalog``, so that every name is qualified. Privileges are told as what was added to and
taken from the server's own default, because that default differs between versions and NULL means it. NOT NULL
constraints are left out: only PostgreSQL 18 lists them, the column says it. Members of extensions are the
extension's business, and its version the server's. The schema ``switchover`` is ours, and so are publications named
like it.

``%(key)s`` stands for the key of the hashes, whose values are left out where it is empty;
``%(ignored)s`` for a privilege that one side does not know, ``%(floor)s`` for the older server's version,
``%(partitions)s`` for whether partitions are told from their table.
"""

from __future__ import annotations

_ITEM = """concat(CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END, '=', a.privilege_type,
  CASE WHEN a.is_grantable THEN '*' END, '/', pg_get_userbyid(a.grantor))"""


def _acl(column: str, usual: str) -> str:
    """What was granted beyond the usual privileges, and what of them was revoked."""

    def items(acl: str) -> str:
        return f"SELECT {_ITEM} FROM aclexplode({acl}) a WHERE a.privilege_type <> %(ignored)s"

    mine, theirs = items(column), items(usual)
    return f"""(SELECT string_agg(x.item, ' ' ORDER BY x.item COLLATE "C") FROM (
      SELECT '+' || p.item FROM ({mine} EXCEPT {theirs}) AS p(item)
      UNION ALL SELECT '-' || m.item FROM ({theirs} EXCEPT {mine}) AS m(item)) AS x(item)
      WHERE {column} IS NOT NULL)"""


def _own(catalog: str, oid: str) -> str:
    return (
        f"NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = '{catalog}'::regclass AND x.objid = {oid} "
        "AND x.deptype = 'e')"
    )


_SCHEMA = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'"
_WHOLE = "(%(partitions)s OR NOT c.relispartition)"
_RELATION = f"{_SCHEMA} AND {_WHOLE} AND {_own('pg_class', 'c.oid')}"
_RELATION_USUAL = """acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner)"""
_DEFAULT_USUAL = """acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's'::"char" ELSE d.defaclobjtype END, d.defaclrole)"""
_JOIN = "JOIN pg_class c ON c.oid = {} JOIN pg_namespace n ON n.oid = c.relnamespace"
_OPTIONS = "nullif(ARRAY(SELECT o FROM unnest(a.attoptions) o WHERE NOT starts_with(o, 'pg_attver=')), '{}')"
"""Some builds (15.20 of Debian) keep a mark of their own among a column's options; pg_dump knows nothing of it."""

_SORTED = 'ARRAY(SELECT o FROM unnest({}) o ORDER BY o COLLATE "C")'
_COLLATION = """(SELECT format('%I.%I', cn.nspname, co.collname) FROM pg_collation co
  JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = {})"""
_USUAL = "acldefault('{}', {})"
_WRAPPER = "(SELECT w.fdwname FROM pg_foreign_data_wrapper w WHERE w.oid = t.srvfdw)"
_TABLESPACE = "(SELECT s.spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace)"

_IDENTITY = "CASE WHEN c.relispartition AND %(floor)s < 170000 THEN '' ELSE a.attidentity END"
"""From PostgreSQL 17 on, a partition has the identity columns of its table."""

_OPTION = """split_part(o, '=', 1) || CASE WHEN %(key)s <> '' THEN '=#' ||
  left(encode(sha256(convert_to(%(key)s || o, getdatabaseencoding())), 'hex'), 16) ELSE '' END"""
_DIGEST = f"""CASE WHEN {{0}} IS NOT NULL THEN
  ARRAY(SELECT {_OPTION} FROM unnest({{0}}) o ORDER BY o COLLATE "C") END"""
"""Options may hold passwords, so a difference shows each by its name and a keyed hash. A dump sorts them."""

_WORDED = "replace(i.identity, ' on language ', ' language ')"
"""From PostgreSQL 16 on, a transform is for a type "language", and no more "on language"."""


def _plain(catalog: str, facts: str, where: str = "true") -> str:
    """Objects that are known by their identity, with an owner and little else."""
    return f"""
        SELECT concat(i.type, ' ', {_WORDED}), ROW({facts})::text
        FROM {catalog} t, pg_identify_object('{catalog}'::regclass, t.oid, 0) i
        WHERE t.oid >= 16384 AND i.schema IS DISTINCT FROM 'switchover' AND {_own(catalog, "t.oid")} AND {where}"""


def _others(catalog: str, acl: str, owner: str, kind: str) -> str:
    """What was granted on objects of the system or of extensions, beyond what they came with."""
    usual = f"coalesce(p.initprivs, acldefault({kind}, t.{owner}))"
    return f"""
        SELECT concat(i.type, ' ', {_WORDED}), {_acl(f"t.{acl}", usual)} FROM {catalog} t
        LEFT JOIN pg_init_privs p ON p.classoid = '{catalog}'::regclass AND p.objoid = t.oid AND p.objsubid = 0,
        pg_identify_object('{catalog}'::regclass, t.oid, 0) i
        WHERE t.{acl} IS NOT NULL AND t.{acl} IS DISTINCT FROM p.initprivs
        AND (t.oid < 16384 OR NOT {_own(catalog, "t.oid")}) AND {_acl(f"t.{acl}", usual)} IS NOT NULL"""


QUERIES: dict[str, str] = {
    "database": """
        SELECT 'encoding', pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()""",
    "schema": f"""
        SELECT n.nspname, ROW(CASE WHEN n.nspname = 'public' AND (n.nspowner = 10
            OR pg_get_userbyid(n.nspowner) = 'pg_database_owner') THEN '' ELSE pg_get_userbyid(n.nspowner) END,
          {_acl("n.nspacl", "coalesce(d.initprivs, acldefault('n', n.nspowner))")})::text
        FROM pg_namespace n
        LEFT JOIN pg_init_privs d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass
        WHERE {_SCHEMA} AND {_own("pg_namespace", "n.oid")}""",
    "relation": f"""
        SELECT format('%I.%I', n.nspname, c.relname), ROW(
          CASE WHEN c.relkind = 'p' AND NOT %(partitions)s THEN 'r' ELSE c.relkind END, c.relpersistence,
          pg_get_userbyid(c.relowner),
          {_acl("c.relacl", _RELATION_USUAL)},
          c.relrowsecurity, c.relforcerowsecurity, c.relreplident, {_SORTED.format("c.reloptions")}, c.relispopulated,
          c.reloftype::regtype, {_TABLESPACE},
          (SELECT nullif({_SORTED.format("t.reloptions")}, '{{}}') FROM pg_class t WHERE t.oid = c.reltoastrelid),
          CASE WHEN %(partitions)s THEN (SELECT amname FROM pg_am WHERE oid = c.relam) END,
          pg_get_expr(c.relpartbound, c.oid), CASE WHEN %(partitions)s THEN pg_get_partkeydef(c.oid) END,
          ARRAY(SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = c.oid ORDER BY h.inhseqno),
          (SELECT ROW(s.srvname, {_DIGEST.format("f.ftoptions")})::text FROM pg_foreign_table f
            JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = c.oid))::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_RELATION}""",
    "column": f"""
        SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname), ROW(format_type(a.atttypid, a.atttypmod),
          a.attnotnull, {_IDENTITY}, a.attgenerated, a.attstorage, {_OPTIONS}, {_DIGEST.format("a.attfdwoptions")},
          nullif(a.attstattarget, -1), a.attislocal, a.attinhcount, a.attcompression,
          {_COLLATION.format("a.attcollation")},
          pg_get_expr(d.adbin, d.adrelid), {_acl("a.attacl", "acldefault('c', c.relowner)")},
          row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum))::text
        FROM pg_attribute a {_JOIN.format("a.attrelid")}
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
        AND {_RELATION}""",
    "constraint": f"""
        SELECT format('%I on %s', k.conname,
            CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE k.contypid::regtype::text END),
          ROW(pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable, k.condeferred)::text
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
        WHERE (k.contype <> 'n' OR %(floor)s >= 180000) AND NOT (k.contype = 'f' AND k.conparentid <> 0) AND {_SCHEMA}
        AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = k.conrelid AND NOT {_WHOLE})
        AND {_own("pg_class", "k.conrelid")} AND {_own("pg_type", "k.contypid")}""",
    "index": f"""
        SELECT format('%I.%I', n.nspname, c.relname), ROW(
          CASE WHEN %(partitions)s THEN pg_get_indexdef(i.indexrelid)
            ELSE replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') END, i.indisvalid, i.indisready,
          i.indisreplident, i.indisclustered, {_TABLESPACE},
          ARRAY(SELECT nullif(a.attstattarget, -1) FROM pg_attribute a WHERE a.attrelid = c.oid ORDER BY a.attnum),
          ARRAY(SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = c.oid))::text
        FROM pg_index i {_JOIN.format("i.indexrelid")} WHERE {_RELATION} AND {_own("pg_class", "i.indrelid")}""",
    "trigger": f"""
        SELECT format('%I on %s', t.tgname, t.tgrelid::regclass), ROW(pg_get_triggerdef(t.oid), t.tgenabled)::text
        FROM pg_trigger t {_JOIN.format("t.tgrelid")} WHERE NOT t.tgisinternal AND {_RELATION}""",
    "triggers of a key": f"""
        SELECT format('%I on %s', k.conname, k.conrelid::regclass), string_agg(t.tgenabled::text, ' ' ORDER BY t.tgtype)
        FROM pg_trigger t JOIN pg_constraint k ON k.oid = t.tgconstraint {_JOIN.format("t.tgrelid")}
        WHERE t.tgisinternal AND t.tgenabled <> 'O' AND {_RELATION} GROUP BY 1""",
    "view": f"""
        SELECT format('%I.%I', n.nspname, c.relname), replace(pg_get_viewdef(c.oid), '( VALUES', '(VALUES')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm') AND {_RELATION}""",
    "rule": f"""
        SELECT format('%I on %s', r.rulename, r.ev_class::regclass), concat(pg_get_ruledef(r.oid), ' ', r.ev_enabled)
        FROM pg_rewrite r {_JOIN.format("r.ev_class")} WHERE r.rulename <> '_RETURN' AND {_RELATION}""",
    "policy": f"""
        SELECT format('%I on %s', p.polname, p.polrelid::regclass), ROW(p.polcmd, p.polpermissive,
          ARRAY(SELECT CASE WHEN o = 0 THEN 'public' ELSE pg_get_userbyid(o) END FROM unnest(p.polroles) o ORDER BY 1),
          pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))::text
        FROM pg_policy p {_JOIN.format("p.polrelid")} WHERE {_RELATION}""",
    "function": f"""
        SELECT p.oid::regprocedure::text, ROW(CASE WHEN p.prokind = 'a' THEN
            (SELECT ROW(g.aggkind, g.aggnumdirectargs, g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn,
              g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn, g.aggfinalextra, g.aggmfinalextra,
              g.aggfinalmodify, g.aggmfinalmodify, g.aggsortop::regoperator, g.aggtranstype::regtype, g.aggtransspace,
              g.aggmtranstype::regtype, g.aggmtransspace, g.agginitval, g.aggminitval, p.proparallel)::text
              FROM pg_aggregate g WHERE g.aggfnoid = p.oid)
            ELSE pg_get_functiondef(p.oid) END,
          pg_get_userbyid(p.proowner), {_acl("p.proacl", "acldefault('f', p.proowner)")})::text
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE {_SCHEMA} AND {_own("pg_proc", "p.oid")} AND NOT EXISTS (SELECT FROM pg_depend x
          WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'i'
          AND x.refclassid = 'pg_type'::regclass)""",
    "type": f"""
        SELECT format('%I.%I', n.nspname, t.typname), ROW(t.typtype, pg_get_userbyid(t.typowner),
          {_acl("t.typacl", "acldefault('T', t.typowner)")}, t.typnotnull,
          coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault), {_COLLATION.format("t.typcollation")},
          CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
          CASE WHEN t.typtype = 'b' THEN ROW(t.typinput, t.typcategory, t.typispreferred)::text END, t.typisdefined,
          ARRAY(SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
          (SELECT ROW(g.rngsubtype::regtype, {_COLLATION.format("g.rngcollation")}, g.rngcanonical, g.rngsubdiff,
              (SELECT y.opcname FROM pg_opclass y WHERE y.oid = g.rngsubopc))::text
            FROM pg_range g WHERE g.rngtypid = t.oid))::text
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'b' AND t.typcategory <> 'A') OR c.relkind = 'c'
          OR NOT t.typisdefined) AND {_SCHEMA} AND {_own("pg_type", "t.oid")}""",
    "sequence": f"""
        SELECT format('%I.%I', n.nspname, c.relname), ROW(s.seqtypid::regtype, s.seqstart, s.seqincrement,
          s.seqmax, s.seqmin, s.seqcache, s.seqcycle, (SELECT format('%s.%I', d.refobjid::regclass, a.attname)
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass
            AND d.refclassid = 'pg_class'::regclass LIMIT 1))::text
        FROM pg_sequence s {_JOIN.format("s.seqrelid")} WHERE {_RELATION}""",
    "extension": "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace",
    "event trigger": f"""
        SELECT t.evtname, ROW(t.evtevent, t.evtfoid::regproc, t.evtenabled, t.evttags,
          pg_get_userbyid(t.evtowner))::text
        FROM pg_event_trigger t WHERE {_own("pg_event_trigger", "t.oid")}""",
    "publication": """
        SELECT p.pubname, ROW(pg_get_userbyid(p.pubowner), p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete,
          p.pubtruncate, p.pubviaroot, coalesce(to_jsonb(p) ->> 'pubgencols', 'n'),
          ARRAY(SELECT concat_ws(' ', format('%I.%I', t.schemaname, t.tablename),
              CASE WHEN %(floor)s >= 150000 THEN to_jsonb(t) ->> 'rowfilter' END)
            FROM pg_publication_tables t WHERE t.pubname = p.pubname AND t.schemaname <> 'switchover' ORDER BY 1),
          CASE WHEN %(floor)s >= 150000 THEN ARRAY(SELECT concat_ws(' ', r.prrelid::regclass, (SELECT
              string_agg(quote_ident(a.attname), ' ' ORDER BY a.attname COLLATE "C") FROM pg_attribute a
              WHERE a.attrelid = r.prrelid AND to_jsonb(r) -> 'prattrs' @> to_jsonb(a.attnum)))
            FROM pg_publication_rel r WHERE r.prpubid = p.oid ORDER BY 1) END)::text
        FROM pg_publication p WHERE NOT starts_with(p.pubname, 'switchover_')""",
    "default privileges": f"""
        SELECT concat_ws(' ', pg_get_userbyid(d.defaclrole), d.defaclobjtype,
            (SELECT nspname FROM pg_namespace WHERE oid = d.defaclnamespace)),
          {_acl("d.defaclacl", _DEFAULT_USUAL)}
        FROM pg_default_acl d""",
    "comment": f"""
        SELECT concat(i.type, ' ', {_WORDED}), d.description
        FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) i
        WHERE (d.objoid >= 16384 OR d.classoid = 'pg_largeobject'::regclass
          OR (d.classoid = 'pg_namespace'::regclass AND d.description <> 'standard public schema'
            AND d.objoid = (SELECT oid FROM pg_namespace WHERE nspname = 'public')))
        AND i.schema IS DISTINCT FROM 'switchover' AND i.identity !~ '^switchover\\.'
        AND d.classoid <> 'pg_extension'::regclass
        AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.classid = d.classoid AND x.objid = d.objoid
          AND x.deptype = 'e')
        AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE d.classoid = 'pg_constraint'::regclass
          AND k.oid = d.objoid AND k.contype = 'n')
        AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classoid = 'pg_class'::regclass AND c.oid = d.objoid
          AND c.relispartition AND NOT %(partitions)s)""",
    "security label": """
        SELECT concat(i.type, ' ', i.identity, ' by ', l.provider), l.label
        FROM pg_seclabel l, pg_identify_object(l.classoid, l.objoid, l.objsubid) i
        WHERE i.schema IS DISTINCT FROM 'switchover'""",
    "statistics": f"""
        SELECT format('%I.%I', n.nspname, s.stxname), ROW(pg_get_statisticsobjdef(s.oid),
          pg_get_userbyid(s.stxowner), nullif(s.stxstattarget, -1))::text
        FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE {_SCHEMA}""",
    "operator": _plain(
        "pg_operator",
        "t.oprcode, t.oprcom::regoperator, t.oprnegate::regoperator, t.oprrest, t.oprjoin, t.oprcanhash, "
        "t.oprcanmerge, pg_get_userbyid(t.oprowner)",
    ),
    "operator class": _plain(
        "pg_opclass",
        "t.opcdefault, t.opcintype::regtype, t.opckeytype::regtype, "
        "(SELECT f.opfname FROM pg_opfamily f WHERE f.oid = t.opcfamily), pg_get_userbyid(t.opcowner)",
    ),
    "operator family": _plain(
        "pg_opfamily",
        "pg_get_userbyid(t.opfowner), ARRAY(SELECT ROW(m.amopstrategy, m.amoppurpose, m.amopopr::regoperator)::text "
        "FROM pg_amop m WHERE m.amopfamily = t.oid ORDER BY 1), ARRAY(SELECT ROW(m.amproclefttype::regtype, "
        "m.amprocrighttype::regtype, m.amprocnum, m.amproc::regprocedure)::text "
        "FROM pg_amproc m WHERE m.amprocfamily = t.oid ORDER BY 1)",
    ),
    "cast": _plain("pg_cast", "t.castfunc::regprocedure, t.castcontext, t.castmethod"),
    "collation": _plain(
        "pg_collation",
        "t.collprovider, t.collisdeterministic, t.collcollate, t.collctype, "
        "coalesce(to_jsonb(t) ->> 'colllocale', to_jsonb(t) ->> 'colliculocale'), "
        "to_jsonb(t) ->> 'collicurules', pg_get_userbyid(t.collowner)",
    ),
    "conversion": _plain(
        "pg_conversion",
        "t.conproc, t.condefault, pg_encoding_to_char(t.conforencoding), pg_encoding_to_char(t.contoencoding), "
        "pg_get_userbyid(t.conowner)",
    ),
    "text search configuration": _plain(
        "pg_ts_config",
        "(SELECT p.prsname FROM pg_ts_parser p WHERE p.oid = t.cfgparser), pg_get_userbyid(t.cfgowner), "
        "ARRAY(SELECT ROW(m.maptokentype, m.mapseqno, m.mapdict::regdictionary)::text "
        "FROM pg_ts_config_map m WHERE m.mapcfg = t.oid ORDER BY m.maptokentype, m.mapseqno)",
    ),
    "text search dictionary": _plain(
        "pg_ts_dict",
        "pg_get_userbyid(t.dictowner), t.dictinitoption, "
        "(SELECT p.tmplname FROM pg_ts_template p WHERE p.oid = t.dicttemplate)",
    ),
    "text search parser": _plain("pg_ts_parser", "t.prsstart, t.prstoken, t.prsend, t.prsheadline, t.prslextype"),
    "text search template": _plain("pg_ts_template", "t.tmplinit, t.tmpllexize"),
    "access method": _plain("pg_am", "t.amtype, t.amhandler"),
    "foreign data wrapper": _plain(
        "pg_foreign_data_wrapper",
        f"pg_get_userbyid(t.fdwowner), t.fdwhandler::regproc, t.fdwvalidator::regproc, "
        f"{_DIGEST.format('t.fdwoptions')}, {_acl('t.fdwacl', _USUAL.format('F', 't.fdwowner'))}",
    ),
    "foreign server": _plain(
        "pg_foreign_server",
        f"pg_get_userbyid(t.srvowner), t.srvtype, t.srvversion, {_DIGEST.format('t.srvoptions')}, {_WRAPPER}, "
        f"{_acl('t.srvacl', _USUAL.format('S', 't.srvowner'))}",
    ),
    "user mapping": f"""
        SELECT concat(m.usename, ' on ', m.srvname), ROW({_DIGEST.format("m.umoptions")})::text
        FROM pg_user_mappings m""",
    "language": _plain(
        "pg_language",
        f"pg_get_userbyid(t.lanowner), t.lanpltrusted, {_acl('t.lanacl', _USUAL.format('l', 't.lanowner'))}",
    ),
    "transform": _plain("pg_transform", "t.trffromsql, t.trftosql"),
    "privileges": " UNION ALL ".join(
        _others(*each)
        for each in (
            ("pg_class", "relacl", "relowner", "CASE relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END"),
            ("pg_proc", "proacl", "proowner", "'f'"),
            ("pg_type", "typacl", "typowner", "'T'"),
            ("pg_language", "lanacl", "lanowner", "'l'"),
            ("pg_foreign_data_wrapper", "fdwacl", "fdwowner", "'F'"),
        )
    ),
    "dependency on an extension": """
        SELECT concat(i.type, ' ', i.identity, ' on ', e.extname), '' FROM pg_depend d
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid,
        pg_identify_object(d.classid, d.objid, d.objsubid) i WHERE d.deptype = 'x'""",
}

LATER: dict[str, tuple[int, str]] = {
    "schema in a publication": (
        150000,
        """
        SELECT format('%I of %I', n.nspname, p.pubname), '' FROM pg_publication_namespace s
        JOIN pg_publication p ON p.oid = s.pnpubid JOIN pg_namespace n ON n.oid = s.pnnspid""",
    ),
}
"""What only servers from some version on know, by the older one's."""

LOCALE = """d.datcollate, d.datctype, coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
  coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), to_jsonb(d) ->> 'daticurules'"""
"""How a database sorts; before PostgreSQL 15 always by the C library, and by its own rules from 16 on."""

BEYOND: dict[str, str] = {
    "locale": f"SELECT 'database', ROW({LOCALE})::text FROM pg_database d WHERE datname = current_database()",
    "version of extension": "SELECT extname, extversion FROM pg_extension",
    "subscription": """
        SELECT s.subname, ROW(s.subenabled, s.subpublications)::text FROM pg_subscription s
        JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()""",
}
"""What a copy leaves to the target, and its preflight tells of: of concern where two databases are compared as they
stand."""

LARGE_OBJECTS = f"""
SELECT count(*), sum(hashtextextended(ROW(m.oid, pg_get_userbyid(m.lomowner),
  {_acl("m.lomacl", "acldefault('L', m.lomowner)").replace("%(ignored)s", "''")})::text COLLATE "C", 1)::numeric)
FROM pg_largeobject_metadata m"""

LARGE_OBJECT_BYTES = """
SELECT sum(hashint8extended(hash_record_extended(ROW(o.oid, part, lo_get(o.oid, part * 1048576, 1048576)), 1), 2))
FROM (SELECT m.oid, lo_lseek64(f.fd, 0, 2) AS size, lo_close(f.fd) FROM pg_largeobject_metadata m
      CROSS JOIN LATERAL (SELECT lo_open(m.oid, 262144) AS fd OFFSET 0) AS f OFFSET 0) AS o,
generate_series(0, greatest(o.size - 1, 0) / 1048576) AS part"""
"""By bytes, a megabyte at a time, as anyone may who may read them: the pages of a sparse object are filled by a
restore, and only a superuser may look at pages."""
