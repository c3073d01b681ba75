"""What is going on on a server just now, and who is there: asked of both sides alike, but for the source's clients."""

from __future__ import annotations

from switchover.postgres.preflight.catalog import OTHERS
from switchover.postgres.preflight.check import Check

OLD_S = 300
"""A transaction that is open for longer is named."""
OLD_XIDS = 10_000_000
"""A snapshot before so many transactions is named."""

AGO = "format('%s min', (extract(epoch FROM clock_timestamp() - xact_start) / 60)::int)"


def activity(side: str) -> tuple[Check, ...]:
    """The checks for one side, each with the side in its id."""
    return (
        Check(
            f"{side}-long-transactions",
            "warn",
            f"""SELECT format('pid %s of %s, %s, %s', pid, usename, state, {AGO}),
              format('SELECT pg_terminate_backend(%s)', pid)
            FROM pg_stat_activity WHERE {OTHERS}
            AND backend_type = 'client backend' AND clock_timestamp() - xact_start > interval '{OLD_S} s'
            ORDER BY xact_start""",
            f"transactions on the {side} are open for long",
            "the fence waits for their locks, and ends them",
            needs="pg_read_all_stats",
        ),
        Check(
            f"{side}-old-snapshots",
            "warn",
            f"""SELECT format('%s, %s million', who, age / 1000000), fix FROM (
              SELECT format('pid %s of %s, %s', pid, usename, coalesce(state, backend_type)) AS who,
                age(backend_xmin) AS age, format('SELECT pg_terminate_backend(%s)', pid) AS fix FROM pg_stat_activity
              WHERE (datname = current_database() OR datname IS NULL) AND backend_type <> 'autovacuum worker'
              UNION ALL SELECT format('slot %s', slot_name), greatest(age(xmin), age(catalog_xmin)), NULL
              FROM pg_replication_slots) AS h WHERE age > {OLD_XIDS} ORDER BY age DESC""",
            f"the {side} keeps dead rows for whoever still looks at it as it was so many transactions ago",
            "no VACUUM takes them away, so tables grow, and are read and copied slower",
            needs="pg_read_all_stats",
        ),
        Check(
            f"{side}-maintenance",
            "warn",
            """SELECT what FROM (
              SELECT format('%s of %s', command, relid::regclass) AS what, datname FROM pg_stat_progress_cluster
              UNION ALL SELECT format('%s on %s', command, relid::regclass), datname FROM pg_stat_progress_create_index
              UNION ALL SELECT format('base backup, %s', phase), current_database() FROM pg_stat_progress_basebackup
              UNION ALL SELECT format('autovacuum against wraparound: %s', left(query, 100)), datname
                FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query ~ 'to prevent wraparound'
            ) AS p WHERE datname = current_database() ORDER BY 1""",
            f"maintenance is running on the {side}",
            "it takes the disk's time, and its locks exclude a copy or a fence, or are excluded by them",
            "let it end before the window",
            needs="pg_read_all_stats",
        ),
        Check(
            f"{side}-copying",
            "warn",
            f"""SELECT format('pid %s: %s%s', p.pid, p.command, CASE WHEN p.relid <> 0
              THEN format(' of %s', p.relid::regclass) END)
            FROM pg_stat_progress_copy p JOIN (SELECT pid FROM pg_stat_activity WHERE {OTHERS}) AS a ON a.pid = p.pid
            ORDER BY 1""",
            f"rows are being loaded into, or unloaded from, the {side}",
            "it takes the disk's time; a fence ends a load in the middle, and a dump then begins in the middle of one",
            "let it end before the window",
            since=140000,
            needs="pg_read_all_stats",
        ),
        Check(
            f"{side}-advisory-locks",
            "info",
            """SELECT format('pid %s', pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pid NOT IN (SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, 'switchover'))
            GROUP BY pid ORDER BY pid""",
            f"sessions on the {side} hold advisory locks",
            "an application that relies on them must start anew on the target: locks are not copied",
        ),
    )


SOURCE_CLIENTS: tuple[Check, ...] = (
    Check(
        "source-listeners",
        "info",
        f"""SELECT format('pid %s of %s on %s', pid, usename, substring(query FROM '(?i)^\\s*listen\\s+(\\S+?);?\\s*$'))
        FROM pg_stat_activity WHERE {OTHERS} AND query ~* '^\\s*listen\\s+\\S+\\s*$' ORDER BY pid""",
        "sessions on the source wait for notifications",
        "none reaches them from the target: they must connect there and LISTEN anew; one that has asked something "
        "since is not seen here",
        needs="pg_read_all_stats",
    ),
    Check(
        "source-clients",
        "info",
        f"""SELECT format('%s from %s%s (%s)', usename, coalesce(host(client_addr), 'the same host'),
          ' as ' || nullif(application_name, ''), count(*)) FROM pg_stat_activity
        WHERE {OTHERS} AND backend_type = 'client backend' GROUP BY usename, client_addr, application_name
        ORDER BY count(*) DESC, 1""",
        "who is connected to the source",
        "each must be led to the target; one that was given an address instead of a name does not follow the DNS",
        "look for the source's address in the settings of each",
        needs="pg_read_all_stats",
    ),
)
