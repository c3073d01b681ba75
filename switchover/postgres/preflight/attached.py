"""Who else works on the source's database, or follows it: standbys, other replication, jobs, event triggers."""

from __future__ import annotations

from psycopg import sql

from switchover.postgres.preflight.catalog import NOT_EXTENSIONS
from switchover.postgres.preflight.check import Check

_JOBS = """
SELECT format('job %s, %s', jobid, schedule), format('SELECT cron.alter_job(%s, active := false)', jobid)
FROM cron.job WHERE active AND database = {} ORDER BY jobid
"""


def jobs_in(database: str) -> Check:
    """Of pg_cron, which keeps the jobs of all databases in one; asked of that one."""
    return Check(
        "cron-jobs",
        "warn",
        sql.SQL(_JOBS).format(sql.Literal(database)).as_string(None),
        "jobs of pg_cron run in the source's database",
        "one that makes a partition or deletes rows in the middle changes what was copied; a job kept in another "
        "database is not copied",
        given="to_regclass('cron.job') IS NOT NULL",
    )


ATTACHED: tuple[Check, ...] = (
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
        FROM pg_replication_slots WHERE (database IS NULL OR database = current_database())
        AND NOT starts_with(slot_name::text, 'switchover_')
        UNION ALL SELECT trim(format('standby %s %s', application_name, host(client_addr))) FROM pg_stat_replication r
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid) ORDER BY 1""",
        "others follow the source",
        "a standby or subscriber of the old server knows nothing of the new one",
        "plan for each whether it is attached to the target or retired",
    ),
    Check(
        "replication-leftovers",
        "warn",
        """SELECT format('schema %I', nspname) FROM pg_namespace n
        WHERE nspname IN ('pglogical', 'pglogical_origin', 'bdr', 'spock', 'bucardo', 'londiste', 'pgq')
        OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'sl_set') ORDER BY 1""",
        "other replication has been set up in the database",
        "its schema and triggers are copied, and go on recording every change on the target for nobody",
        "end it before the copy: DROP EXTENSION or DROP SCHEMA … CASCADE; or set it up anew on the target",
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
        "event-triggers",
        "warn",
        f"""SELECT format('%I on %s%s', evtname, evtevent, CASE evtenabled WHEN 'A' THEN ', always'
          WHEN 'R' THEN ', on replicas' END), format('ALTER EVENT TRIGGER %I DISABLE', evtname)
        FROM pg_event_trigger t WHERE evtenabled <> 'D' AND {NOT_EXTENSIONS.format("pg_event_trigger", "t.oid")}
        ORDER BY 1""",
        "event triggers of the source",
        "they fire on this program's own statements too (its schema, a publication), and one that refuses ends the run",
    ),
)
