"""What stops a copy, or surprises its operator, asked of real servers before anything is copied."""

from __future__ import annotations

import importlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import trustme
from psycopg import sql

from switchover.demo.lab import free_port
from switchover.postgres import preflight as package
from switchover.postgres.connect import Database, connect
from switchover.postgres.finding import Finding, Severity
from switchover.postgres.globals import copy_globals
from switchover.postgres.preflight import CONDITIONAL, SOURCE, TARGET, preflight
from switchover.postgres.preflight.check import Check, run_checks
from switchover.postgres.preflight.supported import is_ended, is_unsafe, skips_marks
from switchover.postgres.programs import client_release
from switchover.steps.fitness import drift, journaled
from tests.postgres.conftest import APP, Pair, Side, clean
from tests.servers.postgres import Cluster, server_account
from tests.servers.wait import until

ALWAYS = {"versions", "room", "target-unsafe", "target-archive-off", "target-unwatched"}
"""The test clusters run without fsync, archive nothing, and nobody watches them."""

Found = dict[str, Finding]


async def found(pair: Pair, user: str = "postgres", bin: Path | None = None) -> Found:
    source = Database.parse(pair.source.cluster.conninfo(pair.source.name, user))
    return await between(source, pair.target.db, bin or pair.target.cluster.bin)


async def between(source: Database, target: Database, bin: Path | None = None) -> Found:
    findings = await preflight(source, target, APP, bin=str(bin) if bin else None)
    assert len({each.id for each in findings}) == len(findings)
    return {each.id: each for each in findings}


def blocks(findings: Found) -> set[str]:
    return {each.id for each in findings.values() if each.severity == "block"}


async def test_two_fit_servers_are_let_through(pair: Pair) -> None:
    pair.source.run(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x text); INSERT INTO t (x) VALUES ('a');"
        "CREATE EXTENSION vector; CREATE MATERIALIZED VIEW m AS TABLE t; CREATE VIEW v AS TABLE t"
    )
    pair.source.cluster.run(f"ALTER DATABASE {pair.source.name} SET timezone = 'Asia/Tokyo'")
    assert (await found(pair)).keys() - {"unsafe-client"} == ALWAYS


async def test_every_finding_says_why(pair: Pair) -> None:
    for check in (*SOURCE, *TARGET, *CONDITIONAL):
        assert check.why, check.id
    assert len({check.id for check in (*SOURCE, *TARGET)}) == len((*SOURCE, *TARGET))
    assert all(each.why for each in (await found(pair)).values() if each.severity != "info")


PLANTED: tuple[tuple[str, str, str, bool], ...] = (
    (
        "invalid-indexes",
        "CREATE TABLE t (x int); CREATE INDEX i ON t (x);"
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass",
        "public.i",
        True,
    ),
    (
        "child-columns",
        "CREATE TABLE p (a int, b int); CREATE TABLE c (own int) INHERITS (p);"
        "ALTER TABLE p DROP b, ADD late text; CREATE TABLE also (own int) INHERITS (p)",
        "public.c",
        False,
    ),
    (
        "unvalidated",
        "CREATE TABLE t (x int); ALTER TABLE t ADD CONSTRAINT c CHECK (x > 0) NOT VALID",
        "c on public.t",
        True,
    ),
    ("unlogged", 'CREATE UNLOGGED TABLE "T u" ()', 'public."T u"', True),
    (
        "foreign-tables",
        "CREATE FOREIGN DATA WRAPPER f; CREATE SERVER s FOREIGN DATA WRAPPER f; CREATE FOREIGN TABLE a () SERVER s",
        "public.a",
        False,
    ),
    ("followers", "SELECT pg_create_physical_replication_slot('standby_{tag}')", "slot standby_{tag}, inactive", False),
    (
        "child-nulls",
        "CREATE TABLE p (a int); CREATE TABLE c () INHERITS (p); ALTER TABLE ONLY p ADD PRIMARY KEY (a);"
        "CREATE TABLE also () INHERITS (p)",
        "public.c.a",
        True,
    ),
    (
        "own-schema",
        "CREATE SCHEMA switchover; CREATE TABLE switchover.run (x int PRIMARY KEY); CREATE TABLE switchover.fact ();"
        "CREATE TABLE switchover.t (); CREATE FUNCTION switchover.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function switchover.f(), table switchover.t",
        False,
    ),
    ("dropped-defaults", "DROP SCHEMA public; DROP EXTENSION plpgsql", "extension plpgsql, schema public", True),
    ("sequences-near-end", "CREATE SEQUENCE s AS smallint; SELECT setval('s', 30000)", "public.s at 92 %", True),
    (
        "sequences-near-end",
        "CREATE TABLE t (a smallserial, b int GENERATED ALWAYS AS IDENTITY (INCREMENT -1), c bigint);"
        "CREATE SEQUENCE c AS int MAXVALUE 100 OWNED BY t.c; SELECT setval('c', 90);"
        "SELECT setval('t_a_seq', 30000), setval('t_b_seq', -2000000000)",
        "public.t_b_seq at 93 %, public.t_a_seq at 92 %, public.c at 90 %",
        True,
    ),
    (
        "sequences-near-end",
        "CREATE SEQUENCE s INCREMENT -1 MINVALUE -100 MAXVALUE -1; SELECT setval('s', -90)",
        "public.s at 90 %",
        True,
    ),
    (
        "extension-tables",
        "CREATE EXTENSION vector; CREATE TABLE t (x int); INSERT INTO t VALUES (1); ALTER EXTENSION vector ADD TABLE t",
        "public.t",
        False,
    ),
    (
        "scheduled-jobs",
        "CREATE EXTENSION vector; UPDATE pg_extension SET extname = 'pg_cron' WHERE extname = 'vector'",
        "pg_cron",
        False,
    ),
    (
        "c-functions",
        "CREATE FUNCTION f() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'",
        "public.f() of $libdir/plpgsql",
        False,
    ),
    (
        "dictionary-files",
        "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple, STOPWORDS = english)",
        "public.d",
        False,
    ),
    (
        "security-labels",
        "CREATE TABLE t (); INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'selinux', 'x')",
        "selinux",
        False,
    ),
    (
        "own-collations",
        "CREATE COLLATION c FROM \"C\"; UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'c'",
        "public.c",
        False,
    ),
    ("large-objects", "SELECT lo_create(0), lo_create(0)", "2 of them", False),
)


@pytest.mark.parametrize(("id", "plant", "names", "mends"), PLANTED, ids=[each[0] for each in PLANTED])
async def test_it_is_found_and_its_fix_mends_it(pair: Pair, id: str, plant: str, names: str, mends: bool) -> None:
    pair.source.run(plant.format(tag=pair.tag))
    try:
        findings = await found(pair)
        assert findings[id].evidence.endswith(f": {names.format(tag=pair.tag)}")
        if mends:
            for statement in findings[id].fix.split("; "):
                pair.source.run(statement)
            assert id not in await found(pair)
    finally:
        if id == "followers":
            pair.source.run(f"SELECT pg_drop_replication_slot('standby_{pair.tag}')")


async def test_what_our_role_may_not_read_blocks_and_its_fix_opens_it(pair: Pair) -> None:
    role = pair.source.role(f"reader_{pair.tag}")
    pair.source.run(
        "CREATE TABLE t (x int); CREATE SEQUENCE q; CREATE SCHEMA s; CREATE TABLE s.u ();"
        "REVOKE ALL ON SCHEMA s FROM PUBLIC; SELECT lo_create(4711)"
    )
    findings = await found(pair, role)
    assert findings["unreadable-tables"].evidence.endswith(": public.q, public.t, s.u")
    assert {"unreadable-tables", "closed-schemas", "unreadable-large-objects"} <= blocks(findings)
    fixes = [findings[id].fix for id in ("unreadable-tables", "closed-schemas", "unreadable-large-objects")]
    for statement in "; ".join(fixes).replace(" public.q ", " SEQUENCE public.q ").split("; "):
        pair.source.run(statement)
    assert not {each for each in await found(pair, role) if each.startswith(("unreadable", "closed"))}


async def test_rows_hidden_by_policies_block(pair: Pair) -> None:
    role = pair.source.role(f"reader_{pair.tag}")
    pair.source.run(f"CREATE TABLE t (x int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT SELECT ON t TO {role}")
    assert (await found(pair, role))["row-security"].evidence.endswith(": public.t")
    assert "row-security" not in await found(pair)


async def test_mappings_that_cannot_be_read_are_named(pair: Pair) -> None:
    role = pair.source.role(f"reader_{pair.tag}")
    pair.source.run(
        "CREATE FOREIGN DATA WRAPPER f; CREATE SERVER s FOREIGN DATA WRAPPER f; CREATE FOREIGN TABLE a () SERVER s;"
        "CREATE USER MAPPING FOR postgres SERVER s OPTIONS (password 'canary')"
    )
    findings = await found(pair, role)
    assert findings["user-mappings"].evidence.endswith(": postgres on s")
    assert "canary" not in repr(findings)


async def test_mappings_of_servers_without_a_table_are_named_too(pair: Pair) -> None:
    role = pair.source.role(f"reader_{pair.tag}")
    pair.source.run(
        "CREATE FOREIGN DATA WRAPPER f; CREATE SERVER s FOREIGN DATA WRAPPER f;"
        "CREATE USER MAPPING FOR postgres SERVER s OPTIONS (password 'canary')"
    )
    assert (await found(pair, role))["user-mappings"].evidence.endswith(": postgres on s")


async def test_a_widened_column_takes_numbers_beyond_the_old_end(pair: Pair) -> None:
    pair.source.run("CREATE TABLE t (a smallserial); SELECT setval('t_a_seq', 32767)")
    for statement in (await found(pair))["sequences-near-end"].fix.split("; "):
        pair.source.run(statement)
    pair.source.run("INSERT INTO t DEFAULT VALUES")
    assert pair.source.run("SELECT a FROM t") == [(32768,)]


async def test_subscriptions_are_named(pair: Pair) -> None:
    pair.source.run("CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)")
    try:
        assert (await found(pair))["subscriptions"].evidence.endswith(": sub")
    finally:
        pair.source.run("ALTER SUBSCRIPTION sub SET (slot_name = NONE)")
        pair.source.run("DROP SUBSCRIPTION sub")


async def test_prepared_transactions_are_named_and_their_fix_ends_them(pair: Pair) -> None:
    for side, named in ((pair.source, "source-prepared"), (pair.target, "target-prepared")):
        side.run("CREATE TABLE t ()")
        with side.cluster.connect(side.name) as session:
            session.execute("BEGIN; INSERT INTO t DEFAULT VALUES; PREPARE TRANSACTION 'left behind'")
        finding = (await found(pair))[named]
        assert finding.severity == "block"
        assert "left behind" in finding.evidence
        side.run(finding.fix)
        assert named not in await found(pair)


async def test_sessions_that_are_in_the_way_are_named(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = tuple(replace(each, query=each.query.replace("300 s", "0 s")) for each in SOURCE)
    assert soon != SOURCE
    pair.source.run("CREATE TABLE t (x int)")
    with pair.source.cluster.connect(pair.source.name) as session:
        session.execute("BEGIN; SELECT pg_advisory_lock(1); INSERT INTO t VALUES (1)")
        pid = session.info.backend_pid
        assert "source-long-transactions" not in await found(pair)
        monkeypatch.setattr(package, "SOURCE", soon)
        findings = await found(pair)
        assert f"pid {pid} of postgres, idle in transaction, 0 min" in findings["source-long-transactions"].evidence
        assert findings["source-long-transactions"].fix == f"SELECT pg_terminate_backend({pid})"
        assert findings["source-advisory-locks"].evidence.endswith(f": pid {pid}")
        worker = threading.Thread(target=pair.source.run, args=("CREATE INDEX CONCURRENTLY i ON t (x)",))
        worker.start()
        try:
            until(lambda: pair.source.run("SELECT 1 FROM pg_stat_progress_create_index"), "the index is being made")
            maintenance = (await found(pair))["source-maintenance"]
            assert maintenance.evidence.endswith(": CREATE INDEX CONCURRENTLY on public.t")
        finally:
            session.rollback()
            session.execute("SELECT pg_advisory_unlock_all()")
            worker.join()


async def test_an_older_target_and_one_database_under_two_names_are_refused(pair: Pair) -> None:
    assert "older-target" in blocks(await between(pair.target.db, pair.source.db))
    by_name = Database.parse(f"host=localhost port={pair.source.cluster.port} dbname={pair.source.name} user=postgres")
    assert "same-database" in blocks(await between(pair.source.db, by_name))
    assert "target-name" in blocks(await between(pair.source.db, pair.target.db.named("postgres")))


async def test_tools_that_do_not_fit_are_named(pair: Pair, tmp_path: Path) -> None:
    assert (await found(pair, bin=tmp_path))["no-client"].severity == "block"
    old, new = pair.source.cluster, pair.target.cluster
    assert "new-client" in await between(pair.source.db, Database.parse(old.conninfo()), new.bin)
    assert "old-client" in await between(pair.target.db, pair.target.db, old.bin)
    for name, home in (("pg_dump", old.bin), ("pg_restore", new.bin), ("psql", new.bin)):
        (tmp_path / name).symlink_to(home / name)
    release = await client_release("pg_dump", str(tmp_path))
    assert f"pg_dump is {release}" in (await found(pair, bin=tmp_path))["mixed-clients"].evidence


@pytest.mark.parametrize(
    ("major", "minor", "unsafe"), [(18, 5, True), (18, 6, False), (15, 18, True), (13, 99, True), (19, 0, False)]
)
def test_releases_below_the_fixes_are_unsafe(major: int, minor: int, unsafe: bool) -> None:
    assert is_unsafe(major, minor) is unsafe


def test_marks_are_known_from_some_minor_release_on() -> None:
    assert skips_marks(15, 20)
    assert not skips_marks(16, 14)
    assert skips_marks(19, 0)


def test_a_release_ends_on_its_day() -> None:
    assert not is_ended(14, date(2026, 11, 12))
    assert is_ended(14, date(2026, 11, 13))
    assert is_ended(9, date(2020, 1, 1))
    assert not is_ended(19, date(2029, 1, 1))


async def test_what_our_role_may_not_do_on_the_target_is_said(pair: Pair) -> None:
    role = pair.target.role(f"small_{pair.tag}")
    small = Database.parse(pair.target.cluster.conninfo(pair.target.name, role))
    pair.source.run(
        "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER et ON ddl_command_start EXECUTE FUNCTION e(); CREATE PUBLICATION p FOR ALL TABLES"
    )
    pair.target.cluster.run(f"ALTER DATABASE {pair.target.name} SET temp_file_limit = '1GB'")
    findings = await between(pair.source.db, small)
    assert {"no-createdb", "not-owner", "superuser-objects"} <= blocks(findings)
    assert findings["superuser-objects"].evidence.endswith(": event trigger et, publication p")
    assert findings["temp-file-limit"].evidence.endswith(": 1048576kB")
    pair.target.run(findings["no-createdb"].fix)
    assert "no-createdb" not in await between(pair.source.db, small)
    assert "superuser-objects" not in await found(pair)


def small(pair: Pair) -> tuple[str, Database]:
    """A role that owns the target's database and may do little else."""
    role = pair.target.role(f"small_{pair.tag}", "LOGIN CREATEDB")
    pair.target.cluster.run(f"ALTER DATABASE {pair.target.name} OWNER TO {role}")
    return role, Database.parse(pair.target.cluster.conninfo(pair.target.name, role))


@pytest.mark.parametrize(
    "plant",
    [
        "CREATE TABLE t (); ALTER TABLE t OWNER TO {0}",
        "CREATE SCHEMA s AUTHORIZATION {0}",
        "ALTER SCHEMA public OWNER TO {0}",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO {0}",
        "CREATE TYPE e AS ENUM (); ALTER TYPE e OWNER TO {0}",
        "SELECT lo_create(4711); ALTER LARGE OBJECT 4711 OWNER TO {0}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {0} GRANT SELECT ON TABLES TO PUBLIC",
    ],
)
async def test_an_owner_our_role_cannot_act_as_blocks_until_it_is_granted(pair: Pair, plant: str) -> None:
    role, target = small(pair)
    name = f'own"er {pair.tag}'
    owner = sql.Identifier(name).as_string(None)
    pair.source.cluster.run(f"CREATE ROLE {owner}")
    try:
        pair.source.run(plant.format(owner))
        missing = (await between(pair.source.db, target))["cannot-act-as"]
        assert missing.fix == f'CREATE ROLE {owner}; GRANT {owner} TO "{role}" WITH INHERIT TRUE, SET TRUE'
        pair.target.cluster.run(f"CREATE ROLE {owner}")
        finding = (await between(pair.source.db, target))["cannot-act-as"]
        assert (finding.severity, finding.evidence.rpartition(": ")[2]) == ("block", name)
        pair.target.cluster.run(f"GRANT {owner} TO {role} WITH INHERIT TRUE, SET FALSE")
        assert "cannot-act-as" in await between(pair.source.db, target)
        pair.target.cluster.run(finding.fix)
        assert "cannot-act-as" not in await between(pair.source.db, target)
        assert "cannot-act-as" not in await found(pair)
    finally:
        pair.source.run(f"ALTER SCHEMA public OWNER TO pg_database_owner; DROP OWNED BY {owner}; DROP ROLE {owner}")
        pair.target.cluster.run(f"DROP ROLE IF EXISTS {owner}")


async def test_a_role_that_ours_will_make_is_ours_only_when_it_gives_it_to_itself(pair: Pair) -> None:
    role, target = small(pair)
    pair.target.cluster.run(f"ALTER ROLE {role} CREATEROLE")
    owner = pair.source.role(f"owner_{pair.tag}")
    pair.source.run(f"CREATE SCHEMA s AUTHORIZATION {owner}")
    finding = (await between(pair.source.db, target))["cannot-act-as"]
    assert finding.fix == f"ALTER ROLE \"{role}\" SET createrole_self_grant = 'set, inherit'"
    pair.target.run(finding.fix, role)
    assert "cannot-act-as" not in await between(pair.source.db, target)
    await copy_globals(pair.source.db, target, APP)
    assert "cannot-act-as" not in await between(pair.source.db, target)


async def test_nobody_is_told_to_grant_a_superuser(pair: Pair) -> None:
    _, target = small(pair)
    pair.source.run("CREATE TABLE t ()")
    finding = (await between(pair.source.db, target))["cannot-act-as"]
    assert finding.evidence.endswith(": postgres")
    assert "GRANT" not in finding.fix


async def test_before_16_a_member_may_act_as_its_group(debian: Side, pair: Pair) -> None:
    old = Pair(Side(debian.cluster, f"early_{pair.tag}"), Side(debian.cluster, f"late_{pair.tag}"), pair.tag)
    role, target = small(old)
    owner = old.source.role(f"owner_{pair.tag}")
    old.source.run(f"CREATE SCHEMA s AUTHORIZATION {owner}")
    try:
        finding = (await between(old.source.db, target))["cannot-act-as"]
        assert finding.fix == f'GRANT "{owner}" TO "{role}"'
        old.target.cluster.run(finding.fix)
        assert "cannot-act-as" not in await between(old.source.db, target)
    finally:
        clean(old)


SUPERUSERS: tuple[tuple[str, str, str], ...] = (
    ("internal", "CREATE FUNCTION f(int) RETURNS int LANGUAGE internal AS 'int4abs'", "function public.f(integer)"),
    ("family", "CREATE OPERATOR FAMILY fam USING btree", "operator family fam"),
    (
        "grantor",
        "CREATE TABLE t (x int); GRANT SELECT ON t TO {0} WITH GRANT OPTION; GRANT UPDATE (x) ON t TO {0} WITH GRANT "
        "OPTION; SET ROLE {0}; GRANT SELECT ON t TO PUBLIC; GRANT UPDATE (x) ON t TO PUBLIC",
        "privileges given by {0}, not by the owner, on column x of table public.t, "
        "privileges given by {0}, not by the owner, on table public.t",
    ),
    (
        "system",
        "GRANT EXECUTE ON FUNCTION pg_ls_logdir() TO {0}; REVOKE SELECT ON pg_stat_archiver FROM PUBLIC;"
        "GRANT SELECT (rolname) ON pg_authid TO {0}",
        "privileges on the system's column rolname of table pg_authid, "
        "privileges on the system's function pg_ls_logdir(), privileges on the system's view pg_stat_archiver",
    ),
)


@pytest.mark.parametrize(("plant", "names"), [each[1:] for each in SUPERUSERS], ids=[each[0] for each in SUPERUSERS])
async def test_what_only_a_superuser_can_make_is_named(pair: Pair, plant: str, names: str) -> None:
    role = pair.source.role(f"app_{pair.tag}")
    _, target = small(pair)
    pair.source.run(plant.format(role))
    try:
        finding = (await between(pair.source.db, target))["superuser-objects"]
        assert finding.evidence.endswith(f" none: {names.format(role)}")
    finally:
        pair.source.cluster.run(f'DROP DATABASE "{pair.source.name}" WITH (FORCE)')


async def test_what_every_owner_can_make_is_no_superusers(pair: Pair) -> None:
    role = pair.source.role(f"app_{pair.tag}")
    _, target = small(pair)
    pair.source.run(
        f"GRANT CREATE ON SCHEMA public TO {role}; CREATE TABLE t (); GRANT ALL ON t TO {role} WITH GRANT OPTION;"
        "CREATE EXTENSION vector; CREATE TYPE r AS RANGE (SUBTYPE = int); GRANT USAGE ON TYPE r TO PUBLIC;"
        "SELECT lo_create(0); CREATE TYPE c AS (x int); CREATE DOMAIN d AS int; REVOKE USAGE ON TYPE d FROM PUBLIC"
    )
    assert "superuser-objects" not in await between(pair.source.db, target)


def test_only_what_matters_counts_as_changed() -> None:
    def now(*findings: tuple[str, Severity, str]) -> list[Finding]:
        return [Finding(*each) for each in findings]

    before = journaled(
        now(
            ("room", "info", "1 GB"),
            ("versions", "info", "16 to 18"),
            ("locale", "warn", "a"),
            ("large-objects", "info", "2"),
        )
    )
    today = now(
        ("room", "info", "2 GB"), ("versions", "info", "16 to 19"), ("locale", "warn", "b"), ("unlogged", "info", "t")
    )
    assert drift(before, today) == (
        "new unlogged: t",
        "large-objects is gone",
        "versions was: 16 to 18",
        "locale was: a",
    )


async def test_what_may_not_be_looked_at_counts_as_unknown(pair: Pair) -> None:
    role = pair.source.role(f"blind_{pair.tag}")
    pair.source.run("REVOKE SELECT ON pg_stat_archiver FROM PUBLIC")
    finding = (await found(pair, role))["source-unseen"]
    unseen = "source-long-transactions, source-maintenance, source-archiving"
    assert finding.evidence == f"{role} may not look on the source: {unseen}"
    assert "source-archiving" not in await found(pair, role)
    assert "source-unseen" not in await found(pair)
    pair.source.run(f"GRANT SELECT ON pg_stat_archiver TO PUBLIC; {finding.fix}")
    assert "source-unseen" not in await found(pair, role)


async def test_encodings_and_orders_that_differ_are_said(pair: Pair) -> None:
    name = f"latin_{pair.tag}"
    pair.source.cluster.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    findings = await between(pair.source.db.named(name), pair.target.db)
    assert findings["encoding"].severity == "block"
    assert findings["locale"].evidence == "the source sorts as C, C, the target as C.UTF-8, C.UTF-8"


async def test_extensions_are_held_against_what_the_target_offers(pair: Pair) -> None:
    pair.source.run("CREATE EXTENSION vector")
    for version, id in (("99.0", "older-extension"), ("0.0.1", "newer-extension")):
        pair.source.run(f"UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'vector'")
        assert f"vector {'is' if id[0] == 'o' else ''}".strip() in (await found(pair))[id].evidence
    pair.source.run("UPDATE pg_extension SET extname = 'nowhere' WHERE extname = 'vector'")
    assert (await found(pair))["missing-extension"].evidence == "the target lacks extension nowhere"


async def test_rows_on_the_target_are_told(pair: Pair) -> None:
    pair.target.run("CREATE TABLE t (x int); CREATE TABLE empty ()")
    assert "target-rows" not in await found(pair)
    pair.target.run("INSERT INTO t VALUES (1)")
    assert (await found(pair))["target-rows"].evidence.endswith(": public.t")


async def test_clocks_that_are_apart_are_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(seconds=60)

    monkeypatch.setattr(importlib.import_module("switchover.postgres.preflight.look"), "datetime", Late)
    evidence = (await found(pair))["clock-skew"].evidence
    assert evidence == "the clock of the source is 60 s ahead; the clock of the target is 60 s ahead"


@pytest.fixture(scope="module")
def other(servers_folder: Path) -> Iterator[Side]:
    """A server set up otherwise: few locks and connections, a failing archive, an old threshold, a zone of its own."""
    conf = (
        "max_connections = 12\nmax_locks_per_transaction = 10\nmax_prepared_transactions = 0\nmax_wal_senders = 2\n"
        "archive_mode = on\narchive_command = 'false'\nold_snapshot_threshold = 60\ntimezone = 'Asia/Tokyo'\n"
        "shared_preload_libraries = 'plpgsql'\n"
    )
    cluster = Cluster(servers_folder / "other", 16, conf=conf, fsync=True).start()
    yield Side(cluster, "shop")
    cluster.stop()


async def test_servers_that_are_set_otherwise(other: Side, pair: Pair) -> None:
    other.run("SELECT pg_switch_wal() FROM (SELECT pg_logical_emit_message(false, 'x', 'y')) AS m")
    until(lambda: other.run("SELECT 1 FROM pg_stat_archiver WHERE failed_count > 0"), "the archive command failed")
    for number in range(60):
        other.run(f"CREATE TABLE t{number} (x int UNIQUE)")
    findings = await between(other.db, pair.target.db, pair.target.cluster.bin)
    assert {"snapshot-threshold"} <= blocks(findings)
    assert findings["lock-room"].evidence.endswith(": 60 tables and 60 indexes, room for 120 locks")
    assert "has failed since" in findings["source-archiving"].evidence
    assert findings["no-archive"].severity == "warn"
    assert (
        "TimeZone is Asia/Tokyo on the source, America/St_Johns on the target" in findings["server-settings"].evidence
    )
    assert findings["preload"].evidence == "the source loads at start, and the target does not: plpgsql"
    assert "connections" not in findings
    back = await between(pair.source.db, other.db, other.cluster.bin)
    assert back["connections"].evidence.startswith("max_connections is 12 on the target, 60 on the source, of which ")
    assert "target-unsafe" not in back


async def test_who_follows_the_source_is_named(pair: Pair) -> None:
    folder = pair.source.cluster.folder / "received"
    folder.mkdir()
    argv = [pair.source.cluster.bin / "pg_receivewal", "-D", folder, "-h", "127.0.0.1", "-U", "postgres"]
    follower = subprocess.Popen([*argv, "-p", str(pair.source.cluster.port)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: pair.source.run("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), "it streams")
        findings = await found(pair)
        assert findings["followers"].evidence.endswith(": standby pg_receivewal 127.0.0.1")
        assert findings["fewer-standbys"].evidence == "1 standbys stream from the source, 0 from the target"
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait()


async def test_a_broken_page_is_told(servers_folder: Path, pair: Pair) -> None:
    cluster = Cluster(servers_folder / "broken", 18).start()
    try:
        side = Side(cluster, "shop")
        side.run("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        [(path,)] = side.run("SELECT pg_relation_filepath('t')")
        cluster.stop()
        with (cluster.data / str(path)).open("r+b") as file:
            file.seek(100)
            file.write(b"\xff")
        cluster.start()
        with pytest.raises(psycopg.errors.DataCorrupted):
            side.run("SELECT * FROM t")
        until(lambda: side.run("SELECT 1 FROM pg_stat_database WHERE checksum_failures > 0"), "the failure is counted")
        findings = await between(side.db, pair.target.db)
        assert findings["source-checksum-failures"].evidence.endswith(": 1 in shop")
        assert (await between(side.db, pair.source.db))["no-checksums"].severity == "info"
    finally:
        cluster.stop()


@pytest.mark.parametrize(("number", "id"), [(1_700_000_000, "wraparound"), (2_050_000_000, "wraparound-near")])
async def test_transaction_numbers_that_run_out(servers_folder: Path, pair: Pair, number: int, id: str) -> None:
    cluster = Cluster(servers_folder / id, 16, conf="autovacuum_freeze_max_age = 2000000000\n").create()
    account = server_account()
    subprocess.run(
        [cluster.bin / "pg_resetwal", "--next-transaction-id", str(number), "-D", cluster.data],
        check=True,
        capture_output=True,
        user=account.pw_uid,
        group=account.pw_gid,
    )
    # 32 pages a file, 32,768 transactions a page (CLOG_XACTS_PER_PAGE): the file pg_resetwal does not make.
    (cluster.data / "pg_xact" / f"{number // 1_048_576:04X}").write_bytes(bytes(32 * 8192))
    subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", cluster.data / "pg_xact"], check=True)
    cluster.start()
    try:
        finding = (await between(Database.parse(cluster.conninfo()), pair.target.db))[f"source-{id}"]
        assert finding.severity == ("block" if id.endswith("near") else "warn")
        assert "postgres: " in finding.evidence
    finally:
        cluster.kill()


async def test_a_standby_is_refused_on_either_side(servers_folder: Path, pair: Pair) -> None:
    cluster = Cluster(servers_folder / "standby", 18).start()
    side = Side(cluster, "shop")
    cluster.stop()
    (cluster.data / "standby.signal").touch()
    cluster.start()
    try:
        assert "source-standby" in blocks(await between(side.db, pair.target.db))
        assert "target-standby" in blocks(await between(pair.source.db, side.db))
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def debian(servers_folder: Path) -> Iterator[Side]:
    """PostgreSQL 15 with TLS, reachable by an address that is not the usual one of this machine."""
    made = Cluster(
        servers_folder / "debian", 15, authority=trustme.CA(), conf="listen_addresses = '127.0.0.1,127.0.0.2'\n"
    ).create()
    hba = made.data / "pg_hba.conf"
    hba.write_text(hba.read_text() + "host all all 127.0.0.1/32 trust\n")
    made.start()
    yield Side(made, "shop")
    made.stop()


async def test_marks_that_older_programs_write_down_block_them_alone(debian: Side, pair: Pair) -> None:
    debian.run("CREATE TABLE marked (x int)")
    marked = debian.run("SELECT 1 FROM pg_attribute WHERE attrelid = 'marked'::regclass AND attoptions IS NOT NULL")
    assert ("marked-columns" in await between(debian.db, pair.target.db, pair.source.cluster.bin)) is bool(marked)
    assert "marked-columns" not in await between(debian.db, pair.target.db, debian.cluster.bin)


async def test_collations_that_have_changed_under_their_indexes(debian: Side, pair: Pair) -> None:
    debian.run("CREATE COLLATION de (PROVIDER = icu, LOCALE = 'de'); CREATE TABLE t (x text COLLATE de)")
    assert "source-collation-version" not in await between(debian.db, pair.target.db)
    debian.run("UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'de'")
    finding = (await between(debian.db, pair.target.db))["source-collation-version"]
    assert "collation public.de, made with 1.0, has " in finding.evidence
    debian.run(finding.fix)
    assert "source-collation-version" not in await between(debian.db, pair.target.db)


async def test_the_way_to_a_server_is_judged(debian: Side, pair: Pair) -> None:
    server = f"host=127.0.0.2 port={debian.cluster.port} dbname=shop user=postgres"
    plain = await between(Database.parse(f"{server} sslmode=disable"), pair.target.db)
    assert plain["source-plaintext"].severity == "warn"
    unverified = await between(Database.parse(f"{server} sslmode=require"), pair.target.db)
    assert unverified["source-unverified"].severity == "info"
    assert not {each for each in await between(debian.db, pair.target.db) if "plain" in each or "unver" in each}


async def test_a_pooler_that_parts_transactions_is_refused_and_one_that_does_not_is_not(
    pair: Pair, tmp_path: Path
) -> None:
    for mode, pooled in (("transaction", True), ("session", False)):
        port = free_port("127.0.0.1")
        ini = tmp_path / f"{mode}.ini"
        server = f"host=127.0.0.1 port={pair.source.cluster.port} user=postgres"
        ini.write_text(
            f"[databases]\n{pair.source.name} = {server}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n"
        )
        ini.chmod(0o644)
        for folder in (tmp_path, *tmp_path.parents[:2]):
            folder.chmod(0o755)
        argv = ["pgbouncer", "-q", *(["-u", "nobody"] if server_account().pw_name == "nobody" else []), str(ini)]
        bouncer = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        db = Database.parse(f"host=127.0.0.1 port={port} dbname={pair.source.name} user=postgres")
        try:
            await _reachable(db, bouncer)
            assert ("source-pooler" in await between(db, pair.target.db)) is pooled
        finally:
            bouncer.terminate()
            bouncer.wait()


async def _reachable(db: Database, server: subprocess.Popen[bytes]) -> None:
    def tried() -> bool:
        assert server.poll() is None, "pgbouncer did not start"
        try:
            psycopg.connect(**dict(db.params)).close()  # type: ignore[arg-type]
        except psycopg.OperationalError:
            return False
        return True

    until(tried, "pgbouncer takes connections")


async def test_a_check_is_asked_only_of_versions_that_know_it(pair: Pair) -> None:
    checks = [
        Check("later", "warn", "SELECT nothing", "x", "y", since=170000),
        Check("earlier", "warn", "SELECT nothing", "x", "y", before=150000),
        Check("now", "warn", "SELECT 'a' UNION ALL SELECT 'b'", "x", "y"),
    ]
    async with await connect(pair.source.db, APP) as session:
        assert await run_checks(session, "source", checks) == [Finding("now", "warn", "x: a, b", "", "y")]
