"""What a comparison may say: the same only when all was seen, and the exact rows that were written since."""

from __future__ import annotations

import hashlib
import re

import pytest

from switchover.postgres.changes import Changes, TableChange, changes
from switchover.postgres.compare import Verdict, compare
from switchover.postgres.connect import Database, connect
from switchover.postgres.errors import Refused, Unreachable
from switchover.postgres.fingerprint import read_schema
from switchover.postgres.rowdiff import EXAMPLES
from tests.postgres.conftest import APP, Pair, silent

FOREIGN = (
    "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing OPTIONS (token 's3cret'); "
    "CREATE FOREIGN TABLE away (x int) SERVER far"
)

ALIKE = {
    "granted and revoked to the default": "GRANT INSERT ON t TO pg_monitor; REVOKE INSERT ON t FROM pg_monitor",
    "the same grants in another order": "GRANT SELECT ON t TO pg_read_all_data; GRANT SELECT ON t TO pg_monitor",
    "the owner's default, written out": "GRANT ALL ON t TO CURRENT_USER",
    "a sparse object's holes, filled": "SELECT lo_put(7, 0, decode(repeat('00', 9000), 'hex'))",
    "a column dropped and gone": "ALTER TABLE t ADD gone int; ALTER TABLE t DROP gone",
}
BASE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 500) g; "
    "GRANT SELECT ON t TO pg_monitor; GRANT SELECT ON t TO pg_read_all_data; "
    "CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM t; SELECT lo_put(lo_create(7), 9000, '\\xff')"
)
DIFFERENT = {
    "a default privilege": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor",
    "a revoked default": "REVOKE TRUNCATE ON t FROM CURRENT_USER",
    "a grant option": "GRANT SELECT ON t TO pg_monitor WITH GRANT OPTION",
    "a large object's owner": "ALTER LARGE OBJECT 7 OWNER TO pg_monitor",
    "a function's comment": "COMMENT ON FUNCTION f() IS 'other'",
    "a domain's check beside another's": "ALTER DOMAIN d2 DROP CONSTRAINT c; "
    "ALTER DOMAIN d2 ADD CONSTRAINT c CHECK (VALUE > 2)",
    "a parent": "ALTER TABLE child NO INHERIT parent",
    "a publication's tables": "ALTER PUBLICATION p SET TABLE t, child",
    "an aggregate": "DROP AGGREGATE agg(int); CREATE AGGREGATE agg(int) (sfunc = int4mul, stype = int, initcond = '0')",
    "a rule": "ALTER TABLE child DISABLE RULE r",
    "a statistics target": "ALTER TABLE t ALTER v SET STATISTICS 7",
    "a column's storage": "ALTER TABLE t ALTER v SET STORAGE EXTERNAL",
    "a text search mapping": "ALTER TEXT SEARCH CONFIGURATION ts DROP MAPPING FOR url",
    "an operator": "DROP OPERATOR === (int, int)",
    "a cast": "DROP CAST (e AS int)",
    "a collation": "DROP COLLATION coll",
    "a multirange's name": "DROP TYPE span; CREATE TYPE span AS RANGE (subtype = float8, multirange_type_name = wide)",
    "a schema's owner": "ALTER SCHEMA s OWNER TO pg_monitor",
    "the privileges of public": "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "a server's options": "ALTER SERVER far OPTIONS (SET token 'other')",
}
OBJECTS = (
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION f() IS 'one'; "
    "CREATE DOMAIN d1 AS int CONSTRAINT c CHECK (VALUE > 0); CREATE DOMAIN d2 AS int CONSTRAINT c CHECK (VALUE > 1); "
    "CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent); CREATE PUBLICATION p FOR TABLE t; "
    "CREATE AGGREGATE agg(int) (sfunc = int4pl, stype = int, initcond = '0'); "
    "CREATE RULE r AS ON DELETE TO child DO INSTEAD NOTHING; CREATE TEXT SEARCH CONFIGURATION ts (COPY = simple); "
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq); CREATE TYPE e AS ENUM ('x'); "
    "CREATE FUNCTION e2i(e) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE CAST (e AS int) WITH FUNCTION e2i(e); "
    "CREATE COLLATION coll (provider = libc, locale = 'C'); CREATE SCHEMA s; "
    "CREATE TYPE span AS RANGE (subtype = float8); "
    "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing OPTIONS (token 's3cret')"
)


@pytest.fixture
def alike(pair: Pair) -> Pair:
    pair.both(BASE)
    return pair


async def said(pair: Pair, **how: object) -> tuple[Verdict, str]:
    found = await compare(pair.source.db, pair.target.db, APP, on_progress=silent, **how)  # type: ignore[arg-type]
    return found.verdict, "; ".join(found.differences)


@pytest.mark.parametrize("change", ALIKE)
async def test_what_two_versions_only_word_otherwise_is_the_same(alike: Pair, change: str) -> None:
    for statement in ALIKE[change].split("; "):
        alike.target.run(statement)
    if "order" in change:
        alike.target.run("REVOKE SELECT ON t FROM pg_monitor; GRANT SELECT ON t TO pg_monitor")
    assert await said(alike) == (Verdict.SAME, "")


@pytest.mark.parametrize("change", DIFFERENT)
async def test_no_kind_of_object_is_overlooked(alike: Pair, change: str) -> None:
    alike.both(OBJECTS)
    alike.target.run(DIFFERENT[change])
    verdict, differences = await said(alike)
    assert verdict is Verdict.DIFFERS
    assert "s3cret" not in differences


async def test_the_rows_of_a_foreign_table_were_not_seen(pair: Pair) -> None:
    pair.both(FOREIGN)
    assert await said(pair) == (Verdict.INCOMPLETE, "foreign table public.away: its rows were not looked at")
    assert await said(pair, not_data=("public.away",)) == (Verdict.SAME, "")


async def test_a_stale_materialized_view_is_no_difference_only_where_a_copy_has_made_it_anew(alike: Pair) -> None:
    """Both sides hold the same tables, so that nothing but the view's own rows can tell."""
    alike.target.run("INSERT INTO t VALUES (501); REFRESH MATERIALIZED VIEW kept; DELETE FROM t WHERE id = 501")
    assert await said(alike) == (
        Verdict.DIFFERS,
        "materialized view public.kept: 1 row on the source, 1 row on the target, contents differ: "
        "1 row missing, on the source at (0,1); 1 row extra, on the target at (0,1)",
    )
    assert await said(alike, views=False) == (Verdict.SAME, "")


async def test_rows_of_an_extensions_own_tables_were_not_seen(pair: Pair) -> None:
    pair.both("CREATE EXTENSION vector; CREATE TABLE seed (id int); ALTER EXTENSION vector ADD TABLE seed")
    assert await said(pair) == (Verdict.SAME, "")
    pair.source.run("INSERT INTO seed VALUES (1)")
    assert await said(pair) == (
        Verdict.INCOMPLETE,
        "table public.seed of an extension: its rows were not looked at",
    )


async def test_of_an_extensions_settings_only_the_rows_that_are_the_users_are_compared(pair: Pair) -> None:
    """pg_dump copies no other: those that came with the extension are another version's on the target."""
    pair.both(
        "CREATE EXTENSION vector; CREATE TABLE seed (id int PRIMARY KEY, v text); "
        "ALTER EXTENSION vector ADD TABLE seed; UPDATE pg_extension SET extconfig = ARRAY['seed'::regclass::oid], "
        "extcondition = ARRAY['WHERE id >= 100'] WHERE extname = 'vector'; INSERT INTO seed VALUES (100, 'mine')"
    )
    pair.source.run("INSERT INTO seed VALUES (1, 'old')")
    pair.target.run("INSERT INTO seed VALUES (1, 'new'), (2, 'new')")
    assert await said(pair) == (Verdict.SAME, "")
    assert await changes(pair.source.db, pair.target.db, APP) == Changes()
    pair.target.run("UPDATE seed SET v = 'other'")
    assert await said(pair) == (
        Verdict.DIFFERS,
        "table public.seed: 1 row on the source, 1 row on the target, contents differ: different (100) in v",
    )


async def test_what_lies_in_the_systems_schemas_was_not_seen(pair: Pair) -> None:
    pair.target.run("CREATE FUNCTION pg_catalog.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    pair.target.run("CREATE TABLE information_schema.theirs (id serial)")
    verdict, notes = await said(pair)
    assert verdict is Verdict.INCOMPLETE
    assert notes.startswith("function pg_catalog.mine(): in a schema of the system, so not looked at; ")
    assert "table information_schema.theirs: in a schema" in notes


async def test_a_foreign_servers_password_is_not_shown_even_as_a_hash_that_lasts(pair: Pair) -> None:
    """One that is the same in every run could be tried against a list of passwords."""
    pair.both(f"{FOREIGN}; CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 's3cret')")
    before = await read_schema(pair.target.db, APP)
    assert ["user mapping", "public on far", "({password})"] in before
    pair.target.run("ALTER USER MAPPING FOR PUBLIC SERVER far OPTIONS (SET password 'other')")
    assert await read_schema(pair.target.db, APP) == before
    verdict, differences = await said(pair)
    assert verdict is Verdict.DIFFERS
    (mine,) = re.findall(r'"?password=#([0-9a-f]{16})"?\}\) on the source', differences)
    assert mine != hashlib.sha256(b"password=s3cret").hexdigest()[:16]


async def test_members_of_an_extension_are_its_own_business(pair: Pair) -> None:
    pair.both("CREATE EXTENSION vector; CREATE TABLE v (e vector(2)); INSERT INTO v VALUES ('[1,2]')")
    pair.target.run("CREATE OR REPLACE FUNCTION vector_dims(vector) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert await said(pair) == (Verdict.SAME, "")


async def test_keys_of_rows_that_differ_are_shown_but_not_all_of_many(alike: Pair) -> None:
    alike.target.run("UPDATE t SET v = 'x'; DELETE FROM t WHERE id = 1")
    _, differences = await said(alike)
    assert "table public.t: 500 rows on the source, 499 rows on the target" in differences
    assert f"contents differ, in at least {EXAMPLES} rows: missing (1)" in differences
    assert differences.count("(") == EXAMPLES


async def test_rows_without_a_key_are_shown_by_where_they_lie(pair: Pair) -> None:
    """By what they hold nobody could find them, and it is nothing to be shown."""
    pair.both("CREATE TABLE loose (x int, y text); INSERT INTO loose VALUES (1, 'a'), (1, 'a'), (2, 's3cret')")
    pair.target.run("DELETE FROM loose WHERE x = 2; INSERT INTO loose VALUES (1, 'a'), (1, 'a')")
    assert await said(pair) == (
        Verdict.DIFFERS,
        "table public.loose: 3 rows on the source, 4 rows on the target, contents differ: "
        "1 row missing, on the source at (0,3); 2 rows extra, on the target at (0,1)",
    )
    pair.target.run("INSERT INTO loose SELECT g FROM generate_series(100, 200) g")
    _, differences = await said(pair)
    assert f"contents differ, in at least {EXAMPLES} rows: " in differences
    assert differences.count("(0,") == EXAMPLES


async def test_where_there_is_no_time_for_all_the_newest_rows_are_looked_at(pair: Pair) -> None:
    pair.both(
        "CREATE TABLE long (id int8 PRIMARY KEY, v text); INSERT INTO long SELECT g, g FROM generate_series(1, 90) g; "
        "CREATE TABLE short (id uuid PRIMARY KEY); CREATE TABLE loose (x int); CREATE TABLE other (a text PRIMARY KEY)"
    )
    some = {"only": ("public.short",), "last": 10}
    left = "of 1 table the newest 10 rows alone were looked at; the rows of 2 tables were not looked at"
    assert await said(pair, **some) == (Verdict.INCOMPLETE, left)
    pair.target.run("UPDATE long SET v = 'x' WHERE id = 80")
    assert await said(pair, **some) == (Verdict.INCOMPLETE, left)
    pair.target.run("UPDATE long SET v = 'x' WHERE id = 81; DELETE FROM long WHERE id = 90")
    verdict, differences = await said(pair, **some)
    assert verdict is Verdict.DIFFERS
    assert "missing (90)" in differences
    assert "(81) in v" in differences


async def test_a_table_of_other_columns_is_told_by_its_columns(alike: Pair) -> None:
    alike.target.run("ALTER TABLE t ADD more int")
    verdict, differences = await said(alike)
    assert verdict is Verdict.DIFFERS
    assert "column public.t.more is only on the target" in differences
    assert "table public.t: other columns or types, so its rows were not compared" in differences


async def test_sequences_can_be_left_out_while_the_source_is_in_use(alike: Pair) -> None:
    alike.both("CREATE SEQUENCE s")
    alike.source.run("SELECT nextval('s')")
    assert await said(alike) == (
        Verdict.DIFFERS,
        "sequence public.s stands at 1, not used on the target, 1, used on the source",
    )
    assert await said(alike, sequences=False) == (Verdict.SAME, "")


async def test_another_encoding_is_never_the_same(pair: Pair) -> None:
    name = f"latin_{pair.tag}"
    pair.source.cluster.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    found = await compare(pair.source.db.named(name), pair.target.db, APP, on_progress=silent)
    assert found.verdict is Verdict.DIFFERS


async def test_every_write_since_is_counted_also_new_tables_and_large_objects(alike: Pair) -> None:
    alike.both(
        "CREATE TABLE loose (x int); INSERT INTO loose SELECT 1 FROM generate_series(1, 3); CREATE TABLE old (x int)"
    )
    alike.source.run("INSERT INTO old VALUES (1), (2)")
    alike.target.run(
        "INSERT INTO t SELECT g, 'new' FROM generate_series(501, 520) g; UPDATE t SET v = 'u' WHERE id <= 7; "
        "DELETE FROM t WHERE id BETWEEN 100 AND 104; INSERT INTO loose VALUES (1), (2); DROP TABLE old; "
        "CREATE TABLE fresh AS SELECT 1; ALTER TABLE t ADD more int; SELECT lo_from_bytea(8, 'x'); "
        "SELECT lo_put(7, 0, 'y'); REFRESH MATERIALIZED VIEW kept"
    )
    written = await changes(alike.source.db, alike.target.db, APP)
    assert written.tables == (
        TableChange("large objects", 1, 1, 0, exact=True),
        TableChange("public.fresh", 1, 0, 0, exact=True),
        TableChange("public.loose", 2, 0, 0, exact=False),
        TableChange("public.old", 0, 0, 2, exact=True),
        TableChange("public.t", 20, 7, 5, exact=True),
    )


async def test_nothing_written_is_no_change(alike: Pair) -> None:
    alike.target.run("UPDATE t SET v = v; CLUSTER t USING t_pkey; ALTER TABLE t SET WITHOUT CLUSTER")
    alike.target.run("REFRESH MATERIALIZED VIEW kept; ANALYZE")
    assert await changes(alike.source.db, alike.target.db, APP) == Changes()


async def test_changes_are_seen_through_the_fences_own_settings(alike: Pair) -> None:
    for side in (alike.source, alike.target):
        side.cluster.run(f'ALTER DATABASE "{side.name}" SET default_transaction_read_only = on')
        side.cluster.run(f'ALTER DATABASE "{side.name}" CONNECTION LIMIT 0')
    assert await changes(alike.source.db, alike.target.db, APP) == Changes()


async def test_an_error_names_the_side_it_came_from(alike: Pair) -> None:
    away = Database.parse("host=127.0.0.1 port=1 dbname=x user=x")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1/x"):
        await compare(alike.source.db, away, APP, on_progress=silent)
    role = alike.source.role(f"blind_{alike.tag}")
    blind = Database.parse(alike.source.cluster.conninfo(alike.source.name, role))
    with pytest.raises(Refused, match=f"{alike.source.name}: permission denied"):
        await compare(blind, alike.target.db, APP, on_progress=silent)


async def test_a_comparison_leaves_no_session_behind(alike: Pair) -> None:
    await compare(alike.source.db, alike.target.db, APP, on_progress=silent)
    async with await connect(alike.source.db.named("postgres"), "watcher") as session:
        while True:
            row = await (
                await session.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (APP,))
            ).fetchone()
            if row == (0,):
                break


SINCE = {
    "values in a new column": (
        "ALTER TABLE t ADD x int; UPDATE t SET x = id",
        "column public.t.x is only on the target",
    ),
    "a new table without rows": ("CREATE TABLE fresh (x int)", "relation public.fresh is only on the target"),
    "a dropped column": ("ALTER TABLE t DROP v", "column public.t.v is missing on the target"),
    "another type": ("ALTER TABLE t ALTER v TYPE varchar", "column public.t.v is ("),
    "a new function": ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function public.f() is only"),
    "a grant": ("GRANT DELETE ON t TO pg_monitor", "relation public.t is ("),
    "a drawn sequence": (
        "SELECT nextval('drawn')",
        "sequence public.drawn stands at 1, used on the target, 1, not used on the source",
    ),
}


@pytest.mark.parametrize("change", SINCE)
async def test_what_is_written_beside_rows_is_a_change_too(alike: Pair, change: str) -> None:
    """An undo would throw it away as surely as a row."""
    alike.both("CREATE SEQUENCE drawn; CREATE SEQUENCE still")
    statements, says = SINCE[change]
    alike.target.run(statements)
    written = await changes(alike.source.db, alike.target.db, APP)
    assert written
    assert any(line.startswith(says) for line in written.beside), written.beside
