"""How long writes were paused, and how long until clients reached the other host: each try, and why it ended."""

from __future__ import annotations

import json

from switchover.plan.journal import What
from switchover.plan.outline import StepName
from switchover.report import as_json
from switchover.report.pauses import pauses
from tests.report.conftest import Story

FORTH = ("fence-source", "drain", "open-target", "set-address shop.example.com")
BACK = ("fence-target", "names-back", "open-source", "set-address shop.example.com")


def turned(story: Story, step: StepName, *actions: str, attempt: int = 1) -> None:
    story.begin(step, *actions, attempt=attempt)
    for action in actions:
        story.act(step, action)
    story.complete(step)


def undone(story: Story) -> None:
    story.begin(StepName.CUTOVER, *FORTH)
    story.act(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.INTENT, "drain", before={})
    story.tell(StepName.CUTOVER, What.FAILED, "drain", reason="not drained within 24s")
    story.tell(StepName.CUTOVER, What.UNDO, "fence-source")
    story.tell(StepName.CUTOVER, What.UNDONE, "fence-source", proof={})
    story.tell(StepName.CUTOVER, What.UNDONE, reason="not drained within 24s. Everything was put back.", asked=False)


def test_nothing_paused_is_nothing_said(story: Story) -> None:
    story.prepare()
    assert pauses(story.entries, 60) == ()
    assert "writes were paused" not in story.markdown()


def test_the_pause_and_the_way_of_the_clients_are_two_numbers(story: Story) -> None:
    story.prepare()
    turned(story, StepName.CUTOVER, *FORTH)
    (found,) = pauses(story.entries, 60)
    assert (found.step, found.attempt, found.undone) == ("cutover", 1, "")
    assert found.paused_s == 5
    assert found.reached_s == 7 + 60
    assert "**5.00 s** | 67.00 s" in story.markdown()


def test_each_try_is_counted_and_explained(story: Story) -> None:
    story.prepare()
    undone(story)
    turned(story, StepName.CUTOVER, *FORTH, attempt=2)
    first, second = pauses(story.entries, 60)
    assert (first.attempt, first.paused_s, first.reached_s) == (1, 5, None)
    assert first.undone.startswith("not drained within 24s")
    assert (second.attempt, second.undone) == (2, "")
    assert "undone: not drained within 24s" in story.markdown()


def test_the_way_back_has_its_own_pause(story: Story) -> None:
    story.prepare()
    turned(story, StepName.CUTOVER, *FORTH)
    turned(story, StepName.ROLLBACK, *BACK)
    forth, back = pauses(story.entries, 2)
    assert (forth.step, back.step) == ("cutover", "rollback")
    assert (back.paused_s, back.reached_s) == (5, 9)


def test_one_that_lasts_has_no_length(story: Story) -> None:
    story.prepare()
    story.begin(StepName.CUTOVER, *FORTH)
    story.act(StepName.CUTOVER, "fence-source")
    (found,) = pauses(story.entries, 60)
    assert (found.end, found.paused_s) == ("", None)
    assert "not known to have ended" in story.markdown()
    assert json.loads(as_json(story.report()))["pauses"][0]["paused_s"] is None


def test_a_run_that_was_killed_and_went_on_is_one_pause(story: Story) -> None:
    """The fence's settings stand through it all."""
    story.prepare()
    story.begin(StepName.CUTOVER, *FORTH)
    story.act(StepName.CUTOVER, "fence-source")
    for action in FORTH:
        story.act(StepName.CUTOVER, action)
    (found,) = pauses(story.entries, 60)
    assert found.paused_s == 7
