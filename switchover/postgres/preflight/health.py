"""Whether a server is well, and what is going on on it just now: asked of both sides alike."""

from __future__ import annotations

from switchover.postgres.preflight.check import Check

OLD_S = 300
"""A transaction that is open for longer is named."""

_AGO = "format('%s min', (extract(epoch FROM clock_timestamp() - {}) / 60)::int)"


def health(side: str) -> tuple[Check, ...]:
    """The checks for one side, each with the side in its id."""
    return (
        Check(
            f"{side}-standby",
            "block",
            "SELECT 'it is recovering' WHERE pg_is_in_recovery()",
            f"the {side} is a standby",
            "nothing can be written there: neither a fence nor a copy",
            "name the primary",
        ),
        Check(
            f"{side}-prepared",
            "block",
            """SELECT gid, format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts
            WHERE database = current_database() ORDER BY 1""",
            f"prepared transactions wait on the {side}",
            "they hold locks for ever, and one that is committed after the fence would be lost",
            "COMMIT PREPARED or ROLLBACK PREPARED each",
        ),
        Check(
            f"{side}-checksum-failures",
            "block",
            """SELECT format('%s in %s', checksum_failures, coalesce(datname, 'shared catalogs'))
            FROM pg_stat_database WHERE checksum_failures > 0 ORDER BY 1""",
            f"broken pages were found on the {side}",
            "what is read may be wrong, or may not be read at all",
            "restore from a backup that is whole, then select pg_stat_reset()",
        ),
        Check(
            f"{side}-wraparound",
            "warn",
            _wraparound("BETWEEN 75 AND 94"),
            f"transaction numbers of the {side} have been used up without a freeze",
            "a copy holds one snapshot for its whole length, and no row is frozen meanwhile",
            "VACUUM (FREEZE, VERBOSE) in that database",
        ),
        Check(
            f"{side}-wraparound-near",
            "block",
            _wraparound("> 94"),
            f"the {side} is about to refuse writes: its transaction numbers are used up",
            "PostgreSQL stops giving out numbers 3 million before the end (Preventing Transaction ID Wraparound)",
            "VACUUM (FREEZE, VERBOSE) in that database first",
        ),
        Check(
            f"{side}-long-transactions",
            "warn",
            f"""SELECT format('pid %s of %s, %s, %s', pid, usename, state, {_AGO.format("xact_start")}),
              format('SELECT pg_terminate_backend(%s)', pid)
            FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND backend_type = 'client backend' AND NOT starts_with(application_name, 'switchover')
            AND clock_timestamp() - xact_start > interval '{OLD_S} s' ORDER BY xact_start""",  # noqa: S608
            f"transactions on the {side} are open for long",
            "the fence waits for their locks, and ends them",
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
            f"{side}-archiving",
            "warn",
            """SELECT format('%s has failed since %s', last_failed_wal, last_failed_time::timestamp(0))
            FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')""",
            f"the {side} cannot archive its WAL",
            "there is no recovery to a point in time, and the disk fills up",
            "read the server's log for what archive_command said",
        ),
        Check(
            f"{side}-collation-version",
            "warn",
            """SELECT format('%s, made with %s, has %s', name, made, has), fix FROM (
              SELECT format('database %I', datname) AS name, to_jsonb(d) ->> 'datcollversion' AS made,
                pg_database_collation_actual_version(d.oid) AS has,
                format('REINDEX DATABASE %I; ALTER DATABASE %1$I REFRESH COLLATION VERSION', datname) AS fix
              FROM pg_database d WHERE datname = current_database()
              UNION ALL SELECT format('collation %s', c.oid::regcollation), c.collversion,
                pg_collation_actual_version(c.oid),
                format('ALTER COLLATION %s REFRESH VERSION', c.oid::regcollation)
              FROM pg_collation c WHERE c.collversion IS NOT NULL
              AND EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = c.oid AND a.attrelid >= 16384)
            ) AS v WHERE made <> has ORDER BY 1""",
            f"the operating system of the {side} sorts otherwise than when its indexes were made",
            "rows may not be found by such an index, and duplicates may be hidden in a unique one",
            since=150000,
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


def _wraparound(share: str) -> str:
    """Of 2^31 transaction and multixact numbers, in percent."""
    return f"""SELECT format('%s: %s %%', datname, used) FROM (SELECT datname,
      floor(greatest(age(datfrozenxid)::float8, mxid_age(datminmxid)::float8) * 100 / 2147483648)::int AS used
      FROM pg_database) AS d WHERE used {share} ORDER BY used DESC"""  # noqa: S608


SOURCE_ONLY: tuple[Check, ...] = (
    Check(
        "lock-room",
        "warn",
        """SELECT format('%s tables and %s indexes, room for %s locks', tables, indexes, room) FROM (
          SELECT count(*) FILTER (WHERE c.relkind IN ('r', 'p')) AS tables,
            count(*) FILTER (WHERE c.relkind IN ('i', 'I')) AS indexes,
            current_setting('max_locks_per_transaction')::int8 * (current_setting('max_connections')::int8
              + current_setting('max_prepared_transactions')::int8) AS room
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_') AS t
        WHERE tables + indexes > room * 0.8""",
        "a dump, a comparison and the fence each lock every table at once, what reads a table locks its indexes too, "
        "and the lock table is small",
        "they would end with: out of shared memory (max_locks_per_transaction)",
        "ALTER SYSTEM SET max_locks_per_transaction to twice what it is, and restart the source",
    ),
    Check(
        "snapshot-threshold",
        "block",
        "SELECT setting || ' min' FROM pg_settings WHERE name = 'old_snapshot_threshold' AND setting::int >= 0",
        "old_snapshot_threshold is set on the source",
        "the copy's snapshot would be taken from it: snapshot too old",
        "ALTER SYSTEM SET old_snapshot_threshold = -1, and restart the source",
        before=170000,
    ),
)

TARGET_ONLY: tuple[Check, ...] = (
    Check(
        "target-unsafe",
        "warn",
        """SELECT format('%s = %s', name, setting), format('ALTER SYSTEM SET %I = %s', name,
          CASE WHEN name IN ('fsync', 'full_page_writes', 'autovacuum') THEN 'on' ELSE 'off' END) FROM pg_settings
        WHERE (name, setting) IN (('fsync', 'off'), ('full_page_writes', 'off'), ('autovacuum', 'off'),
          ('zero_damaged_pages', 'on'), ('ignore_system_indexes', 'on')) ORDER BY 1""",
        "the target is not set as a production server",
        "after a crash its files may be broken, or tables grow without end",
    ),
    Check(
        "target-rows",
        "warn",
        """SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover')
        AND n.nspname !~ '^pg_(toast|temp)' AND pg_relation_size(c.oid) > 0
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid
          AND e.deptype = 'e') ORDER BY 1""",
        "tables of the target's database hold rows already",
        "the copy takes the place of this database, which is set aside whole under another name",
        "see that it is the right one; nothing of it is dropped",
    ),
    Check(
        "temp-file-limit",
        "warn",
        """SELECT setting || 'kB' FROM pg_settings WHERE name = 'temp_file_limit' AND setting::int8 >= 0
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)""",
        "the target limits temporary files",
        "an index that sorts more than that cannot be made",
        "ALTER SYSTEM SET temp_file_limit = -1 until the copy is done",
    ),
)
