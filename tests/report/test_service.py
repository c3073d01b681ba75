"""How long users were without service: a number only where somebody looked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from switchover.plan.journal import What
from switchover.plan.outline import StepName
from tests.report.conftest import Story


def test_the_outage_is_stated_with_its_ends(finished: Story) -> None:
    service = finished.report().service

    assert service is not None
    assert service.complete
    assert service.unobserved == ()
    (down,) = service.downs
    assert (down.step, down.reason, down.seen_to_start, down.seen_to_end) == ("cutover", "status 503", True, True)
    assert service.total_s == down.seconds > 0
    assert [meter.step for meter in service.meters] == ["cutover", "verify"]


def test_a_cutover_without_a_meter_is_unknown_not_nought(story: Story) -> None:
    """A killed runner leaves its samples in the side file and no summary in the journal."""
    story.prepare()
    story.cut_over(metered="")
    report = story.report()

    assert report.service is not None
    assert (report.service.total_s, report.service.complete) == (None, False)
    assert len(report.service.unobserved) == 1
    assert "the whole time that users were without service" in report.not_proved
    assert "Not measured: unknown." in story.markdown()


def test_a_meter_without_a_single_sample_is_unknown(story: Story) -> None:
    story.prepare()
    story.cut_over(metered=" ")

    assert story.report().service.total_s is None  # type: ignore[union-attr]
    assert "0.00 s" not in story.markdown()


def test_time_between_two_runs_is_unobserved_and_the_total_a_part(story: Story) -> None:
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source", "open-target")
    started = story.now
    story.act(StepName.CUTOVER, "fence-source")
    story.meter(StepName.CUTOVER, started, "+-")
    story.now += timedelta(minutes=10)
    again = story.now
    story.begin(StepName.CUTOVER, "fence-source", "open-target")
    story.act(StepName.CUTOVER, "open-target")
    story.complete(StepName.CUTOVER)
    story.meter(StepName.CUTOVER, again, "-+")
    service = story.report().service

    assert service is not None
    assert not service.complete
    (gap,) = service.unobserved
    assert gap[2] == pytest.approx(600, abs=3)
    assert [(down.seen_to_start, down.seen_to_end) for down in service.downs] == [(True, False), (False, True)]
    assert "at least **" in story.markdown()
    assert "not observed, so unknown" in story.markdown()


def test_time_that_the_meter_itself_missed_is_unobserved(story: Story) -> None:
    story.prepare()
    story.cut_over(metered="+- -+")
    service = story.report().service

    assert service is not None
    assert len(service.unobserved) == 1
    assert len(service.downs) == 2


def test_a_failed_attempt_days_ago_leaves_no_gap_of_days(story: Story) -> None:
    story.prepare()
    story.begin(StepName.CUTOVER, "fence-source")
    started = story.now
    story.act(StepName.CUTOVER, "fence-source")
    story.tell(StepName.CUTOVER, What.UNDO, "fence-source")
    story.tell(StepName.CUTOVER, What.UNDONE, "fence-source", proof={})
    story.tell(StepName.CUTOVER, What.UNDONE, reason="asked", asked=True)
    story.meter(StepName.CUTOVER, started, "+-+")
    story.now += timedelta(days=3)
    story.cut_over()
    service = story.report().service

    assert service is not None
    assert service.complete
    assert len(service.downs) == 2
    assert service.total_s == sum(down.seconds for down in service.downs)


def test_a_summary_with_missing_or_odd_keys_claims_nothing(story: Story) -> None:
    story.prepare()
    story.cut_over(metered="")
    for summary in ({}, {"total_s": "0", "samples": True, "outages": 7, "unobserved": [1, [2]], "first": "today"}):
        story.tell(StepName.CUTOVER, What.EVIDENCE, kind="outage", summary=summary)

    assert story.report().service.total_s is None  # type: ignore[union-attr]
    assert "Not measured: unknown." in story.markdown()
