"""Which settings to change so that an update loses nothing, found by trying them in the simulator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from math import ceil
from typing import TYPE_CHECKING

from switchover.readiness.rollout.balancer import requests
from switchover.readiness.rollout.settings import HealthCheck, Order
from switchover.readiness.rollout.swarm import simulate
from switchover.readiness.rollout.timeline import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.rollout.settings import Rollout
    from switchover.readiness.rollout.timeline import Timeline


NOT_SET = "not set"


@dataclass(frozen=True, slots=True)
class Change:
    """One value to change."""

    key: str
    now: str
    to: str


def lossless(timeline: Timeline) -> bool:
    """Whether the update completes, takes everywhere, and all replicas serve all the time."""
    return timeline.outcome is Outcome.COMPLETED and timeline.takes and timeline.fewest >= timeline.replicas


def mended(settings: Rollout) -> Rollout | None:
    """The settings with the fewest repairs that lose nothing; None when no repair known here does it."""
    repairs = (_start_first, _checked, _patient)
    for number in range(len(repairs) + 1):
        for chosen in combinations(repairs, number):
            tried = settings
            for repair in chosen:
                tried = repair(tried)
            if lossless(simulate(tried)):
                return tried
    return None


def shortest(settings: Rollout) -> Rollout | None:
    """The settings whose update is shortest, of those that lose nothing and never leave all requests without an answer.

    At most half of the replicas go at a time, and ``delay`` gives the load balancer time to see each batch. Of equals,
    the one with fewer containers at once, then the one that probes less often.
    """
    base = mended(settings)
    if base is None:
        return None
    tried = [(one, timeline) for one in _variants(base) if lossless(timeline := simulate(one))]
    tried.sort(key=lambda pair: _cost(*pair))
    return next((one for one, timeline in tried if requests(timeline, one.balancer).outage_s == 0), None)


def least_delay_s(settings: Rollout) -> float:
    """The shortest ``delay`` after which the load balancer sends requests to a batch before the next one goes.

    s + i + t without a container health check, with a slow poll p for s where that is longer; p + i with one, for then
    RUNNING covers the start-up. Nothing where Docker's own address is used and the health check gates.
    """
    balancer = settings.balancer
    sees_s = 0 if balancer.by_vip else balancer.poll_s
    check = None if balancer.by_vip else balancer.check
    if settings.healthcheck is not None:
        return sees_s + (check.interval_s if check else 0)
    return max(settings.startup_s, sees_s) + (check.interval_s + check.timeout_s if check else 0)


def better_informed(settings: Rollout) -> Iterator[tuple[str, Rollout]]:
    """What the load balancer could be told, and the settings with it."""
    balancer = settings.balancer
    if not balancer.by_vip and balancer.poll_s > 1:
        yield "--providers.swarm.refreshSeconds=1 on Traefik", replace(settings, balancer=replace(balancer, poll_s=1))
    if not balancer.by_vip:
        yield "the label traefik.swarm.lbswarm=true", replace(settings, balancer=replace(balancer, by_vip=True))


def changes(before: Rollout, after: Rollout) -> tuple[Change, ...]:
    """The values that differ, as they are written in the file; Docker's defaults need not be written."""
    was, becomes, usual = _written(before), _written(after), _probes(HealthCheck())
    found = [
        Change(key, was.get(key, NOT_SET), value)
        for key, value in becomes.items()
        if was.get(key, usual.get(key)) != value
    ]
    if before.healthcheck is None and after.healthcheck is not None:
        asked = before.balancer.check.path if before.balancer.check else "whether the container is ready"
        found.insert(0, Change("healthcheck.test", NOT_SET, f"a command that asks {asked}"))
    return tuple(found)


def _written(settings: Rollout) -> dict[str, str]:
    update = settings.update
    return (_probes(settings.healthcheck) if settings.healthcheck is not None else {}) | {
        "deploy.update_config.order": update.order,
        "deploy.update_config.parallelism": str(update.parallelism),
        "deploy.update_config.delay": seconds(update.delay_s),
    }


def _probes(check: HealthCheck) -> dict[str, str]:
    return {
        "healthcheck.interval": seconds(check.interval_s),
        "healthcheck.timeout": seconds(check.timeout_s),
        "healthcheck.retries": str(check.retries),
        "healthcheck.start_period": seconds(check.start_period_s),
        "healthcheck.start_interval": seconds(check.start_interval_s),
    }


def seconds(value: float) -> str:
    """A length of time as a Compose file takes it: "40s", "0.5s"."""
    return f"{value:g}s"


def _start_first(settings: Rollout) -> Rollout:
    return replace(settings, update=replace(settings.update, order=Order.START_FIRST))


def _checked(settings: Rollout) -> Rollout:
    """A health check where there is none; a failure in the start period costs nothing, so it is twice the start-up."""
    if settings.healthcheck is not None:
        return settings
    return replace(settings, healthcheck=HealthCheck(10, 5, 3, ceil(2 * settings.startup_s)))


def _patient(settings: Rollout) -> Rollout:
    """A start period in which the container can start."""
    check = settings.healthcheck
    if check is None:
        return settings
    return replace(settings, healthcheck=replace(check, start_period_s=ceil(2 * settings.startup_s)))


def _variants(base: Rollout) -> Iterator[Rollout]:
    check, least_s = base.healthcheck, least_delay_s(base)
    gates: list[HealthCheck | None] = [check]
    if check is not None:
        period_s = max(check.start_period_s, ceil(2 * base.startup_s))
        gates += [replace(check, start_period_s=period_s, start_interval_s=every_s) for every_s in (5, 2, 1)]
    for gate, parallelism in product(gates, _parallelisms(base.replicas)):
        update = replace(base.update, parallelism=parallelism, delay_s=least_s)
        yield replace(base, healthcheck=gate, update=update)


def _parallelisms(replicas: int) -> set[int]:
    """Up to half of the replicas; of those that make as many batches, the least."""
    batches = {ceil(replicas / most) for most in range(1, max(1, replicas // 2) + 1)}
    return {ceil(replicas / number) for number in batches}


def _cost(settings: Rollout, timeline: Timeline) -> tuple[float, int, float]:
    every_s = settings.healthcheck.start_interval_s if settings.healthcheck else 0
    return timeline.decided_s, settings.update.parallelism, -every_s
