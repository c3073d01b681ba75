"""The worked example of the guide on reducing deployment downtime: what holds of its reasons, and what does not."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest

from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.rollout.advice import least_delay_s, lossless
from switchover.readiness.rollout.balancer import requests
from switchover.readiness.rollout.read import read_service
from switchover.readiness.rollout.settings import FirstCheck, HealthCheck, Image, OnFailure, Rollout, Update
from switchover.readiness.rollout.swarm import simulate
from switchover.readiness.rollout.timeline import Version
from tests.readiness.rollouts import EXAMPLE, SEED


@pytest.fixture
def example() -> Rollout:
    return replace(read_service(EXAMPLE, "service-a"), startup_s=20)


def test_the_file_holds_the_values_of_the_guide(example: Rollout) -> None:
    assert example == SEED


def test_start_stop_is_not_a_value_and_the_two_values_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    as_printed = Path("stack.yaml")
    as_printed.write_text(EXAMPLE.read_text().replace("order: start-first", "order: start-stop"))
    with pytest.raises(ComposeUnreadable) as raised:
        read_service(as_printed, "service-a")
    assert raised.value.problems == (
        "stack.yaml:20:16: services.service-a.deploy.update_config.order: 'start-stop' is not a value; "
        "start-first or stop-first",
    )


def test_it_holds_that_the_first_check_fails_and_the_second_or_third_passes(example: Rollout) -> None:
    assert example.balancer.check is not None
    every_s = example.balancer.check.interval_s
    first_s = [every_s * n / 10 for n in range(1, 11)]  # the first check comes within an interval of the start
    assert all(at_s < example.startup_s for at_s in first_s)
    assert {ceil((example.startup_s - at_s) / every_s) + 1 for at_s in first_s} == {2, 3}


def test_it_holds_that_there_are_two_batches_of_two(example: Rollout) -> None:
    taken = [task.taken_s for task in simulate(example).tasks if task.version is Version.NEW]
    assert taken == [0, 0, 41, 41]


@pytest.mark.parametrize("first_check", FirstCheck)
def test_it_holds_that_a_batch_is_served_before_the_next_one_goes(example: Rollout, first_check: FirstCheck) -> None:
    assert least_delay_s(example) == 35 <= example.update.delay_s
    found = requests(simulate(example), replace(example.balancer, first_check=first_check))
    failing = [span for run in found.runs for span in run]
    assert not [span for span in failing if span.until_s > 1 + 35 and span.from_s < 41 + 1]
    assert found.outage_s == 0


def test_it_does_not_hold_that_nothing_is_lost_two_of_four_are_twice(example: Rollout) -> None:
    found = simulate(example)
    assert (found.fewest, found.dips, found.lost_s) == (2, 2, 80)
    assert found.capacity == ((0, 4), (1, 2), (21, 4), (42, 2), (62, 4))
    assert requests(found, example.balancer).mean_s > 10


def test_it_is_better_than_the_defaults_all_the_same(example: Rollout) -> None:
    default = replace(example, update=Update())
    assert simulate(default).fewest == 0
    ours, theirs = (requests(simulate(each), each.balancer) for each in (example, default))
    assert ours.mean_s < theirs.mean_s
    assert ours.outage_s == 0 < theirs.outage_s


def test_the_health_check_that_stands_in_the_file_as_a_comment_is_all_it_lacks(tmp_path: Path) -> None:
    mended = tmp_path / "stack.yaml"
    mended.write_text(EXAMPLE.read_text().replace("    # ", "    "))
    settings = replace(read_service(mended, "service-a"), startup_s=20)
    assert settings.healthcheck == HealthCheck(10, 5, 3, 40)
    assert lossless(simulate(settings))


def test_without_a_health_check_a_rollback_loses_capacity_a_second_time(example: Rollout) -> None:
    back = replace(example, update=replace(example.update, on_failure=OnFailure.ROLLBACK))
    found = simulate(back, Image.EXITS)
    assert found.lost_s == 41 + 42
    assert simulate(replace(back, healthcheck=HealthCheck(10, 5, 3, 40)), Image.EXITS).lost_s == 0
