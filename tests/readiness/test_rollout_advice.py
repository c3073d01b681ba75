"""What to change: it loses nothing, it is written as in the file, and nothing shorter does."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from hypothesis import assume, given

from switchover.readiness.rollout.advice import changes, least_delay_s, lossless, mended, shortest
from switchover.readiness.rollout.balancer import requests
from switchover.readiness.rollout.settings import Balancer, HealthCheck, OnFailure, Order, Rollout, Update
from switchover.readiness.rollout.swarm import simulate
from switchover.readiness.rollout.timeline import Outcome
from tests.readiness.rollouts import PROBED, SEED, rollouts, seed, some


def told(before: Rollout, after: Rollout | None) -> dict[str, tuple[str, str]]:
    assert after is not None
    return {change.key: (change.now, change.to) for change in changes(before, after)}


def test_the_worked_example_lacks_a_health_check_and_nothing_else() -> None:
    assert told(SEED, mended(SEED)) == {
        "healthcheck.test": ("not set", "a command that asks /healthcheck"),
        "healthcheck.interval": ("not set", "10s"),
        "healthcheck.timeout": ("not set", "5s"),
        "healthcheck.start_period": ("not set", "40s"),
    }


def test_stop_first_has_to_become_start_first() -> None:
    before = seed(PROBED, order=Order.STOP_FIRST)
    assert told(before, mended(before)) == {"deploy.update_config.order": ("stop-first", "start-first")}


def test_a_health_check_that_gives_up_too_early_gets_a_start_period() -> None:
    before = seed(HealthCheck(5, 5, 3))
    assert told(before, mended(before)) == {"healthcheck.start_period": ("0s", "40s")}


def test_an_update_that_is_completed_and_never_takes_is_no_good_one() -> None:
    ignored = seed(HealthCheck(5, 5, 3), on_failure=OnFailure.CONTINUE)
    assert simulate(ignored).outcome is Outcome.COMPLETED
    assert not lossless(simulate(ignored))


def test_what_loses_nothing_is_left_as_it_is() -> None:
    assert mended(seed(PROBED)) == seed(PROBED)


def test_the_delay_covers_what_the_balancer_needs_to_see_a_batch() -> None:
    assert least_delay_s(SEED) == 20 + 10 + 5
    assert least_delay_s(seed(PROBED)) == 15 + 10
    assert least_delay_s(replace(SEED, balancer=replace(SEED.balancer, poll_s=30))) == 30 + 10 + 5
    assert least_delay_s(replace(seed(PROBED), balancer=Balancer(by_vip=True))) == 0


def test_the_shortest_of_the_worked_example_waits_for_poll_and_check_and_no_longer() -> None:
    found = shortest(seed(PROBED))
    assert told(seed(PROBED), found) == {"deploy.update_config.delay": ("40s", "25s")}


def test_one_replica_behind_a_polled_balancer_is_out_for_a_moment_whatever_the_settings() -> None:
    alone = replace(seed(PROBED), replicas=1)
    assert shortest(alone) is None
    assert shortest(replace(alone, balancer=Balancer(by_vip=True))) is not None


@some
@given(rollouts)
def test_the_advice_loses_nothing(settings: Rollout) -> None:
    found, best = mended(settings), shortest(settings)
    assert (found == settings) == lossless(simulate(settings))
    if found is not None:
        assert lossless(simulate(found))
    if best is not None:
        assert lossless(simulate(best))
        assert requests(simulate(best), best.balancer).outage_s == 0
        assert best.update.delay_s >= least_delay_s(best)
        assert 2 * best.update.parallelism <= max(2, best.replicas)


@some
@given(rollouts)
def test_no_other_setting_that_loses_nothing_is_shorter(settings: Rollout) -> None:
    best = shortest(settings)
    assume(best is not None)
    assert best is not None
    least_s, most = least_delay_s(best), max(1, best.replicas // 2)
    for parallelism, more_s, order in product(range(1, most + 1), (0, 0.5, 7), Order):
        update = Update(parallelism, least_s + more_s, order, settings.update.monitor_s)
        timeline = simulate(replace(best, update=update))
        if lossless(timeline):
            assert timeline.decided_s >= simulate(best).decided_s or requests(timeline, best.balancer).outage_s
