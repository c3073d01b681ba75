"""A run that is killed at any moment is run again, as often as it takes, and ends as if it had never been killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.postgres.conftest import Pair
from tests.postgres.replicating import ahead, back, drained, left_of, remove_all

RUN = """
import asyncio, sys
from switchover.postgres.connect import Database
from switchover.postgres.replication.backwards import prepare_back
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.drain import drain
from switchover.postgres.replication.link import backward, forward
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.slot import make_slot
from switchover.postgres.replication.subscription import disable, enable, find_subscription, subscribe

APP = "switchover/test/crash"

async def follow(there):
    if await find_subscription(there, APP) is None:
        await publish(there, APP)
        held = await make_slot(there, APP, deadline_s=20, say=print)
        await held.release()
        await subscribe(there, APP)
    await enable(there, APP)

async def turn(there, behind):
    applying = await find_subscription(there, APP)
    if applying is not None and applying.enabled:
        await drain(there, APP, deadline_s=20, say=print)
        await disable(there, APP)
    await prepare_back(there, behind, APP, deadline_s=20, say=print)
    assert (await dismantle(there, APP)).done
    await enable(behind, APP)

async def main(source, target, plan, what):
    pair = Database.parse(source), Database.parse(target), plan
    there, behind = forward(*pair), backward(*pair)
    await (follow(there) if what == "follow" else turn(there, behind))

asyncio.run(main(*sys.argv[1:]))
"""
STEP_S = 0.06


@pytest.fixture
def pair(pair: Pair) -> Iterator[Pair]:
    pair.both("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE loose (n int)")
    yield pair
    remove_all(pair)


def run_until_done(pair: Pair, what: str) -> int:
    """Killed after ever longer; how often."""
    argv = [sys.executable, "-c", RUN, *(side.cluster.conninfo(side.name) for side in (pair.source, pair.target))]
    kills = 0
    while True:
        with subprocess.Popen([*argv, pair.plan_id, what], stderr=subprocess.PIPE, text=True) as process:
            try:
                process.wait(0.15 + STEP_S * kills)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
                continue
            assert process.stderr is not None
            assert process.returncode == 0, process.stderr.read()
            return kills


async def test_a_link_and_its_turning_round_survive_being_killed_again_and_again(pair: Pair) -> None:
    assert run_until_done(pair, "follow") > 2
    pair.source.run("INSERT INTO t SELECT generate_series(1, 50); INSERT INTO loose SELECT generate_series(1, 50)")
    await drained(ahead(pair))
    assert run_until_done(pair, "turn") > 2
    pair.target.run("DELETE FROM loose WHERE n > 10; INSERT INTO t VALUES (100)")
    await drained(back(pair))
    for side in (pair.source, pair.target):
        assert side.run("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM loose)") == [(51, 10)]
    name = back(pair).name
    assert {str(row[1]) for row in left_of(pair.source) + left_of(pair.target)} == {name, "marker"}
