"""A plan with a live copy: a step more, another way back, and two clocks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from switchover.plan.decide import (
    clocks,
    forecast,
    has_live_copy,
    may_run,
    next_key,
    replicates,
    step_of,
    way_back,
)
from switchover.plan.journal import What
from switchover.plan.outline import STEPS, StepName, steps_of
from switchover.plan.progress import Passed, Progress, StepStatus, fold
from tests.report.conftest import Story

CUTOVER = ("catch-up", "fence-source", "drain", "open-target", "set-address shop.example.com")


@pytest.fixture
def story() -> Story:
    story = Story()
    database = story.spec.database.model_copy(update={"method": "replicate"})
    story.spec = story.spec.model_copy(update={"database": database})
    return story


def progress(story: Story) -> Progress:
    return fold(story.spec, story.entries)


def replicated(story: Story) -> None:
    """Everything before the cutover."""
    story.prepare()
    story.begin(StepName.REPLICATE, "publish", "follow")
    story.act(StepName.REPLICATE, "publish")
    story.act(StepName.REPLICATE, "follow")
    story.complete(StepName.REPLICATE)


def opened(story: Story) -> None:
    """A cutover as far as its end."""
    story.begin(StepName.CUTOVER, *CUTOVER)
    for action in CUTOVER:
        story.act(StepName.CUTOVER, action)
    story.complete(StepName.CUTOVER)


def test_only_a_live_copy_has_the_step() -> None:
    assert [info.name for info in steps_of("replicate")] == [info.name for info in STEPS]
    names = [info.name for info in steps_of("dump")]
    assert StepName.REPLICATE not in names
    assert len(names) == len(STEPS) - 1
    assert all(StepName.REPLICATE not in info.needs for info in steps_of("dump"))


def test_window_and_cutover_wait_for_the_copy(story: Story) -> None:
    story.prepare()
    found = progress(story)
    assert found.next is StepName.REPLICATE
    assert "Replicate is ready" in may_run(found, StepName.CUTOVER)
    assert not has_live_copy(found)
    replicated_story = Story()
    replicated_story.spec = story.spec
    replicated(replicated_story)
    found = progress(replicated_story)
    assert found.next is StepName.CUTOVER
    assert may_run(found, StepName.CUTOVER) == ""
    assert has_live_copy(found)


def test_without_one_nothing_waits_for_it() -> None:
    story = Story()
    story.prepare()
    found = progress(story)
    assert not replicates(found)
    assert may_run(found, StepName.CUTOVER) == ""
    assert way_back(found).kind == "nothing"


def test_before_the_cutover_going_back_gives_the_copy_up(story: Story) -> None:
    replicated(story)
    assert way_back(progress(story)).kind == "undo"
    assert "gives the live copy up" in way_back(progress(story)).says
    story.tell(StepName.REPLICATE, What.UNDO, "publish")
    story.tell(StepName.REPLICATE, What.UNDONE, "publish", proof={})
    story.tell(StepName.REPLICATE, What.UNDONE, reason="given up", asked=True)
    found = progress(story)
    assert way_back(found).kind == "nothing"
    assert step_of(found, StepName.REPLICATE).status is StepStatus.UNDONE


def test_what_a_server_that_is_away_still_has_is_not_forgotten(story: Story) -> None:
    replicated(story)
    story.tell(StepName.REPLICATE, What.UNDO, "publish")
    story.tell(StepName.REPLICATE, What.UNDO_FAILED, "publish", reason="still there: slot")
    story.tell(StepName.REPLICATE, What.UNKNOWN, reason="the undo stopped")
    assert has_live_copy(progress(story))
    assert way_back(progress(story)).kind == "undo"


def test_once_the_target_is_open_every_row_comes_back(story: Story) -> None:
    replicated(story)
    opened(story)
    found = progress(story)
    assert found.passed is Passed.MAYBE
    assert (way_back(found).kind, "every row" in way_back(found).says) == ("rollback", True)


def test_after_a_rollback_the_copy_is_there_for_the_next_cutover(story: Story) -> None:
    replicated(story)
    opened(story)
    story.begin(StepName.ROLLBACK, "fence-target")
    story.act(StepName.ROLLBACK, "fence-target")
    story.complete(StepName.ROLLBACK)
    found = progress(story)
    assert found.rolled_back
    assert found.next is StepName.CUTOVER
    assert step_of(found, StepName.REPLICATE).status is StepStatus.DONE
    assert "gives the live copy up" in way_back(found).says


def test_the_forecast_does_not_grow_with_the_size(story: Story) -> None:
    replicated(story)
    expected = forecast(progress(story), 10**13)
    assert expected is not None
    assert expected.high_s <= 10


def test_the_key_says_that_writes_only_pause(story: Story) -> None:
    replicated(story)
    key = next_key(story.spec, progress(story), story.now)
    assert (key.label, key.confirm) == ("start the cutover", "type")
    assert "writes pause" in key.consequence
    assert "30s at most" in key.consequence


def test_the_last_key_says_that_the_way_back_closes(story: Story) -> None:
    replicated(story)
    opened(story)
    story.begin(StepName.VERIFY)
    story.complete(StepName.VERIFY)
    key = next_key(story.spec, progress(story), story.now)
    assert key.step is StepName.FINISH
    assert "the way back closes" in key.consequence
    assert key.confirm == "yes"


def test_two_clocks_run_and_are_not_mixed(story: Story) -> None:
    replicated(story)
    assert clocks(story.spec, progress(story), story.now) is None
    story.begin(StepName.CUTOVER, *CUTOVER)
    story.act(StepName.CUTOVER, "catch-up")
    started = story.now
    story.act(StepName.CUTOVER, "fence-source")
    running = clocks(story.spec, progress(story), started + timedelta(seconds=7))
    assert running is not None
    assert (running.paused_s, running.pausing, running.reached_s) == (7, True, None)
    for action in CUTOVER[2:]:
        story.act(StepName.CUTOVER, action)
    done = clocks(story.spec, progress(story), story.now)
    assert done is not None
    assert (done.paused_s, done.pausing, done.undone) == (5, False, False)
    assert done.reached_s == 7 + story.spec.dns.low_ttl


def test_a_try_that_was_undone_is_followed_by_a_new_one_with_its_own_gates_and_go(story: Story) -> None:
    replicated(story)
    story.begin(StepName.CUTOVER, *CUTOVER)
    for action in CUTOVER[:3]:
        story.act(StepName.CUTOVER, action)
    story.tell(StepName.CUTOVER, What.UNDO, "fence-source")
    story.tell(StepName.CUTOVER, What.UNDONE, "fence-source", proof={})
    story.tell(StepName.CUTOVER, What.UNDONE, reason="not drained within 24s", asked=False)
    state = step_of(progress(story), StepName.CUTOVER)
    assert (state.status, state.put_back) == (StepStatus.FAILED, True)
    undone = clocks(story.spec, progress(story), story.now)
    assert undone is not None
    assert (undone.undone, undone.pausing) == (True, False)
    story.begin(StepName.CUTOVER, *CUTOVER, attempt=2)
    assert not step_of(progress(story), StepName.CUTOVER).put_back
