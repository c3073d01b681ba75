"""The recovery plan's statements, run by psql as a person would, on PostgreSQL 16 and 18."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import psycopg
import pytest

from switchover.plan import names
from switchover.plan.progress import Progress, fold
from switchover.plan.spec import Spec
from switchover.report.runbook import commands
from tests.postgres.conftest import Pair, Side

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
