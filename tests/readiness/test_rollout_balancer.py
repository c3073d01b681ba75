"""Which requests fail: against sums done by hand, and against a balancer that is stepped through the time."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import assume, given

from switchover.readiness.rollout.balancer import PHASES, requests
from switchover.readiness.rollout.settings import Balancer, FirstCheck, HealthCheck, Order, Rollout, Update
from switchover.readiness.rollout.swarm import simulate
from switchover.readiness.rollout.timeline import Timeline
from tests.readiness.rollouts import CHECK, PROBED, SEED, lengths, rollouts, seed, some

VIP = Balancer(CHECK, by_vip=True)
BLIND = Balancer(None)


def mean_s(settings: Rollout) -> float:
    return requests(simulate(settings), settings.balancer).mean_s


def test_by_the_virtual_address_half_the_requests_fail_while_half_the_containers_start() -> None:
    assert mean_s(replace(SEED, balancer=VIP)) == 2 * 20 / 2
    assert mean_s(replace(seed(PROBED), balancer=VIP)) == 0


def test_without_a_check_the_removed_half_is_asked_until_the_next_poll() -> None:
    half_a_phase_s = 15 / PHASES / 2
    assert mean_s(replace(seed(PROBED), balancer=BLIND)) == pytest.approx(2 * (15 / 2) / 2, abs=half_a_phase_s)
    assert mean_s(replace(seed(PROBED), balancer=replace(BLIND, poll_s=1))) == pytest.approx(2 * (1 / 2) / 2, abs=0.05)


def test_when_nobody_serves_every_request_fails() -> None:
    everything_at_once = replace(seed(parallelism=0, delay_s=0), balancer=VIP)
    found = requests(simulate(everything_at_once), VIP)
    assert (found.mean_s, found.worst_s, found.outage_s) == (20, 20, 20)


MEASURED = {
    # mean seconds of traffic that fail, by another simulation, of 30 phases
    "the worked example": (SEED, 12.8),
    "it, with Traefik 2.11": (replace(SEED, balancer=Balancer(CHECK, first_check=FirstCheck.AT_ONCE)), 3.7),
    "with a health check": (seed(PROBED), 4.1),
    "and a poll every second": (
        replace(seed(HealthCheck(10, 5, 3, 40, 2), delay_s=10), balancer=Balancer(CHECK, 1)),
        0.25,
    ),
    "stop-first": (seed(order=Order.STOP_FIRST), 13.3),
    "delay 20": (seed(delay_s=20), 12.7),
    "Docker's defaults": (replace(SEED, update=Update()), 23),
}


@pytest.mark.parametrize("name", MEASURED)
def test_another_simulation_found_about_the_same(name: str) -> None:
    settings, expected = MEASURED[name]
    assert mean_s(settings) == pytest.approx(expected, abs=1)


STEP_S = 0.125


def stepped(timeline: Timeline, balancer: Balancer, poll_at_s: float, check_at_s: float, until_s: float) -> float:
    """Failing seconds of traffic, every step looked at; only for clocks that tick on whole steps."""
    tasks = range(len(timeline.tasks))
    listed = {n for n in tasks if timeline.tasks[n].counts(-1)}
    up, next_check, failing = set(listed), check_at_s, 0.0
    moves = {0.0, *(event.at_s for event in timeline.events)}
    for step in range(int(until_s / STEP_S)):
        now = step * STEP_S
        if now in moves:
            counting = {n for n in tasks if timeline.tasks[n].counts(now)}
            serving = {n for n in tasks if timeline.tasks[n].serves(now)}
        if balancer.by_vip:
            up = counting
        else:
            if now >= poll_at_s and (now - poll_at_s) % balancer.poll_s == 0 and counting != listed:
                listed = up = counting
                if balancer.check is not None:
                    at_once = balancer.first_check is FirstCheck.AT_ONCE
                    next_check = now + (0 if at_once else balancer.check.interval_s)
            if balancer.check is not None and now == next_check:
                up = listed & serving
                next_check += balancer.check.interval_s
        failing += STEP_S * (len(up - serving) / len(up) if up else 1)
    return failing


@some
@given(rollouts, lengths(1, 3), lengths(1, 3))
def test_a_balancer_stepped_through_the_time_finds_the_same(settings: Rollout, poll_s: float, check_s: float) -> None:
    # multiples of the step in every phase
    check = replace(CHECK, interval_s=check_s * PHASES) if settings.balancer.check else None
    balancer = replace(settings.balancer, poll_s=poll_s * PHASES, check=check)
    timeline = simulate(settings)
    assume(timeline.ends_s < 300)
    found = requests(timeline, balancer)
    phases = list(
        product(
            [0.0] if balancer.by_vip else [poll_s * (n + 0.5) for n in range(PHASES)],
            [0.0] if balancer.by_vip or not check else [check_s * (n + 0.5) for n in range(PHASES)],
        )
    )
    until_s = timeline.ends_s
    if not balancer.by_vip:
        until_s += balancer.poll_s + 2 * (check.interval_s if check else 0)
    for at in (0, len(phases) // 3, len(phases) - 1):
        expected = stepped(timeline, balancer, *phases[at], until_s)
        assert sum(span.failing_s for span in found.runs[at]) == pytest.approx(expected, abs=1e-6)


@some
@given(rollouts)
def test_the_shares_of_all_columns_are_all_that_fails(settings: Rollout) -> None:
    found = requests(simulate(settings), settings.balancer)
    assert found.mean_s <= found.worst_s < inf
    assert found.outage_s <= found.worst_s + 1e-9
    shares = found.shares(found.until_s / 50 or 1, 51)
    assert sum(shares) * (found.until_s / 50 or 1) == pytest.approx(found.mean_s)
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
