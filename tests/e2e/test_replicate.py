"""Whole switchovers with a live copy: there, there and back, under users who go on, through restarts."""

from __future__ import annotations

import time

import pytest

from switchover.demo import texts
from switchover.demo.account import account
from switchover.plan.decide import way_back
from switchover.plan.progress import Passed
from tests.e2e.live import left, pauses, write
from tests.e2e.test_crash import NON_DEFAULT
from tests.e2e.world import State, World


@pytest.fixture(scope="session")
def undisturbed(world: World) -> State:
    """How a switchover with a live copy ends that nothing has disturbed."""
    world.copy, world.method = "stream", "replicate"
    world.prepare()
    ended = world.through()
    state = world.state()
    world.copy, world.method = "dump", "dump"
    assert ended.code == 0, ended.err
    return state


def test_a_live_copy_moves_everything_and_leaves_nothing(undisturbed: State, world: World) -> None:
    assert undisturbed.finished
    assert undisturbed.rows["old"] == undisturbed.rows["new"]
    assert [name for name in undisturbed.databases["new"] if name.startswith("switchover")] == []
    assert undisturbed.settings["new"][0] == 42
    assert left(world, "old") == left(world, "new") == []
    (pause,) = pauses(world)
    assert pause["undone"] == ""
    assert pause["paused_s"] < 5
    assert pause["reached_s"] > pause["paused_s"]
    assert f"**{pause['paused_s']:.2f} s**" in world.command("report").out


def test_there_and_back_twice_every_row_is_on_both_sides(live: World) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    for round in (1, 2):
        write(live, "old", 1000 * round)
        ended = live.through("verify")
        assert ended.code == 0, ended.err
        assert way_back(live.progress()).kind == "rollback"
        write(live, "new", 1000 * round + 500)
        written = live.rows("new")
        ended = live.command("rollback", "--yes")
        assert ended.code == 0, ended.err
        progress = live.progress()
        assert progress.rolled_back
        assert progress.passed is Passed.NOT
        after = live.state()
        assert after.rows["old"] == written
        assert after.settings == before.settings
        assert {address for _, address, _ in after.dns} == {texts.OLD}
        live.point(texts.OLD, 1)
    live.sql("old", "SET ROLE shop; INSERT INTO visits VALUES (now(), '/old-again', 1)")
    assert len(pauses(live)) == 4
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert left(live, "old") == left(live, "new") == []
    assert not [name for name in live.databases("new") if name.startswith("switchover_")]


def test_it_goes_on_after_either_server_was_restarted(live: World) -> None:
    live.prepare()
    for side in ("old", "new"):
        with live.away(side):
            pass
        write(live, "old", {"old": 1, "new": 1000}[side])
    ended = live.through("verify")
    assert ended.code == 0, ended.err
    for side in ("old", "new"):
        with live.away(side):
            pass
        write(live, "new", {"old": 2000, "new": 3000}[side])
    written = live.rows("new")
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert live.rows("old") == written


def test_users_who_order_all_the_time_lose_nothing_there_and_back(live: World) -> None:
    live.prepare()
    for name in ("acknowledged.log", "refused.log"):
        (live.lab.folder / name).unlink(missing_ok=True)
    live.lab.start_client()
    try:
        time.sleep(1)
        ended = live.through("verify")
        assert ended.code == 0, ended.err
        time.sleep(2)
        there = account(live.lab, "new")
        ended = live.command("rollback", "--yes")
        assert ended.code == 0, ended.err
        time.sleep(3)
    finally:
        live.lab.stop_client()
    assert there.by_new > 0
    found = account(live.lab, "old")
    assert found.holds, found.says()
    assert found.by_new > 0


def test_a_copy_by_way_of_files_follows_as_well(live: World) -> None:
    live.copy = "dump"
    live.prepare()
    write(live, "old", 1)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    assert left(live, "old") == left(live, "new") == []
