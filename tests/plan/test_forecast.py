"""How long the cutover will take: what was rehearsed, scaled by what the source has grown, as a range."""

from __future__ import annotations

import pytest

from switchover.plan.decide import expected_s, forecast, growth
from switchover.plan.journal import Json, What
from switchover.plan.outline import StepName
from switchover.plan.progress import Progress, fold
from tests.report.conftest import Story

MEGABYTE = 1_000_000


def rehearsed(size: Json = 100 * MEGABYTE, **seconds: Json) -> Story:
    story = Story()
    story.begin(StepName.REHEARSAL)
    story.complete(StepName.REHEARSAL, seconds=seconds, size=size)
    return story


def progress(story: Story) -> Progress:
    return fold(story.spec, story.entries)


def test_before_a_rehearsal_nothing_is_foretold() -> None:
    assert forecast(progress(Story())) is None
    assert expected_s(progress(Story()), "dump-final") is None


def test_it_is_the_measured_phases_as_a_range() -> None:
    found = forecast(progress(rehearsed(stream=60.0, analyze=10.0, compare=30.0)))
    assert found is not None
    assert (found.copy_s, found.low_s, found.high_s) == (100, 80, 155)


@pytest.mark.parametrize(
    ("now", "factor"), [(100 * MEGABYTE, 1.0), (250 * MEGABYTE, 2.5), (50 * MEGABYTE, 0.5), (0, 1.0)]
)
def test_it_grows_with_the_source(now: int, factor: float) -> None:
    found = forecast(progress(rehearsed(dump=40.0, restore=60.0, analyze=0.0, compare=0.0)), now)
    assert found is not None
    assert found.copy_s == pytest.approx(100 * factor)


def test_the_size_seen_last_counts() -> None:
    story = rehearsed(stream=10.0, analyze=1.0, compare=5.0)
    story.begin(StepName.WINDOW)
    story.complete(StepName.WINDOW, size=200 * MEGABYTE)
    assert growth(progress(story)) == 2.0
    story.begin(StepName.CUTOVER, "fence-source", "stream-final", "compare-final")
    story.tell("cutover", What.INTENT, "fence-source", before={"size": 300 * MEGABYTE})
    assert growth(progress(story)) == 3.0
    assert expected_s(progress(story), "stream-final") == pytest.approx((11 * 3 * 0.8, 11 * 3 * 1.5 + 1))
    assert expected_s(progress(story), "compare-final") == pytest.approx((5 * 3 * 0.8, 5 * 3 * 1.5 + 1))
    assert expected_s(progress(story), "dump-final") is None


@pytest.mark.parametrize("size", [None, 0, "many"])
def test_an_unknown_size_scales_nothing(size: Json) -> None:
    assert growth(progress(rehearsed(size=size, stream=1.0)), 10 * MEGABYTE) == 1.0
