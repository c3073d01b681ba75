"""The chart: what it shows of the worked example, and that it fits wherever it is drawn."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from switchover.readiness.rollout.balancer import requests
from switchover.readiness.rollout.chart import chart
from switchover.readiness.rollout.settings import Image, Rollout
from switchover.readiness.rollout.swarm import simulate
from tests.readiness.rollouts import PROBED, SEED, rollouts, seed, some

WORKED = """\
 4 serve ░░░░░░░░░░░░███████████░░░░░░░░░░░░███████████████████████████████████
 3       ░░░░░░░░░░░░███████████░░░░░░░░░░░░███████████████████████████████████
 2       ██████████████████████████████████████████████████████████████████████
 1 serve ██████████████████████████████████████████████████████████████████████
 failing ▂▄▃▃▃▃▃▃▃▃▃▂           ▂▄▄▃▃▃▃▃▃▃▃▂
         ┬───────────────┬────────────────┬────────────────┬────────────────┬──
         0s              30s              1m               1m30s            2m
  slot 1 ░░░░░░░░░░░░━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
  slot 2 ░░░░░░░░░░░░━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
  slot 3 ───────────────────────░░░░░░░░░░░░━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
  slot 4 ───────────────────────░░░░░░░░░░░░━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
         ─ old serves   ░ none serves, new starts   ━ new serves"""


def drawn(settings: Rollout, width: int = 80, *, ascii_only: bool = False) -> list[str]:
    timeline = simulate(settings)
    text = chart(timeline, requests(timeline, settings.balancer), width, ascii_only=ascii_only)
    return [line.rstrip() for line in text.plain.split("\n")]


def test_the_worked_example_shows_both_dips() -> None:
    assert drawn(SEED) == WORKED.split("\n")


def test_with_a_health_check_the_old_ones_serve_while_the_new_ones_start() -> None:
    shown = drawn(seed(PROBED))
    assert "░" not in "".join(shown)
    assert shown[-1].split("   ")[-3:] == ["─ old serves", "┄ old serves, new starts", "━ new serves"]


def test_every_mark_has_an_ascii_form() -> None:
    assert "".join(drawn(SEED, ascii_only=True)).isascii()


def test_a_gap_of_a_second_in_half_an_hour_is_seen() -> None:
    brief = replace(seed(delay_s=900), startup_s=0.5)
    assert sum("░" in line for line in drawn(brief)) == 2 + 4 + 1  # two levels, four slots, the legend


def test_of_many_replicas_the_rest_is_counted() -> None:
    shown = drawn(replace(SEED, replicas=1000))
    assert max(map(len, shown)) == 79
    assert sum(line.startswith("  slot") for line in shown) == 8
    assert "and 992 more" in "".join(shown)


def test_colours_are_of_the_sixteen_and_say_nothing_that_the_marks_do_not() -> None:
    timeline = simulate(SEED, Image.EXITS)
    for span in chart(timeline, None).spans:
        assert set(str(span.style).split()) <= {"bold", "dim", "red", "green", "yellow", "cyan"}


@some
@given(rollouts, st.sampled_from(Image), st.integers(40, 200), st.booleans())
def test_no_line_is_wider_than_the_terminal(settings: Rollout, image: Image, width: int, ascii_only: bool) -> None:
    timeline = simulate(settings, image)
    failing = requests(timeline, settings.balancer) if image is Image.WORKS else None
    lines = chart(timeline, failing, width, ascii_only=ascii_only).plain.split("\n")
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "\n".join(lines).isascii() or not ascii_only
