"""What a database and its server are, asked of real ones."""

from __future__ import annotations

import psycopg
import pytest

from switchover.postgres.connect import Database, connect
from switchover.postgres.facts import server_facts, write_mark
from tests.postgres.conftest import APP, Pair


async def test_facts_are_the_servers_own(pair: Pair) -> None:
    ours, theirs = await server_facts(pair.source.db, APP), await server_facts(pair.target.db, APP)
    assert (ours.major, theirs.major) == (16, 18)
    assert (ours.name, ours.encoding, ours.recovering, ours.superuser) == (pair.source.name, "UTF8", False, True)
    assert ours.system != theirs.system
    assert ours.size_bytes > 1_000_000


async def test_an_unreadable_cluster_number_is_no_obstacle(pair: Pair) -> None:
    role = pair.source.role(f"blind_{pair.tag}")
    pair.source.run("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    blind = Database.parse(pair.source.cluster.conninfo(pair.source.name, role))
    assert (await server_facts(blind, APP)).system is None


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
