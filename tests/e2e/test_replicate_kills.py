"""Killed at any point and run again, or gone back from, a switchover with a live copy loses and leaves nothing."""

from __future__ import annotations

import pytest

from switchover.demo import texts
from switchover.plan.decide import has_live_copy
from tests.e2e.live import left, write
from tests.e2e.test_crash import NON_DEFAULT, assert_as
from tests.e2e.world import State, World

MADE = [
    "before:kill:replicate/make-slot/done",
    "before:kill:replicate/subscribe/done",
    "before:kill:replicate/follow/done",
]
MOVED = [
    "before:kill:cutover/drain/done",
    "before:kill:cutover/prepare-back/done",
    "before:kill:cutover/open-target/done",
    "before:kill:cutover/follow-back/done",
    "before:kill:finish/end-links/done",
]
UNDONE = [
    "before:kill:cutover/prepare-back/done",
    "after:kill:cutover/open-target/intent",
]
BACK = [
    "before:kill:rollback/prepare-ahead/done",
    "before:kill:rollback/names-back/done",
    "before:kill:rollback/follow-ahead/done",
    "after:kill:rollback//complete",
]


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


@pytest.mark.parametrize("fault", MADE)
def test_killed_while_it_is_made_and_run_again_it_ends_the_same(live: World, undisturbed: State, fault: str) -> None:
    live.reset()
    assert live.killed("replicate", fault)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert_as(undisturbed, live.state())
    assert left(live, "old") == left(live, "new") == []


@pytest.mark.parametrize("fault", MOVED)
def test_killed_from_the_cutover_on_and_run_again_it_ends_the_same(live: World, undisturbed: State, fault: str) -> None:
    live.prepare()
    assert live.killed("finish", fault)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert_as(undisturbed, live.state())
    assert left(live, "old") == left(live, "new") == []


@pytest.mark.parametrize("fault", UNDONE)
def test_killed_and_undone_the_old_host_is_as_before_and_the_copy_follows(live: World, fault: str) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    assert live.killed("cutover", fault)
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    after = live.state()
    assert (after.settings, after.rows["old"], after.dns) == (before.settings, before.rows["old"], before.dns)
    write(live, "old", 1)
    ended = live.through()
    assert ended.code == 0, ended.err
    state = live.state()
    assert state.rows["old"] == state.rows["new"]
    assert left(live, "old") == left(live, "new") == []


@pytest.mark.parametrize("fault", BACK)
def test_killed_on_the_way_back_and_run_again_every_row_comes_along(live: World, fault: str) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    assert live.through("cutover").code == 0
    write(live, "new", 500)
    written = live.rows("new")
    assert live.command("rollback", "--yes", fault=fault).code == -9
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    after = live.state()
    assert after.rows["old"] == written
    assert after.settings == before.settings
    assert has_live_copy(live.progress())
    live.point(texts.OLD, 1)
    write(live, "old", 600)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    assert left(live, "old") == left(live, "new") == []


def test_a_return_that_was_cut_off_when_all_was_done_is_not_taken_for_another_one(live: World) -> None:
    live.prepare()
    assert live.killed("cutover", UNDONE[0])
    assert live.command("rollback", "--yes", fault="after:kill:cutover//undone").code == -9
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert "had gone back already" in ended.err
    assert has_live_copy(live.progress())
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert not has_live_copy(live.progress())
    assert left(live, "old") == left(live, "new") == []
