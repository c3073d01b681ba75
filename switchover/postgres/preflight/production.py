"""Whether the target is kept as production is: its log archived, TLS required, and somebody who watches it."""

from __future__ import annotations

from switchover.postgres.preflight.check import Check

_RULES_SHOWN = (
    "(has_table_privilege('pg_hba_file_rules', 'SELECT') AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE'))"
)
_LISTENS = r"""(SELECT bool_or(a !~ '^(localhost|127\..*|::1|)$')
  FROM regexp_split_to_table(current_setting('listen_addresses'), '\s*,\s*') AS a)"""
"""Whether another host may reach the server at all."""

PRODUCTION: tuple[Check, ...] = (
    Check(
        "target-archive-off",
        "info",
        "SELECT 'archive_mode is off' WHERE current_setting('archive_mode') = 'off'",
        "the target archives nothing of its log",
        "a backup leads back to its own moment only, and not to the one before a mistake",
        "ALTER SYSTEM SET archive_mode = on with an archive_command, and restart the target; or take backups otherwise",
    ),
    Check(
        "target-archive-old",
        "warn",
        """SELECT CASE WHEN last_archived_time IS NULL THEN 'nothing as yet'
          ELSE format('%s at %s', last_archived_wal, last_archived_time::timestamp(0)) END
        FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'
        AND coalesce(last_archived_time, '-infinity') < clock_timestamp() - interval '1 day'
        AND coalesce(last_failed_time, '-infinity') <= coalesce(last_archived_time, '-infinity')""",
        "the target has archived nothing for a day; the last was",
        "it is not shown that its archive works, and what is not in it is lost with the server",
        "SELECT pg_switch_wal(), then see in pg_stat_archiver that it has arrived; restore a backup once with it",
    ),
    Check(
        "target-admits-plaintext",
        "warn",
        """WITH rule AS (SELECT row_number() OVER () AS place, * FROM pg_hba_file_rules WHERE error IS NULL)
        SELECT format('line %s, %s %s %s %s', line_number, type, array_to_string(database, ','),
          array_to_string(user_name, ','), concat_ws('/', address, netmask))
        FROM rule WHERE type IN ('host', 'hostnossl') AND auth_method <> 'reject'
        AND address !~ '^(127\\..*|::1|localhost|samehost)$'
        AND NOT EXISTS (SELECT FROM rule AS before WHERE before.place < rule.place AND before.auth_method = 'reject'
          AND before.type IN ('host', 'hostnossl') AND 'all' = ANY (before.user_name)
          AND 'all' = ANY (before.database) AND NOT 'replication' = ANY (rule.database)
          AND (before.address = 'all' OR before.netmask = '0.0.0.0' AND rule.address ~ '^[0-9.]+$'
            OR before.netmask = '::' AND rule.address ~ ':'))
        ORDER BY place""",
        "pg_hba.conf of the target lets other hosts in without TLS",
        "an application that does not ask for TLS sends its password and every row in the clear",
        "ALTER SYSTEM SET ssl = on; write hostssl for host in those lines, then SELECT pg_reload_conf()",
        given=f"{_LISTENS} AND {_RULES_SHOWN}",
    ),
    Check(
        "target-rules-unseen",
        "info",
        "SELECT current_user || ' may not read pg_hba_file_rules'",
        "whether the target requires TLS of the application is not known",
        "an application that does not ask for TLS may send its password and every row in the clear",
        "GRANT SELECT ON pg_hba_file_rules and EXECUTE ON FUNCTION pg_hba_file_rules() as a superuser; or look in the "
        "provider's console",
        given=f"{_LISTENS} AND NOT {_RULES_SHOWN}",
    ),
    Check(
        "target-tls-optional",
        "warn",
        """SELECT format('%s is %s', name, current_setting(name, true))
        FROM unnest(ARRAY['rds.force_ssl', 'require_secure_transport']) AS name
        WHERE lower(current_setting(name, true)) IN ('0', 'off', 'false')""",
        "the provider of the target lets clients in without TLS",
        "an application that does not ask for TLS sends its password and every row in the clear",
        "set it to on among the parameters of the server, in the provider's console",
    ),
    Check(
        "target-unwatched",
        "info",
        """SELECT 'no login role but superusers and ' || current_user || ' is a member of pg_monitor'
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND rolname <> current_user
          AND pg_has_role(oid, 'pg_read_all_stats', 'MEMBER'))""",
        "nobody seems to watch the target",
        "a full disk, a replica that is behind or a lock is noticed by users first",
        "CREATE ROLE monitoring LOGIN; GRANT pg_monitor TO monitoring",
    ),
)
"""Asked of the target alone. Who is a member of pg_monitor may read all statistics (predefined roles)."""
