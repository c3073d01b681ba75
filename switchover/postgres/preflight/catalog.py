"""What the queries of the checks have in common: whose objects they look at, and by what names they call them."""

from __future__ import annotations

USERS = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'"
RELATION = f"pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {USERS}"
NAME = "format('%I.%I', n.nspname, c.relname)"
NOT_EXTENSIONS = """NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{0}'::regclass AND e.objid = {1}
  AND e.deptype = 'e')"""
OTHERS = "datname = current_database() AND pid <> pg_backend_pid() AND NOT starts_with(application_name, 'switchover')"
"""Of pg_stat_activity: sessions of this database that are not this program's."""
