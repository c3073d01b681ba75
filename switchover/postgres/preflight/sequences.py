"""Sequences of the source: which are about to end, and which are not one counter of one column."""

from __future__ import annotations

from switchover.postgres.preflight.catalog import NAME, RELATION, USERS
from switchover.postgres.preflight.check import Check

_FED = """
  SELECT d.objid AS seq, d.deptype <> 'n' AS owns, a.attrelid, a.attname, a.atttypid, a.attinhcount
  FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  UNION SELECT d.refobjid, false, a.attrelid, a.attname, a.atttypid, a.attinhcount
  FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
  JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass"""
"""Columns that a sequence belongs to, or gives its numbers to by their default."""

_SEQUENCE = (
    f"pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace AND {USERS}"
)

SEQUENCES: tuple[Check, ...] = (
    Check(
        "sequences-near-end",
        "warn",
        f"""WITH fed AS MATERIALIZED ({_FED}), ends AS (
          SELECT c.oid, {NAME} AS name, s.seqincrement > 0 AS upwards,
            CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_sequence_last_value(c.oid) END AS at,
            greatest(s.seqmin, (SELECT max(CASE atttypid WHEN 'int2'::regtype THEN -32768
              WHEN 'int4'::regtype THEN -2147483648 END) FROM fed WHERE seq = c.oid))::numeric AS low,
            least(s.seqmax, (SELECT min(CASE atttypid WHEN 'int2'::regtype THEN 32767
              WHEN 'int4'::regtype THEN 2147483647 END) FROM fed WHERE seq = c.oid))::numeric AS high
          FROM {_SEQUENCE} WHERE NOT s.seqcycle), shares AS (
          SELECT *, least(CASE WHEN upwards THEN at - low ELSE high - at END * 100 / nullif(high - low, 0), 100)::int
            AS share FROM ends)
        SELECT format('%s at %s %%', name, share), concat_ws('; ',
          (SELECT string_agg(format('ALTER TABLE %s ALTER COLUMN %I TYPE bigint', attrelid::regclass, attname), '; ')
            FROM fed WHERE seq = shares.oid AND attinhcount = 0
            AND atttypid IN ('int2'::regtype, 'int4'::regtype)),
          format('ALTER SEQUENCE %s AS bigint NO %s', name, CASE WHEN upwards THEN 'MAXVALUE' ELSE 'MINVALUE' END))
        FROM shares WHERE share >= 80 ORDER BY share DESC""",
        "sequences have used up most of their numbers, or of those that their column can hold",
        "an insert fails once they are used up; here or there",
    ),
    Check(
        "sequences-special",
        "info",
        f"""WITH fed AS MATERIALIZED ({_FED}), traits AS (
          SELECT {NAME} AS name, concat_ws(', ', CASE WHEN s.seqcycle THEN 'starts again at its end' END,
            CASE WHEN s.seqincrement < 0 THEN 'counts down' END,
            CASE WHEN s.seqcache > 1 THEN format('cache %s', s.seqcache) END,
            CASE WHEN NOT EXISTS (SELECT FROM fed WHERE seq = c.oid AND owns) THEN 'owned by no column' END,
            (SELECT format('for %s tables', count(DISTINCT attrelid)) FROM fed WHERE seq = c.oid AND attinhcount = 0
              HAVING count(DISTINCT attrelid) > 1)) AS says
          FROM {_SEQUENCE})
        SELECT format('%s (%s)', name, says) FROM traits WHERE says <> '' ORDER BY 1""",
        "sequences that are not one counter of one column",
        "their values are carried as they stand; numbers that sessions hold in a cache are left out",
    ),
    Check(
        "identity-always",
        "info",
        f"""SELECT format('%s.%I', {NAME}, a.attname) FROM pg_attribute a JOIN {RELATION} ON c.oid = a.attrelid
        WHERE a.attidentity = 'a' AND a.attinhcount = 0 AND NOT a.attisdropped ORDER BY 1""",
        "columns whose numbers only the database gives",
        "both ways of copying carry them; a statement of your own needs OVERRIDING SYSTEM VALUE",
    ),
)
