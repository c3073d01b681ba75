"""What stops a copy before it begins, asked of real servers."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from switchover.postgres.connect import Database, connect
from switchover.postgres.facts import preflight, server_facts, write_mark
from switchover.postgres.finding import Finding
from tests.postgres.conftest import APP, Pair


async def found(pair: Pair, user: str = "postgres", bin: Path | None = None) -> dict[str, Finding]:
    source = Database.parse(pair.source.cluster.conninfo(pair.source.name, user))
    tools = bin or pair.target.cluster.bin
    findings = await preflight(source, pair.target.db, APP, bin=str(tools))
    return {each.id: each for each in findings}


async def test_two_fit_servers_are_let_through(pair: Pair) -> None:
    pair.source.run("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY); CREATE EXTENSION vector")
    assert [each.id for each in (await found(pair)).values()] == ["versions"]


async def test_facts_are_the_servers_own(pair: Pair) -> None:
    ours, theirs = await server_facts(pair.source.db, APP), await server_facts(pair.target.db, APP)
    assert (ours.major, theirs.major) == (16, 18)
    assert (ours.name, ours.encoding, ours.recovering, ours.superuser) == (pair.source.name, "UTF8", False, True)
    assert ours.system != theirs.system
    assert ours.size_bytes > 1_000_000


async def test_an_older_target_is_refused(pair: Pair) -> None:
    findings = await preflight(pair.target.db, pair.source.db, APP, bin=None)
    assert "older-target" in {each.id for each in findings if each.severity == "block"}


async def test_one_and_the_same_database_is_refused(pair: Pair) -> None:
    by_name = Database.parse(f"host=localhost port={pair.source.cluster.port} dbname={pair.source.name} user=postgres")
    findings = await preflight(pair.source.db, by_name, APP, bin=None)
    assert "same-database" in {each.id for each in findings}


async def test_tools_that_do_not_fit_are_refused(pair: Pair, tmp_path: Path) -> None:
    assert (await found(pair, bin=tmp_path))["no-client"].severity == "block"
    newer = await preflight(
        pair.source.db, Database.parse(pair.source.cluster.conninfo()), APP, bin=str(pair.target.cluster.bin)
    )
    assert "new-client" in {each.id for each in newer}
    older = await preflight(pair.target.db, pair.target.db, APP, bin=str(pair.source.cluster.bin))
    assert "old-client" in {each.id for each in older}


async def test_every_role_an_object_names_must_be_on_the_target(pair: Pair) -> None:
    owner = pair.source.role(f"owner_{pair.tag}")
    reader = pair.source.role(f"reader_{pair.tag}")
    pair.source.role(f"stranger_{pair.tag}")
    pair.source.run(f"CREATE TABLE t (); ALTER TABLE t OWNER TO {owner}; GRANT SELECT ON t TO {reader}")
    said = (await found(pair))["missing-role"]
    assert said.severity == "block"
    assert said.evidence == f"the target lacks role {owner}, {reader}"


async def test_the_first_superuser_counts_where_it_owns_something(pair: Pair) -> None:
    """pg_shdepend does not list it, but pg_restore sends ALTER … OWNER TO it all the same."""
    pair.target.cluster.run(f"CREATE ROLE other_{pair.tag} SUPERUSER LOGIN")
    other = Database.parse(pair.target.cluster.conninfo(pair.target.name, f"other_{pair.tag}"))
    pair.target.cluster.run(f"ALTER ROLE postgres RENAME TO renamed_{pair.tag}x", user=f"other_{pair.tag}")
    try:
        empty = {each.id for each in await preflight(pair.source.db, other, APP, bin=None)}
        pair.source.run("CREATE TABLE t ()")
        findings = {each.id: each for each in await preflight(pair.source.db, other, APP, bin=None)}
    finally:
        pair.target.cluster.run(f"ALTER ROLE renamed_{pair.tag}x RENAME TO postgres", user=f"other_{pair.tag}")
    assert "missing-role" not in empty
    assert findings["missing-role"].evidence == "the target lacks role postgres"


async def test_prepared_transactions_are_named(pair: Pair) -> None:
    pair.source.run("CREATE TABLE t ()")
    with pair.source.cluster.connect(pair.source.name) as session:
        session.execute("BEGIN; INSERT INTO t DEFAULT VALUES; PREPARE TRANSACTION 'left behind'")
        try:
            assert "left behind" in (await found(pair))["source-prepared"].evidence
        finally:
            session.execute("ROLLBACK PREPARED 'left behind'")


async def test_what_our_role_may_not_do_is_said(pair: Pair) -> None:
    role = pair.source.role(f"small_{pair.tag}")
    pair.target.role(f"small_{pair.tag}")
    small = Database.parse(pair.target.cluster.conninfo(pair.target.name, role))
    ids = {each.id: each for each in await preflight(pair.source.db, small, APP, bin=None)}
    assert ids["no-createdb"].severity == "block"
    assert ids["not-owner"].severity == "block"
    assert (await found(pair, user=role))["fence-layers"].severity == "info"


async def test_an_unreadable_cluster_number_is_no_obstacle(pair: Pair) -> None:
    role = pair.source.role(f"blind_{pair.tag}")
    pair.source.run("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    blind = Database.parse(pair.source.cluster.conninfo(pair.source.name, role))
    assert (await server_facts(blind, APP)).system is None


async def test_encodings_that_differ_are_refused(pair: Pair) -> None:
    name = f"latin_{pair.tag}"
    pair.source.cluster.run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    findings = await preflight(pair.source.db.named(name), pair.target.db, APP, bin=None)
    assert "encoding" in {each.id for each in findings}


async def test_the_mark_moves_with_every_write_and_with_nothing_else(pair: Pair) -> None:
    pair.source.run("CREATE TABLE t (x int)")
    async with await connect(pair.source.db, APP) as session:
        first = await write_mark(session)
        pair.source.run("SELECT count(*) FROM t")
        with pair.source.cluster.connect(pair.source.name) as other:
            other.execute("BEGIN; LOCK t IN SHARE MODE; ROLLBACK")
            with pytest.raises(psycopg.Error):
                other.execute("SELECT 1 / 0")
        assert await write_mark(session) == first
        pair.source.run("INSERT INTO t VALUES (1)")
        assert await write_mark(session) != first


async def test_what_a_dump_leaves_behind_is_said_without_its_values(pair: Pair) -> None:
    pair.source.cluster.run(f"ALTER DATABASE {pair.source.name} SET app.key = 'canary'")
    pair.both(
        "CREATE FOREIGN DATA WRAPPER f; CREATE SERVER s FOREIGN DATA WRAPPER f; CREATE FOREIGN TABLE a () SERVER s"
    )
    pair.source.run("CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)")
    try:
        findings = await found(pair)
    finally:
        pair.source.run("ALTER SUBSCRIPTION sub SET (slot_name = NONE)")
        pair.source.run("DROP SUBSCRIPTION sub")
    assert {each.id: each.severity for each in findings.values()} == {
        "versions": "info",
        "settings": "warn",
        "subscriptions": "warn",
        "foreign-tables": "warn",
    }
    assert findings["settings"].evidence.endswith("does not have: app.key")


async def test_a_target_from_which_others_are_renamed_is_refused(pair: Pair) -> None:
    findings = await preflight(pair.source.db, pair.target.db.named("postgres"), APP, bin=None)
    assert "target-name" in {each.id for each in findings if each.severity == "block"}


async def test_another_sort_order_is_said(pair: Pair) -> None:
    name = f"sorted_{pair.tag}"
    pair.source.cluster.run(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C'")
    findings = await preflight(pair.source.db.named(name), pair.target.db, APP, bin=None)
    assert "locale" in {each.id for each in findings if each.severity == "warn"}
