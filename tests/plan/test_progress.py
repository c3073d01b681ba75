"""What the journal says of an action when a run was cut off, or could not look."""

from __future__ import annotations

from switchover.plan.decide import step_of, way_back
from switchover.plan.journal import What
from switchover.plan.outline import StepName
from switchover.plan.progress import ActionState, Folding, fold, touched
from tests.report.conftest import Story


def fence(story: Story) -> ActionState:
    state = step_of(fold(story.spec, story.entries), StepName.CUTOVER)
    return next(each for each in state.actions if each.id == "fence-source")


def test_what_could_only_not_be_looked_at_is_not_undone_and_keeps_the_settings_that_are_seen_later() -> None:
    story = Story()
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.UNKNOWN, "fence-source", reason="the server does not answer", seen={})
    assert not touched(fence(story))
    story.tell(StepName.CUTOVER, What.INTENT, "fence-source", before={"limit": 50})
    assert touched(fence(story))
    assert fence(story).before == {"limit": 50}


def test_a_second_intent_does_not_hide_the_settings_of_before_the_first() -> None:
    story = Story()
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.INTENT, "fence-source", before={"limit": 50})
    story.tell(StepName.CUTOVER, What.UNKNOWN, "fence-source", reason="the server does not answer", seen={})
    story.begin(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.INTENT, "fence-source", before={"limit": 0})
    assert touched(fence(story))
    assert fence(story).before == {"limit": 50}
    story.tell(StepName.CUTOVER, What.UNDONE, "fence-source", proof={})
    assert not touched(fence(story))


def test_a_journal_that_grows_is_told_as_if_it_were_read_anew_and_another_one_is_not_mixed_in() -> None:
    story, other = Story(), Story()
    for each in (story, other):
        each.prepare()
    story.cut_over()
    folding = Folding(story.spec)
    for known in (*range(len(story.entries) + 1), 3, len(story.entries)):
        assert folding.progress(story.entries[:known]) == fold(story.spec, story.entries[:known])
    assert folding.progress(other.entries) == fold(story.spec, other.entries)


def test_what_an_undo_may_have_left_behind_is_undone_again_where_no_live_copy_takes_it_along() -> None:
    story = Story()
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.INTENT, "fence-source", before={"limit": 50})
    story.tell(StepName.CUTOVER, What.UNDONE, reason="it failed. Left behind: the copy.", asked=False)
    assert way_back(fold(story.spec, story.entries)).kind == "undo"
