"""The recovery plan's statements, run by psql as a person would, on PostgreSQL 16 and 18."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from switchover.plan import names
from switchover.plan.progress import Progress, fold
from switchover.plan.spec import Spec
from switchover.postgres.fence import Fence
from switchover.postgres.replication.backwards import prepare_back
from switchover.postgres.replication.dismantle import remains
from switchover.postgres.replication.subscription import disable
from switchover.postgres.scratch import swap_in
from switchover.postgres.sequences import set_sequences
from switchover.report.runbook import commands, links, runbook
from tests.postgres.conftest import APP, PREFIX, Pair, Side
from tests.postgres.replicating import ahead, back, drained, follow, left_of, quiet, remove_all

DNS = {"names": ["shop.example.com"], "from": "203.0.113.10", "to": "198.51.100.20"}
HEALTH = [{"name": "front", "url": "https://shop.example.com/"}]


@pytest.fixture
def spec(pair: Pair) -> Spec:
    database = {
        "source": pair.source.cluster.conninfo(pair.source.name),
        "target": pair.target.cluster.conninfo(pair.target.name),
        "jobs": 2,
        "bin": str(pair.target.cluster.bin),
    }
    return Spec.model_validate({"version": 1, "name": "x", "database": database, "dns": DNS, "health": HEALTH})


@pytest.fixture
def progress(pair: Pair, spec: Spec) -> Progress:
    return replace(fold(spec, ()), plan_id=pair.plan_id)


def run(side: Side, command: str, folder: object = None) -> str:
    """As a person does it, with the newest psql."""
    path = f"{side.cluster.bin}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-e", "-c", command], env={"PATH": path}, cwd=str(folder) if folder else "/", text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_fence_by_hand_and_its_taking_back(pair: Pair, spec: Spec, progress: Progress) -> None:
    side = pair.source
    side.run("CREATE TABLE t (n int)")
    run(pair.target, commands.psql(spec.database.source, commands.CLOSE))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        side.run("INSERT INTO t VALUES (1)")
    assert side.cluster.run(f"SELECT datconnlimit FROM pg_database WHERE datname = '{side.name}'") == [(0,)]
    assert "on" in run(pair.target, commands.psql(spec.database.source, commands.NOBODY))
    run(pair.target, commands.psql(spec.database.source, commands.reopen(progress)))
    side.run("INSERT INTO t VALUES (1)")
    assert side.cluster.run(
        "SELECT datconnlimit, (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = d.oid) "
        f"FROM pg_database d WHERE datname = '{side.name}'"
    ) == [(-1, 0)]


def test_sessions_of_a_dead_run_are_ended_and_no_others(pair: Pair, spec: Spec, progress: Progress) -> None:
    ours = names.session_prefix(pair.plan_id) + "run"
    info = pair.source.cluster.conninfo(pair.source.name)
    with (
        psycopg.connect(info, application_name=ours) as dead,
        psycopg.connect(info, application_name="switchover/other/run") as other,
    ):
        run(pair.target, commands.psql(spec.database.source, commands.end_ours(pair.plan_id)))
        with pytest.raises(psycopg.OperationalError):
            dead.execute("SELECT 1")
        other.execute("SELECT 1")


def test_the_whole_way_forward_and_back_by_hand(
    pair: Pair, spec: Spec, progress: Progress, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pair.source.run("CREATE TABLE t (n int PRIMARY KEY)")
    pair.source.run("INSERT INTO t SELECT generate_series(1, 1000)")
    pair.target.run("CREATE TABLE was_here (n int)")
    run(pair.target, commands.psql(spec.database.source, commands.CLOSE))

    run(pair.target, commands.copy_by_hand(spec, progress), tmp_path_factory.mktemp("plan"))
    copy, aside, kept = names.copy_name(pair.plan_id), names.aside_name(pair.plan_id), names.kept_name(pair.plan_id, 1)
    assert copy in run(pair.target, commands.psql(spec.database.target, commands.ours_there(pair.plan_id)))
    with psycopg.connect(pair.target.cluster.conninfo(pair.target.name)):
        run(pair.target, commands.psql(spec.database.target, commands.exchange(aside, copy)))
    assert pair.target.run("SELECT count(*) FROM t") == [(1000,)]

    pair.target.run("INSERT INTO t VALUES (2000)")
    run(pair.target, commands.psql(spec.database.target, commands.CLOSE))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        pair.target.run("INSERT INTO t VALUES (3000)")
    run(pair.target, commands.psql(spec.database.target, commands.exchange(kept, aside)))
    assert pair.target.run("SELECT count(*) FROM was_here") == [(0,)]
    pair.target.run("INSERT INTO was_here VALUES (1)")
    assert pair.target.cluster.run(f"SELECT datallowconn FROM pg_database WHERE datname = '{kept}'") == [(False,)]

    run(pair.target, commands.psql(spec.database.target, commands.drop(kept)))
    assert pair.target.cluster.run(f"SELECT 1 FROM pg_database WHERE datname = '{kept}'") == []
    run(pair.target, commands.psql(spec.database.target, commands.drop(kept)))


TABLES = """
CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text); CREATE TABLE "Loose %s" (n int);
CREATE TABLE odd (a int); ALTER TABLE odd REPLICA IDENTITY NOTHING; CREATE SCHEMA "s 'q"; CREATE SEQUENCE "s 'q"."n %L";
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM t
"""
IDENTITIES = "SELECT relname, relreplident::text FROM pg_class WHERE relname IN ('t', 'Loose %s', 'odd') ORDER BY 1"
BEFORE = [("Loose %s", "d"), ("odd", "n"), ("t", "d")]


@dataclass(frozen=True, slots=True)
class Live:
    """A pair whose copy follows, its links made by the product, and the recovery plan of that switchover."""

    pair: Pair
    spec: Spec
    progress: Progress
    copy: Side
    folder: Path

    @property
    def app(self) -> str:
        """As a run of this plan calls its sessions."""
        return f"{names.session_prefix(self.pair.plan_id)}run"

    def run(self, section: str) -> str:
        """Run every statement that the section prints, in order; what was printed by psql."""
        body = runbook(self.spec, self.progress, "shop.toml").split(f"\n## {section}")[1].split("\n## ")[0]
        found = re.findall(r"(`{3,})sh\n(.*?)\n\1", body, re.DOTALL)
        statements = [block for _, block in found if block.startswith("psql ")]
        assert statements
        return "".join(run(self.pair.target, block, self.folder) for block in statements)

    async def cut_over(self) -> Fence:
        """As far as the moment before the names are exchanged; whoever runs it dies there, with its locks held."""
        fence, there = Fence(), ahead(self.pair, self.copy.db)
        await fence.raise_(self.pair.source.db, self.app, PREFIX, deadline_s=10, say=quiet)
        await drained(there)
        await set_sequences(self.pair.source.db, self.copy.db, APP)
        await disable(there, APP)
        await prepare_back(there, back(self.pair, self.copy.db), APP, deadline_s=10, say=quiet)
        return fence

    def nothing_left(self) -> None:
        for side in (self.pair.source, self.copy):
            assert left_of(side) == []
            assert side.run(IDENTITIES) == BEFORE


@pytest.fixture
def live(pair: Pair, spec: Spec, tmp_path: Path) -> Iterator[Live]:
    pair.target.run("CREATE TABLE was_here (n int)")
    copy = Side(pair.target.cluster, names.copy_name(pair.plan_id))
    for side in (pair.source, copy):
        side.run(TABLES)
    asyncio.run(follow(ahead(pair, copy.db)))
    pair.source.run("""INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 100); INSERT INTO "Loose %s" VALUES (1)""")
    database = {**spec.database.model_dump(include={"source", "target", "bin"}), "method": "replicate"}
    spec = Spec.model_validate({"version": 1, "name": "x", "database": database, "dns": DNS, "health": HEALTH})
    yield Live(pair, spec, replace(fold(spec, ()), plan_id=pair.plan_id), copy, tmp_path)
    remove_all(pair)


def test_a_live_copy_is_given_up_by_hand_and_nothing_of_it_stays(live: Live) -> None:
    name = names.ahead_name(live.pair.plan_id)
    assert f"{name} | in use" in live.run("Where am I?")
    said = live.run("A. Before the cutover")
    assert "DROP SUBSCRIPTION" in said
    assert name not in said.partition("DROP DATABASE")[2]
    assert live.pair.source.run(IDENTITIES) == BEFORE
    assert left_of(live.pair.source) == left_of(live.pair.target) == []
    assert live.pair.target.cluster.run(f"SELECT 1 FROM pg_database WHERE datname = '{live.copy.name}'") == []
    live.pair.source.run("""UPDATE t SET v = 'y'; INSERT INTO "Loose %s" VALUES (2)""")


async def test_a_cutover_to_a_live_copy_is_taken_back_by_hand_and_the_copy_follows_again(live: Live) -> None:
    fence = await live.cut_over()
    live.run("B. During the cutover")
    live.pair.source.run("INSERT INTO t (v) VALUES ('after')")
    await drained(ahead(live.pair, live.copy.db))
    assert live.copy.run("SELECT count(*) FROM t WHERE v = 'after'") == [(1,)]
    assert await remains(back(live.pair, live.copy.db), APP) == ()
    await fence.release()


async def test_rows_of_the_new_host_are_brought_back_by_hand_also_when_the_cutover_was_cut_short(live: Live) -> None:
    fence = await live.cut_over()
    pair, aside = live.pair, names.aside_name(live.pair.plan_id)
    await swap_in(pair.target.db, live.copy.name, aside, APP)
    pair.target.run(
        "INSERT INTO t (v) SELECT 'new' FROM generate_series(1, 50); UPDATE t SET v = 'changed' WHERE id = 1;"
        """DELETE FROM "Loose %s"; SELECT nextval('"s ''q"."n %L"'), nextval('"s ''q"."n %L"')"""
    )
    said = live.run("C. After the target was opened")
    assert len(set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", said))) == 1
    assert pair.source.run("SELECT count(*), count(*) FILTER (WHERE v = 'changed'), max(id) FROM t") == [(150, 1, 150)]
    assert pair.source.run("""SELECT count(*) FROM "Loose %s" """) == [(0,)]
    assert pair.source.run("INSERT INTO t (v) VALUES ('home') RETURNING id") == [(151,)]
    assert pair.source.run("""SELECT nextval('"s ''q"."n %L"')""") == [(3,)]
    assert pair.source.run("SELECT n FROM m") == [(150,)]
    pair.target.run("INSERT INTO was_here VALUES (1)")
    allowed = f"SELECT datallowconn FROM pg_database WHERE datname = '{live.copy.name}'"
    assert pair.target.cluster.run(allowed) == [(False,)]
    pair.target.cluster.run(f"ALTER DATABASE {live.copy.name} ALLOW_CONNECTIONS true")
    live.nothing_left()
    await fence.release()


def test_nobody_is_sent_on_by_hand_while_somebody_can_still_write(live: Live) -> None:
    statements = links.of(names.ahead_name(live.pair.plan_id), links.ALONE.replace("50", "2"), links.ARRIVED)
    with psycopg.connect(live.pair.source.cluster.conninfo(live.pair.source.name)) as writer:
        writer.execute("SELECT 1")
        with pytest.raises(AssertionError, match="go no further"):
            run(live.pair.target, commands.psql(live.spec.database.source, statements))


async def test_a_cutover_to_a_live_copy_is_finished_by_hand(live: Live) -> None:
    fence = await live.cut_over()
    live.run("Going forward without the program")
    pair = live.pair
    assert pair.target.run("INSERT INTO t (v) VALUES ('first') RETURNING id, (SELECT n FROM m)") == [(101, 100)]
    assert pair.target.run("""SELECT nextval('"s ''q"."n %L"')""") == [(1,)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        pair.source.run("INSERT INTO t (v) VALUES ('late')")
    assert left_of(pair.source) == left_of(pair.target) == []
    assert pair.source.run(IDENTITIES) == pair.target.run(IDENTITIES) == BEFORE
    await fence.release()
