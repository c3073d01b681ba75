"""A comparison that cannot lie: every planted difference is found, and what is no difference is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchover.postgres.changes import changes
from switchover.postgres.compare import Verdict, compare
from tests.postgres.conftest import APP, Pair, silent

SHOP = """
CREATE SCHEMA odd;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE free START 7;
SELECT nextval('free'), nextval('free');
CREATE TYPE pair AS (x int, y int);
CREATE TABLE things (
  id int PRIMARY KEY, a text, b text, f float8, r real, n numeric, m mood, p positive, j jsonb, bytes bytea,
  list int[], span int4range, at timestamptz DEFAULT now(), day date, made int GENERATED ALWAYS AS (id * 2) STORED
);
INSERT INTO things (id, a, b, f, r, n, m, p, j, bytes, list, span, at, day) VALUES
  (1, 'one', NULL, 0.1, 0.1, 1.0, 'ok', 1, '{"k": 1}', '\\x00ff', '{1,2}', '[1,5)',
   '2026-01-01 00:00Z', '0044-03-15 BC'),
  (2, NULL, 'two', 'NaN', 'Infinity', 2.00, 'sad', 2, '[]', '', '{}', 'empty', 'infinity', '-infinity'),
  (3, '', '', '-0', '-Infinity', 'NaN', 'happy', 3, 'null', NULL, NULL, NULL, '1900-01-01 00:00Z', '2026-02-28');
CREATE TABLE spans (s interval, c bpchar); INSERT INTO spans VALUES ('1 month', 'x');
CREATE TABLE keyless (x int, y text);
INSERT INTO keyless VALUES (1, 'a'), (1, 'a'), (2, 'b'), (3, NULL);
CREATE TABLE "Odd"".name" ("a ""b"" c" text, "line
break" int);
INSERT INTO "Odd"".name" VALUES ('v', 1);
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE parts (id int, kind text) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b PARTITION OF parts DEFAULT PARTITION BY RANGE (id);
CREATE TABLE parts_b1 PARTITION OF parts_b FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_b2 PARTITION OF parts_b DEFAULT;
INSERT INTO parts VALUES (1, 'a'), (2, 'b'), (200, 'c');
CREATE TABLE parent (id int); CREATE TABLE child (extra text) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'x');
CREATE INDEX things_a ON things (a);
CREATE VIEW seen AS SELECT id, a FROM things; CREATE MATERIALIZED VIEW kept AS SELECT id FROM things;
CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'SELECT i + 1';
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER watch BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION t();
CREATE TABLE refers (id int PRIMARY KEY, thing int REFERENCES things);
INSERT INTO refers VALUES (1, 1);
ALTER TABLE refers ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON refers USING (id > 0);
COMMENT ON TABLE things IS 'a thing';
CREATE TABLE pairs (v pair, w text DEFAULT 'a  b'); INSERT INTO pairs VALUES (ROW(1, 2));
COMMENT ON TABLE pairs IS 'two  blanks';
CREATE FUNCTION shown(pair) RETURNS text LANGUAGE sql AS 'SELECT $1.x::text';
CREATE CAST (pair AS text) WITH FUNCTION shown;
CREATE TYPE blank AS ENUM ('x  y'); CREATE VIEW blanks AS SELECT 'a  b'::text AS v;
CREATE FUNCTION lines() RETURNS int LANGUAGE sql AS 'SELECT 1 --x
 + 1';
CREATE INDEX by_sum ON keyless ((x + 1)); CREATE STATISTICS stats ON a, b FROM things;
CREATE DOMAIN named AS text; CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR CLASS upside FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=,
  OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
SELECT lo_from_bytea(4242, '\\x010203');
"""

PLANTED = {
    "one byte": "UPDATE things SET bytes = '\\x00fe' WHERE id = 1",
    "one bit of a float": "UPDATE things SET f = 0.10000000000000002 WHERE id = 1",
    "a real's last digit": "UPDATE things SET r = 0.10000001 WHERE id = 1",
    "the sign of zero": "UPDATE things SET f = 0.0 WHERE id = 3",
    "a numeric's scale": "UPDATE things SET n = 1.00 WHERE id = 1",
    "NULL moved between columns": "UPDATE things SET a = b, b = a WHERE id = 1",
    "NULL for empty": "UPDATE things SET a = NULL WHERE id = 3",
    "a missing row": "DELETE FROM keyless WHERE x = 2",
    "an extra row": "INSERT INTO keyless VALUES (9, 'z')",
    "a duplicate without a key": "INSERT INTO keyless VALUES (1, 'a')",
    "a duplicate fewer": "DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless WHERE x = 1)",
    "swapped values, same totals": "UPDATE things SET a = CASE id WHEN 1 THEN '' ELSE 'one' END WHERE id IN (1, 3)",
    "a moved row between partitions": "UPDATE parts SET kind = 'a' WHERE kind = 'b'",
    "a row moved to the parent": "WITH gone AS (DELETE FROM child RETURNING id) INSERT INTO parent SELECT id FROM gone",
    "a jsonb value": "UPDATE things SET j = '{\"k\": 2}' WHERE id = 1",
    "an array": "UPDATE things SET list = '{2,1}' WHERE id = 1",
    "a range bound": "UPDATE things SET span = '[1,6)' WHERE id = 1",
    "an enum value": "UPDATE things SET m = 'sad' WHERE id = 1",
    "a day before Christ": "UPDATE things SET day = '0045-03-15 BC' WHERE id = 1",
    "a row of a table without columns": "INSERT INTO nothing DEFAULT VALUES",
    "a sequence behind by one": "SELECT setval('free', 7)",
    "a sequence not called": "SELECT setval('free', 8, false)",
    "a sequence's increment": "ALTER SEQUENCE free INCREMENT 2",
    "a missing index": "DROP INDEX things_a",
    "an invalid index": "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'things_a'::regclass",
    "a constraint not validated": "ALTER TABLE refers DROP CONSTRAINT refers_thing_fkey; ALTER TABLE refers ADD "
    "CONSTRAINT refers_thing_fkey FOREIGN KEY (thing) REFERENCES things NOT VALID",
    "a disabled trigger": "ALTER TABLE things DISABLE TRIGGER watch",
    "a changed function": "CREATE OR REPLACE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'SELECT i + 2'",
    "a changed view": "CREATE OR REPLACE VIEW seen AS SELECT id, b AS a FROM things",
    "a stale materialized view": "INSERT INTO things (id) VALUES (9); REFRESH MATERIALIZED VIEW kept; "
    "DELETE FROM things WHERE id = 9",
    "a materialized view not populated": "REFRESH MATERIALIZED VIEW kept WITH NO DATA",
    "a default": "ALTER TABLE things ALTER at SET DEFAULT '2020-01-01'",
    "a not null": "ALTER TABLE things ALTER m SET NOT NULL",
    "a collation": 'ALTER TABLE keyless ALTER y TYPE text COLLATE "C"',
    "an enum's order": "ALTER TYPE mood ADD VALUE 'glad' BEFORE 'happy'",
    "a domain's check": "ALTER DOMAIN positive ADD CHECK (VALUE < 99)",
    "a privilege": "GRANT SELECT ON things TO pg_monitor",
    "row security": "ALTER TABLE refers DISABLE ROW LEVEL SECURITY",
    "a policy": "ALTER POLICY mine ON refers USING (id > 1)",
    "a comment": "COMMENT ON TABLE things IS 'another thing'",
    "a byte of a large object": "SELECT lo_put(4242, 1, '\\x09')",
    "a missing large object": "SELECT lo_unlink(4242)",
    "an extra table": "CREATE TABLE more (id int)",
    "an extra column": "ALTER TABLE keyless ADD z int",
    "an unlogged table": "ALTER TABLE keyless SET UNLOGGED",
    "a replica identity": "ALTER TABLE keyless REPLICA IDENTITY FULL",
    "two rows exchange a value": "UPDATE things SET b = CASE id WHEN 2 THEN '' ELSE 'two' END WHERE id IN (2, 3)",
    "columns exchange their values": "UPDATE parent SET id = 2; UPDATE child SET id = 1",
    "an owner": "ALTER TABLE things OWNER TO pg_monitor",
    "a schema's owner": "ALTER SCHEMA odd OWNER TO pg_monitor",
    "a granted option": "GRANT USAGE ON SCHEMA odd TO pg_monitor WITH GRANT OPTION",
    "a default privilege": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor",
    "a deferrable constraint": "ALTER TABLE refers ALTER CONSTRAINT refers_thing_fkey DEFERRABLE",
    "a trigger that always fires": "ALTER TABLE things ENABLE ALWAYS TRIGGER watch",
    "a column's statistics target": "ALTER TABLE things ALTER a SET STATISTICS 7",
    "a table's fill factor": "ALTER TABLE things SET (fillfactor = 50)",
    "a key in another order": "UPDATE things SET list = '{2,1,2}' WHERE id = 1",
    "white space in a text": "UPDATE things SET a = 'one ' WHERE id = 1",
    "another normal form of a text": "UPDATE things SET a = U&'o\\0301ne' WHERE id = 1",
    "an owner of a large object": "ALTER LARGE OBJECT 4242 OWNER TO pg_monitor",
    "a month for thirty days": "UPDATE spans SET s = '30 days'",
    "blanks at the end of a bpchar": "UPDATE spans SET c = 'x   '",
    "a blank in a default": "ALTER TABLE pairs ALTER w SET DEFAULT 'a b'",
    "a blank in a comment": "COMMENT ON TABLE pairs IS 'two blanks'",
    "a blank in a label": "ALTER TYPE blank RENAME VALUE 'x  y' TO 'x y'",
    "a blank in a view's text": "CREATE OR REPLACE VIEW blanks AS SELECT 'a b'::text AS v",
    "the end of a line of code": "CREATE OR REPLACE FUNCTION lines() RETURNS int LANGUAGE sql AS 'SELECT 1 --x + 1'",
    "a composite that its cast hides": "UPDATE pairs SET v = ROW(1, 3)",
    "an option of a toast table": "ALTER TABLE things SET (toast.autovacuum_enabled = off)",
    "the statistics of an index": "ALTER INDEX by_sum ALTER COLUMN 1 SET STATISTICS 9",
    "the statistics of statistics": "ALTER STATISTICS stats SET STATISTICS 9",
    "the triggers of a foreign key": "ALTER TABLE refers DISABLE TRIGGER ALL",
    "a domain's collation": 'DROP DOMAIN named; CREATE DOMAIN named AS text COLLATE "C"',
    "a shell type": "CREATE TYPE hollow",
    "a parallel aggregate": "DROP AGGREGATE total(int); CREATE AGGREGATE total(int) "
    "(SFUNC = int4pl, STYPE = int, PARALLEL = safe)",
    "a hashing operator": "DROP OPERATOR === (int, int); CREATE OPERATOR === "
    "(FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int, HASHES)",
    "members of an operator class": "DROP OPERATOR FAMILY upside USING btree CASCADE; "
    "CREATE OPERATOR CLASS upside FOR TYPE int USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, "
    "OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(int, int)",
    "a grant on a system function": "GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO pg_read_all_data",
    "a grant on a language": "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
    "a dictionary's template": "DROP TEXT SEARCH DICTIONARY words; "
    "CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = snowball, LANGUAGE = english)",
    "a comment on a large object of a low number": "COMMENT ON LARGE OBJECT 4242 IS 'low'",
    "a compression": "ALTER TABLE things ALTER a SET COMPRESSION pglz",
    "a dependency on an extension": "ALTER FUNCTION lines() DEPENDS ON EXTENSION plpgsql",
}

AROUND = {
    "a role's attribute": ("role", "ALTER ROLE {app} CREATEDB"),
    "a role's time": ("role", "ALTER ROLE {app} VALID UNTIL '2031-01-01'"),
    "a membership": ("membership", "REVOKE {group} FROM {app}"),
    "a membership's option": ("membership", "GRANT {group} TO {app} WITH INHERIT FALSE"),
    "a role's setting": ("role setting", "ALTER ROLE {app} SET work_mem = '1MB'"),
    "a role's setting in the database": ("role setting", "ALTER ROLE {app} IN DATABASE {db} SET work_mem = '1MB'"),
    "a database's setting": ("database setting", "ALTER DATABASE {db} SET work_mem = '1MB'"),
    "a database's limit": ("database connection limit", "ALTER DATABASE {db} CONNECTION LIMIT 7"),
    "a database's comment": ("database comment", "COMMENT ON DATABASE {db} IS 'the shop'"),
    "a database's privilege": ("database privileges", "GRANT CREATE ON DATABASE {db} TO {app}"),
    "a database's privilege less": ("database privileges", "REVOKE TEMPORARY ON DATABASE {db} FROM PUBLIC"),
}

HARMLESS = {
    "row order": "CLUSTER things USING things_a; ALTER TABLE things SET WITHOUT CLUSTER",
    "page layout": "DELETE FROM keyless WHERE x = 3; INSERT INTO keyless VALUES (3, NULL); VACUUM FULL keyless",
    "our own notes": "CREATE SCHEMA switchover; CREATE TABLE switchover.fact (k int)",
    "fresh statistics": "ANALYZE",
    "a first vacuum": "DELETE FROM refers; INSERT INTO refers VALUES (1, 1); VACUUM FREEZE refers",
    "a dropped column": "ALTER TABLE keyless ADD z int; ALTER TABLE keyless DROP z",
    "columns in another order": "ALTER TABLE child ADD one int; ALTER TABLE child DROP one",
    "rows toasted elsewhere": "UPDATE things SET a = repeat('x', 9000) WHERE id = 2; UPDATE things SET a = NULL "
    "WHERE id = 2",
    "an index built again": "REINDEX TABLE things",
    "a rewritten table": "ALTER TABLE things SET LOGGED; VACUUM FULL things",
    "a materialized view refreshed": "REFRESH MATERIALIZED VIEW kept",
    "the fence's setting": "ALTER DATABASE {db} SET default_transaction_read_only = off",
    "the fence": "ALTER DATABASE {db} CONNECTION LIMIT 0; ALTER DATABASE {db} SET default_transaction_read_only = on",
    "a password": "ALTER ROLE {app} PASSWORD 'another'",
    "a role that has nothing here": "CREATE ROLE {other} SUPERUSER; GRANT {group} TO {other}; "
    "ALTER ROLE {other} SET work_mem = '1MB'",
}

SETTINGS = {
    "the time zone": "timezone = 'Asia/Tokyo'",
    "the date style": "datestyle = 'SQL, DMY'",
    "float digits": "extra_float_digits = -3",
    "bytea output": "bytea_output = 'escape'",
    "interval style": "intervalstyle = 'sql_standard'",
    "the search path": "search_path = odd",
    "no scans in step": "synchronize_seqscans = on",
}


async def verdict(pair: Pair, *, globals: bool = True) -> tuple[Verdict, tuple[str, ...]]:
    found = await compare(pair.source.db, pair.target.db, APP, on_progress=silent, globals=globals)
    return found.verdict, found.differences


def run(pair: Pair, statements: str) -> None:
    names = {"db": pair.target.name, **{role: f"{role}_{pair.tag}" for role in ("app", "group", "other")}}
    for word, name in names.items():
        statements = statements.replace(f"{{{word}}}", f'"{name}"')
    for statement in statements.split("; "):
        pair.target.run(statement)


@pytest.fixture
def shops(pair: Pair) -> Iterator[Pair]:
    """On both sides the shop, and an application that belongs to a group."""
    app, group = f"app_{pair.tag}", f"group_{pair.tag}"
    for side in (pair.source, pair.target):
        side.run(SHOP)
        side.role(app)
        side.role(group)
        side.run(f"GRANT {group} TO {app}; GRANT SELECT ON things TO {app}")
    yield pair
    for side in (pair.source, pair.target):
        side.cluster.run(f'DROP DATABASE "{side.name}" WITH (FORCE)')


async def test_two_majors_of_one_shop_are_the_same(shops: Pair) -> None:
    assert await verdict(shops) == (Verdict.SAME, ())


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_planted_difference_is_found(shops: Pair, planted: str) -> None:
    run(shops, PLANTED[planted])
    found, differences = await verdict(shops)
    assert found is Verdict.DIFFERS
    assert differences


@pytest.mark.parametrize("planted", AROUND)
async def test_a_planted_difference_around_the_database_is_found(shops: Pair, planted: str) -> None:
    kind, statement = AROUND[planted]
    run(shops, statement)
    found, (said,) = await verdict(shops)
    assert found is Verdict.DIFFERS
    assert said.startswith(f"{kind} ")
    assert await verdict(shops, globals=False) == (Verdict.SAME, ())


@pytest.mark.parametrize("setting", SETTINGS)
async def test_a_setting_that_shows_rows_otherwise_is_all_that_differs(shops: Pair, setting: str) -> None:
    run(shops, f"ALTER DATABASE {{db}} SET {SETTINGS[setting]}")
    assert await verdict(shops, globals=False) == (Verdict.SAME, ())
    _, (said,) = await verdict(shops)
    assert said.startswith("database setting ")


@pytest.mark.parametrize("harmless", HARMLESS)
async def test_what_is_no_difference_is_not_found(shops: Pair, harmless: str) -> None:
    run(shops, HARMLESS[harmless])
    assert await verdict(shops) == (Verdict.SAME, ())


async def test_rows_of_a_table_parted_otherwise_are_the_same_when_told(pair: Pair) -> None:
    pair.both("CREATE TABLE m (id int, at date NOT NULL, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)")
    pair.source.run("CREATE TABLE m_a PARTITION OF m FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')")
    pair.source.run("CREATE TABLE m_b PARTITION OF m FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
    pair.target.run("CREATE TABLE m_all PARTITION OF m DEFAULT")
    pair.both("INSERT INTO m SELECT n, date '2025-06-01' + n, 'x' FROM generate_series(1, 300) n")
    assert (await verdict(pair))[0] is Verdict.DIFFERS
    found = await compare(pair.source.db, pair.target.db, APP, on_progress=silent, partitions=False)
    assert (found.verdict, found.differences) == (Verdict.SAME, ())
    pair.target.run("UPDATE m SET v = 'y' WHERE id = 7")
    found = await compare(pair.source.db, pair.target.db, APP, on_progress=silent, partitions=False)
    assert found.differences == (
        "table public.m: 300 rows on the source, 300 rows on the target, contents differ: "
        "different (2025-06-08,7) in v",
    )
    pair.both("CREATE TABLE k (id int, v text) PARTITION BY LIST (id)")
    pair.source.run("CREATE TABLE k_1 PARTITION OF k FOR VALUES IN (1); CREATE TABLE k_rest PARTITION OF k DEFAULT")
    pair.target.run("UPDATE m SET v = 'x' WHERE id = 7; CREATE TABLE k_all PARTITION OF k DEFAULT")
    pair.source.run("INSERT INTO k VALUES (1, 'a'), (2, 'b')")
    pair.target.run("INSERT INTO k VALUES (1, 'a'), (3, 'c')")
    found = await compare(pair.source.db, pair.target.db, APP, on_progress=silent, partitions=False)
    assert found.differences == (
        "table public.k: 2 rows on the source, 2 rows on the target, contents differ: "
        "1 row missing, on the source at public.k_rest (0,1); 1 row extra, on the target at public.k_all (0,2)",
    )


async def test_the_columns_of_a_different_row_are_named(shops: Pair) -> None:
    run(shops, 'UPDATE things SET f = 7, "bytes" = NULL WHERE id = 2')
    _, (said,) = await verdict(shops)
    assert said.endswith("contents differ: different (2) in bytes, f")


async def test_changes_are_counted_exactly_by_key_and_as_a_multiset_without_one(shops: Pair) -> None:
    run(
        shops,
        "INSERT INTO things (id) VALUES (10), (11); UPDATE things SET a = 'z' WHERE id = 2; "
        "DELETE FROM refers WHERE id = 1; INSERT INTO keyless VALUES (1, 'a'); DELETE FROM keyless WHERE x = 2",
    )
    found = {
        each.table: (each.inserted, each.updated, each.deleted)
        for each in (await changes(shops.source.db, shops.target.db, APP)).tables
    }
    assert found == {"public.things": (2, 1, 0), "public.refers": (0, 0, 1), "public.keyless": (1, 0, 1)}


async def test_the_rows_that_differ_are_named_by_their_keys(shops: Pair) -> None:
    run(
        shops,
        "DELETE FROM refers WHERE id = 1; UPDATE things SET a = 'z' WHERE id = 2; INSERT INTO things (id) VALUES (9)",
    )
    _, differences = await verdict(shops)
    said = " ".join(differences)
    assert "missing (1)" in said
    assert "different (2)" in said
    assert "extra (9)" in said
