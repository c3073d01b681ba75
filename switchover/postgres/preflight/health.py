"""Whether a server is well: asked of both sides alike, but for what only one of them does."""

from __future__ import annotations

from switchover.postgres.preflight.check import Check


def _wraparound(share: str) -> str:
    """Of 2^31 transaction and multixact numbers, in percent."""
    return f"""SELECT format('%s: %s %%', datname, used) FROM (SELECT datname,
      floor(greatest(age(datfrozenxid)::float8, mxid_age(datminmxid)::float8) * 100 / 2147483648)::int AS used
      FROM pg_database) AS d WHERE used {share} ORDER BY used DESC"""


SOON_USED_UP, USED_UP = _wraparound("BETWEEN 75 AND 94"), _wraparound("> 94")


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
            SOON_USED_UP,
            f"transaction numbers of the {side} have been used up without a freeze",
            "a copy holds one snapshot for its whole length, and no row is frozen meanwhile",
            "VACUUM (FREEZE, VERBOSE) in that database",
        ),
        Check(
            f"{side}-wraparound-near",
            "block",
            USED_UP,
            f"the {side} is about to refuse writes: its transaction numbers are used up",
            "PostgreSQL stops giving out numbers 3 million before the end (Preventing Transaction ID Wraparound)",
            "VACUUM (FREEZE, VERBOSE) in that database first",
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
            f"{side}-slots-held",
            "warn",
            """SELECT format('slot %s%s, %s', slot_name,
                CASE WHEN database <> current_database() THEN ' of database ' || database END,
                concat_ws(', ', CASE WHEN NOT active THEN 'inactive' END,
                  CASE WHEN wal_status <> 'reserved' THEN wal_status END,
                  CASE WHEN safe_wal_size < 1073741824 THEN 'about to be lost' END)),
              CASE WHEN wal_status = 'lost' THEN format('SELECT pg_drop_replication_slot(%L)', slot_name) END
            FROM pg_replication_slots WHERE NOT starts_with(slot_name::text, 'switchover_')
            AND (restart_lsn IS NOT NULL OR wal_status = 'lost')
            AND (NOT active OR wal_status <> 'reserved' OR safe_wal_size < 1073741824) ORDER BY 1""",
            f"slots hold back the log of the {side}, or have lost it",
            "what is held fills the disk, the more so during a copy; who has lost it must begin anew",
            "let what follows each slot go on, or SELECT pg_drop_replication_slot(name)",
            since=130000,
        ),
    )


SOURCE_ONLY: tuple[Check, ...] = (
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
        "target-hba",
        "warn",
        """SELECT format('line %s: %s', line_number, error) FROM pg_hba_file_rules WHERE error IS NOT NULL
        ORDER BY line_number""",
        "pg_hba.conf of the target has lines that the server cannot read",
        "it keeps the rules that it has, and does not start again with these",
        "mend the lines, then SELECT pg_reload_conf()",
        given="has_table_privilege('pg_hba_file_rules', 'SELECT')"
        " AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE')",
    ),
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
