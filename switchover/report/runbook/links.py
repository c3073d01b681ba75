"""The statements about a live copy's links: what there is of them, that all has arrived, and how each part ends.

Each block names its link once, as a variable of psql, and finds nothing to do where there is nothing left, so that it
may be run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.report.runbook.commands import READ_ONLY, psql, quoted

if TYPE_CHECKING:
    from switchover.plan.spec import Spec

SEE = """\
SELECT 'publication, in this database' AS what, pubname::text AS name, '' AS state
FROM pg_publication WHERE starts_with(pubname::text, :'link')
UNION ALL SELECT 'subscription, in ' || datname, subname, CASE WHEN subenabled THEN 'enabled' ELSE 'DISABLED' END
FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE starts_with(subname::text, :'link')
UNION ALL SELECT 'slot, in ' || database, slot_name, CASE WHEN active THEN 'in use' ELSE 'NOT IN USE' END
  || ', not yet followed: ' || coalesce(pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), '?')
  || ', kept on disk: ' || coalesce(pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), '?')
FROM pg_replication_slots WHERE starts_with(slot_name::text, :'link');"""
"""What there is of the plan's links, and how far the other side is behind."""

UNSUBSCRIBE = """\
SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname),
  format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname),
  format('DROP SUBSCRIPTION %I', subname)
FROM pg_subscription JOIN pg_database d ON d.oid = subdbid
WHERE subname = :'link' AND datname = current_database() \\gexec"""
"""Run in the database that follows; the other server need not be there."""

UNPUBLISH = """\
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = :'link' AND active;
SELECT pg_sleep(2) FROM pg_replication_slots WHERE slot_name = :'link' AND active;
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :'link';
DROP PUBLICATION IF EXISTS :"link";"""
"""Run in the database that is followed; from then on it keeps no log for the other side."""

TIDY = """\
SET lock_timeout = '2s';
SELECT to_regclass('switchover.fact') IS NOT NULL AS noted \\gset
\\if :noted
SELECT format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', was.key, CASE was.value ->> 0
  WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL'
  WHEN 'i' THEN coalesce('USING INDEX ' || quote_ident(was.value ->> 1), 'NOTHING') ELSE 'NOTHING' END)
FROM switchover.fact, jsonb_each(fact.value) AS was
WHERE fact.key = 'identities' AND to_regclass(was.key) IS NOT NULL \\gexec
DELETE FROM switchover.fact WHERE key = 'identities' OR starts_with(key, 'published ');
\\endif
DROP TABLE IF EXISTS switchover.marker;"""
"""Replica identities as they were before, and no table of markers; on each side that no link uses any more."""

ALONE = """\
DO $$ BEGIN
  FOR look IN 1..50 LOOP
    PERFORM pg_stat_clear_snapshot();
    IF NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
      AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND coalesce(backend_type, 'client backend') = 'client backend'
        AND pid NOT IN (SELECT pid FROM pg_stat_replication)) THEN RETURN;
    END IF;
    PERFORM pg_sleep(0.2);
  END LOOP;
  RAISE EXCEPTION 'somebody is still connected, or a prepared transaction waits: go no further, close it once more';
END $$;"""
"""Fails while anybody could still write."""

ARRIVED = """\
SET synchronous_commit = local;
INSERT INTO switchover.marker (id, link)
VALUES (md5(random()::text || clock_timestamp())::uuid, 'by hand') RETURNING id AS "this row must arrive";
SELECT set_config('by_hand.link', :'link', false) AS link,
  set_config('by_hand.end', pg_current_wal_lsn()::text, false) AS "must arrive up to";
DO $$ BEGIN
  FOR look IN 1..300 LOOP
    IF (SELECT confirmed_flush_lsn >= current_setting('by_hand.end')::pg_lsn FROM pg_replication_slots
        WHERE slot_name = current_setting('by_hand.link')) THEN
      RAISE NOTICE 'EVERYTHING HAS ARRIVED';
      RETURN;
    END IF;
    PERFORM pg_sleep(0.2);
  END LOOP;
  RAISE EXCEPTION 'it has not all arrived within a minute: go no further';
END $$;"""
"""Fails unless the other side has on its disk all that was ever written here."""

MARKER = """\
SELECT id AS "the row that has arrived", at FROM switchover.marker WHERE link = 'by hand' ORDER BY at DESC LIMIT 1;"""

VIEWS = """\
SELECT format('REFRESH MATERIALIZED VIEW %I.%I', nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'm' AND relispopulated
ORDER BY c.oid \\gexec"""
"""Materialized views anew: replication does not carry what they hold."""

_SEQUENCES = """\
SELECT format('SELECT format(''SELECT pg_catalog.setval(%%L, %%s, %%L);'', %L, last_value, is_called) FROM %I.%I',
  format('%I.%I', nspname, relname), nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'S' AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_' \\gexec"""


def of(link: str, *statements: str) -> str:
    """The statements, about this link, in a session that may write whatever the database's setting."""
    return "\n".join((f"\\set link {link}", f"SET {READ_ONLY} = off;", *statements))


def unsubscribe(conninfo: str, link: str, *, tidy: bool) -> str:
    """The database follows no more; with ``tidy`` no other link uses it."""
    return psql(conninfo, of(link, UNSUBSCRIBE, *([TIDY] if tidy else [])))


def unpublish(conninfo: str, link: str, *, tidy: bool) -> str:
    """The database is followed no more, and keeps nothing for it; with ``tidy`` no other link uses it."""
    return psql(conninfo, of(link, UNPUBLISH, *([TIDY] if tidy else [])))


def sequences(publisher: str, subscriber: str) -> str:
    """Every sequence of the one database gets the value that it has in the other: written to a file, then read."""
    written = psql(publisher, _SEQUENCES, "-Atq > sequences.sql")
    read = f"psql {quoted(subscriber)} -X -v ON_ERROR_STOP=1 -q -o /dev/null"
    return f"{written}\n{read} -c 'SET {READ_ONLY} = off' -f sequences.sql"


def follow(spec: Spec, link: str) -> str:
    """The old database follows the new one, by the name that this has now."""
    there = spec.replicate.target or spec.database.target
    is_uri = there.startswith(("postgres://", "postgresql://"))
    name = f"\" dbname=$(psql {quoted(spec.database.target)} -XAtc 'SELECT current_database()')\""
    through = quoted(there) if is_uri else f"{quoted(there)}{name}"
    statements = 'ALTER SUBSCRIPTION :"link" CONNECTION :\'through\';\nALTER SUBSCRIPTION :"link" ENABLE;'
    return psql(spec.database.source, of(link, statements), f"-v through={through}")


def again(conninfo: str, link: str) -> str:
    """What was told to stop follows again."""
    return psql(conninfo, of(link, 'ALTER SUBSCRIPTION :"link" ENABLE;'))
