"""The catalog queries behind roles, memberships, settings and privileges.

The roles that matter to a database are its owner, those that own or are granted anything in it, are granted anything
on it or have settings in it; their members, for these act by them; and the groups of all these. Members of predefined
roles do not matter by that. The membership a CREATEROLE user gets of each role it makes (PostgreSQL 16) is left out:
it is the administration of that server.
"""

from __future__ import annotations

_HERE = "(SELECT oid FROM pg_database WHERE datname = current_database())"

_MEMBERSHIP = """
  SELECT m.roleid, m.member, bool_or(m.admin_option) AS admin,
    bool_or(coalesce((to_jsonb(m) ->> 'inherit_option')::bool, r.rolinherit)) AS inherits,
    bool_or(coalesce((to_jsonb(m) ->> 'set_option')::bool, true)) AS sets,
    bool_and(m.grantor = m.member AND r.rolname = current_user) AS self_made
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
  WHERE NOT (m.grantor = 10 AND r.rolcreaterole AND m.admin_option
    AND coalesce(to_jsonb(m) ->> 'inherit_option', '') = 'false'
    AND coalesce(to_jsonb(m) ->> 'set_option', '') = 'false')
  GROUP BY m.roleid, m.member
"""
"""Self-made is what our own session's role has given itself (createrole_self_grant), so as to restore."""

_EXTENSIONS_OWN = "EXISTS (SELECT FROM pg_depend e WHERE e.classid = {} AND e.objid = {} AND e.deptype = 'e')"
_TOOLS_OWN = """
  SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname = 'switchover'
  UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = to_regnamespace('switchover')
  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = to_regnamespace('switchover')
  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = to_regnamespace('switchover')
"""
"""Who has run this program on the source is not needed on the target by that."""

_OWNED = """
  SELECT 'pg_class'::regclass, oid, relowner FROM pg_class WHERE relkind NOT IN ('i', 'I', 't')
  UNION SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace WHERE nspname !~ '^pg_'
  UNION SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
  UNION SELECT 'pg_type'::regclass, oid, typowner FROM pg_type WHERE typrelid = 0 AND typelem = 0
"""
"""pg_shdepend leaves out the first superuser, whose objects are pinned, so owners are asked for once more: objects of
users have an oid from 16384 on (FirstNormalObjectId in transam.h)."""

_NAMED = f"""
  SELECT s.refobjid FROM pg_shdepend s
  WHERE s.dbid = {_HERE} AND s.refclassid = 'pg_authid'::regclass AND s.classid <> 'pg_extension'::regclass
    AND (s.classid, s.objid) NOT IN ({_TOOLS_OWN})
    AND (s.deptype = 'a' OR NOT {_EXTENSIONS_OWN.format("s.classid", "s.objid")})
  UNION SELECT o.role FROM ({_OWNED}) AS o(class, object, role)
    WHERE o.object >= 16384 AND (o.class, o.object) NOT IN ({_TOOLS_OWN})
    AND NOT {_EXTENSIONS_OWN.format("o.class", "o.object")}
  UNION SELECT a.grantee FROM pg_database d, aclexplode(d.datacl) a WHERE d.oid = {_HERE} AND a.grantee <> d.datdba
  UNION SELECT s.setrole FROM pg_db_role_setting s WHERE s.setdatabase = {_HERE}
  UNION SELECT d.datdba FROM pg_database d WHERE d.oid = {_HERE} AND d.datdba <> 10
"""
"""A grant counts on any object, also on a system's or an extension's own: pg_dump carries it."""

_CONNECTED = f"""
  UNION SELECT s.usesysid FROM pg_stat_activity s WHERE s.datid = {_HERE} AND s.usesysid IS NOT NULL
    AND NOT starts_with(coalesce(s.application_name, ''), 'switchover') AND s.pid <> pg_backend_pid()
"""


def _mattering(more: str = "") -> str:
    return f"""
WITH RECURSIVE membership AS ({_MEMBERSHIP}), named(role) AS ({_NAMED} {more}),
down(role) AS (
  SELECT role FROM named
  UNION SELECT m.member FROM down d JOIN membership m ON m.roleid = d.role WHERE m.roleid >= 16384
), mattering(role) AS (
  SELECT role FROM down UNION SELECT m.roleid FROM mattering u JOIN membership m ON m.member = u.role
)
SELECT r.rolname, r.oid >= 16384 AND r.oid IN (SELECT role FROM down)
FROM mattering u JOIN pg_roles r ON r.oid = u.role WHERE r.oid >= 16384 OR r.oid = 10 ORDER BY 1
"""


OWNERS = f"""
SELECT DISTINCT r.rolname FROM (
  SELECT s.classid, s.objid, s.refobjid FROM pg_shdepend s
    WHERE s.dbid = {_HERE} AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o'
    AND s.classid NOT IN ('pg_extension'::regclass, 'pg_subscription'::regclass)
  UNION SELECT * FROM ({_OWNED}) AS o
  UNION SELECT 'pg_largeobject'::regclass, oid, lomowner FROM pg_largeobject_metadata
  UNION SELECT 'pg_default_acl'::regclass, oid, defaclrole FROM pg_default_acl
) AS o(class, object, role) JOIN pg_roles r ON r.oid = o.role
WHERE (o.object >= 16384 OR r.oid >= 16384 OR o.class = 'pg_largeobject'::regclass)
AND (o.class, o.object) NOT IN ({_TOOLS_OWN}) AND NOT {_EXTENSIONS_OWN.format("o.class", "o.object")}
AND NOT (o.class = 'pg_class'::regclass AND EXISTS (
  SELECT FROM pg_class c WHERE c.oid = o.object AND c.relpersistence = 't'))
ORDER BY 1
"""
"""Whose objects and default privileges a restore makes anew."""

MATTERING = _mattering()
"""Each with whether its members act by it on something here. Predefined roles are on every server."""

MATTERING_NOW = _mattering(_CONNECTED)
"""Also who is connected."""

_WORDS = """
ARRAY(SELECT w.word FROM (VALUES ('SUPERUSER', r.rolsuper), ('INHERIT', r.rolinherit), ('CREATEROLE', r.rolcreaterole),
  ('CREATEDB', r.rolcreatedb), ('LOGIN', r.rolcanlogin), ('REPLICATION', r.rolreplication),
  ('BYPASSRLS', r.rolbypassrls)) AS w(word, has) WHERE w.has ORDER BY 1)
"""

ROLES = f"""
SELECT r.rolname, {_WORDS}, r.rolconnlimit, r.rolvaliduntil::text, shobj_description(r.oid, 'pg_authid'), r.oid = 10
FROM pg_roles r WHERE r.rolname = ANY(%s) ORDER BY 1
"""

HASHES = """
SELECT rolname, rolpassword FROM pg_authid
WHERE rolname = ANY(%s) AND rolpassword ~ '^(SCRAM-SHA-256[$]|md5[0-9a-f]{32}$)'
"""
"""What CREATE ROLE takes as a hash; anything else it would take as the password itself."""

MAY_READ_HASHES = "SELECT has_column_privilege('pg_authid', 'rolpassword', 'SELECT')"

MEMBERSHIPS = f"""
SELECT g.rolname, r.rolname, m.admin, m.inherits, m.sets FROM ({_MEMBERSHIP}) m
JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = ANY(%s) OR (g.rolname = ANY(%s) AND NOT m.self_made)
"""
"""Of members by name, and of groups by name; in a group what our role has given itself does not count."""

SETTINGS = f"""
SELECT split_part(e, '=', 1), substr(e, strpos(e, '=') + 1), r.rolname, s.setdatabase <> 0
FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) e
WHERE s.setdatabase IN (0, {_HERE}) AND (s.setrole = 0 OR s.setdatabase <> 0 OR r.rolname = ANY(%s))
AND NOT (s.setrole = 0 AND s.setdatabase <> 0 AND split_part(e, '=', 1) = 'default_transaction_read_only')
"""
"""The database's default_transaction_read_only is what fences it."""

_GRANTEE = "CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END"

DATABASE_PRIVILEGES = f"""
SELECT {_GRANTEE}, a.privilege_type, bool_or(a.is_grantable)
FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
WHERE d.oid = {_HERE} AND a.grantee <> d.datdba GROUP BY 1, 2
"""

PARAMETER_PRIVILEGES = f"""
SELECT {_GRANTEE}, a.privilege_type, bool_or(a.is_grantable), p.parname
FROM pg_parameter_acl p, aclexplode(p.paracl) a
WHERE a.grantee <> 10 AND {_GRANTEE} = ANY(%s || ARRAY['']) GROUP BY 1, 2, 4
"""

TABLESPACES_USED = """
SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace
WHERE t.spcname NOT IN ('pg_default', 'pg_global')
"""
TABLESPACES = "SELECT spcname FROM pg_tablespace"

_FENCED = """d.datconnlimit = 0 AND EXISTS (SELECT FROM pg_db_role_setting s, unnest(s.setconfig) e
  WHERE s.setdatabase = d.oid AND s.setrole = 0
  AND lower(e) ~ '^default_transaction_read_only=(on|true|yes|1)$')"""
"""How a fence leaves a database, and one that is closed: what its limit was, nobody can see."""

SIDE = f"""
SELECT d.datname, pg_get_userbyid(d.datdba), CASE WHEN NOT ({_FENCED}) THEN d.datconnlimit END,
  (SELECT c.description FROM pg_shdescription c WHERE c.objoid = d.oid AND c.classoid = 'pg_database'::regclass
    AND NOT starts_with(c.description, 'switchover ')),
  (SELECT t.spcname FROM pg_tablespace t WHERE t.oid = d.dattablespace), current_setting('password_encryption'),
  r.rolname, {_WORDS}, pg_has_role(d.datdba, 'USAGE')
FROM pg_database d, pg_roles r WHERE d.oid = {_HERE} AND r.rolname = current_user
"""
ADMIN_ON = "SELECT rolname FROM pg_roles WHERE pg_has_role(oid, 'MEMBER WITH ADMIN OPTION')"

SETTABLE = """
SELECT name FROM pg_settings WHERE context = 'user' OR (context = 'superuser' AND has_parameter_privilege(name, 'SET'))
UNION SELECT parname FROM pg_parameter_acl WHERE has_parameter_privilege(parname, 'SET')
UNION SELECT 'role'
"""
"""pg_settings does not show role, which anyone may set (GUC_NO_SHOW_ALL)."""

SETTABLE_14 = """
SELECT s.name FROM pg_settings s, pg_roles r
WHERE r.rolname = current_user AND (s.context = 'user' OR (s.context = 'superuser' AND r.rolsuper))
UNION SELECT 'role'
"""
