"""What is compared while writes are paused: as much as there is time for, the smallest tables first."""

from __future__ import annotations

import pytest

from switchover.postgres.table import Table
from switchover.steps.context import Pause
from switchover.steps.last_look import affordable

MEGABYTE = 1_000_000


def table(name: str, size: int) -> Table:
    return Table(name, "public", name, size, ("id",), ("int8",), ("id",), None)


TABLES = (table("big", 1970 * MEGABYTE), table("small", 10 * MEGABYTE), table("middle", 20 * MEGABYTE))


@pytest.mark.parametrize(
    ("whole_s", "seconds", "chosen"),
    [
        (100.0, 0.0, ("small",)),
        (100.0, 1.0, ("small",)),
        (100.0, 2.0, ("small", "middle")),
        (1.5, 2.0, ("small", "middle", "big")),
        (0.0, 2.0, ("small", "middle", "big")),
        (None, 2.0, ("small",)),
    ],
)
def test_the_smallest_first_as_long_as_there_is_time(
    whole_s: float | None, seconds: float, chosen: tuple[str, ...]
) -> None:
    assert affordable(TABLES, whole_s, seconds) == chosen


def test_what_was_proved_behind_another_fence_proves_nothing() -> None:
    pause = Pause()
    pause.begin()
    pause.compared = {"verdict": "same"}
    assert 9 < pause.left_s(10) <= 10
    pause.begin()
    assert pause.compared is None


def test_a_budget_that_is_used_up_is_still_a_deadline() -> None:
    pause = Pause()
    pause.begin()
    assert pause.left_s(0) > 0
