"""The timeline of a rolling update: against tables computed by hand, and what holds whatever the settings."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf, isfinite

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from switchover.readiness.rollout.settings import HealthCheck, Image, OnFailure, Rollout, Update
from switchover.readiness.rollout.swarm import simulate
from switchover.readiness.rollout.timeline import Outcome, Timeline, Version, What
from tests.readiness.rollouts import PROBED, SEED, START, STOP, rollouts, seed, some

# One container a second to create and one to stop. Columns: all serve from, completed at, fewest that serve,
# replica-seconds lost, dips, most containers at a time.
BY_HAND = {
    # batches at 0 and 41, started a second later, serving 20 s after that; 41 + (1 + 40) + the last watch of 40 + 1
    "the worked example": (SEED, (62, 123, 2, 2 * 2 * 20, 2, 6)),
    # a probe at 10 fails, the one at 20 passes: RUNNING 21 s after each start; batches at 0 and 61
    "with a health check": (seed(PROBED), (82, 163, 4, 0, 0, 6)),
    # probes at 2, 4, …, 20; batches at 0 and 31; the watch is 10 + 1
    "probed often, short delay": (seed(HealthCheck(10, 5, 3, 40, 2), delay_s=10), (52, 73, 4, 0, 0, 6)),
    # the old one is told at 0 and 41 and needs a second to stop: 21 s without it, each
    "stop-first": (seed(order=STOP), (62, 123, 2, 4 * 21, 2, 4)),
    # batch 1 serves from 21 on, batch 2 is started at 22
    "delay 20": (seed(delay_s=20), (42, 63, 2, 80, 2, 6)),
    # batch 2 is started at 12, batch 1 serves from 21 on: nobody serves in between
    "delay 10": (seed(delay_s=10), (32, 33, 0, 80, 1, 6)),
    # slots are taken at 0, 1, 2, 3; the last worker ends at 4; the watch is 5
    "Docker's defaults": (replace(SEED, update=Update()), (24, 9, 0, 4 * 21, 1, 4)),
    # in the start period a probe every 5 s: RUNNING 20 s after each start at 1, 32, 63; 3 x 31 + 11
    "three, one at a time": (
        Rollout(3, 20, Update(1, 10, STOP), healthcheck=HealthCheck(30, 10, 3, 40)),
        (83, 104, 2, 3 * 21, 3, 3),
    ),
    # everything at once: nobody serves from 1 to 21
    "parallelism 0": (seed(parallelism=0, delay_s=0), (21, 6, 0, 80, 1, 8)),
    # a probe at 15 fails, the one at 30 passes; one worker has two slots: 31 + 31 + 5
    "three, two at a time": (
        Rollout(3, 20, Update(2, 0, START), healthcheck=HealthCheck(15, 5, 3)),
        (62, 67, 3, 0, 0, 5),
    ),
    # slot 1 is without from 0 to 15, slot 2 from 10 to 25; the last worker ends at 20; the watch is 30
    "slow to stop": (Rollout(2, 5, Update(1, 0, STOP, 30), stop_s=10), (25, 50, 0, 30, 1, 2)),
    # batches of 2, 2 and 1 at 0, 31, 62; one worker has three slots: 3 x 31 + 31
    "an odd number": (Rollout(5, 10, Update(2, 30, START)), (73, 124, 3, 50, 3, 7)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_timeline_is_the_one_computed_by_hand(name: str) -> None:
    settings, expected = BY_HAND[name]
    found = simulate(settings)
    assert found.outcome is Outcome.COMPLETED
    assert expected == (found.all_serve_s, found.decided_s, found.fewest, found.lost_s, found.dips, found.most)


BACK = OnFailure.ROLLBACK
# Columns: outcome, stopped at, decided at, fewest that serve, how many serve in the end.
FAILING_BY_HAND = {
    # ends at 1 + 20, when the workers wake up too: the failure is looked at first
    "exits as the next are due": (seed(delay_s=20), Image.EXITS, (Outcome.PAUSED, 21, 21, 2, 2)),
    # ends at 1 + 20, while the workers sleep until 41
    "exits, nothing probes": (SEED, Image.EXITS, (Outcome.PAUSED, 21, 21, 2, 2)),
    # back at 21, stop-first, one at a time: taken at 21 and 22; the workers end at 23, the watch is 5
    "exits, rollback": (seed(on_failure=BACK), Image.EXITS, (Outcome.ROLLED_BACK, 21, 28, 2, 4)),
    # never RUNNING, so the old ones were never stopped: nothing to start again
    "exits, probed, rollback": (seed(PROBED, on_failure=BACK), Image.EXITS, (Outcome.ROLLED_BACK, 21, 26, 4, 4)),
    "refuses, nothing probes": (SEED, Image.REFUSES, (Outcome.COMPLETED, inf, 123, 0, 0)),
    # three failures in a row, at 10, 20, 30
    "refuses, probed": (seed(PROBED), Image.REFUSES, (Outcome.PAUSED, 31, 31, 4, 4)),
    # probes at 10, 25, 40, each for 5 s
    "hangs, probed": (seed(PROBED), Image.HANGS, (Outcome.PAUSED, 46, 46, 4, 4)),
    # probes at 5, 10, …, 40; only those from 40 on count: 40, 50, 60
    "refuses, in a start period": (seed(HealthCheck(10, 5, 3, 40)), Image.REFUSES, (Outcome.PAUSED, 61, 61, 4, 4)),
    # the third failure of four is too many: taken at 41, it ends at 62; no slot waits, so the workers' end is awaited
    "half may fail": (seed(max_failure_ratio=0.5), Image.EXITS, (Outcome.PAUSED, 82, 82, 0, 0)),
    # it ends 20 s after RUNNING, and only 5 s are watched: Docker says completed
    "too late to be seen": (seed(delay_s=0), Image.EXITS, (Outcome.COMPLETED, inf, 7, 0, 0)),
}


@pytest.mark.parametrize("name", FAILING_BY_HAND)
def test_a_failing_image_is_stopped_as_computed_by_hand(name: str) -> None:
    settings, image, expected = FAILING_BY_HAND[name]
    found = simulate(settings, image)
    assert expected == (found.outcome, found.stopped_s, found.decided_s, found.fewest, found.capacity[-1][1])


def test_a_health_check_that_gives_up_before_the_start_up_is_over_stops_a_good_image() -> None:
    found = simulate(seed(HealthCheck(5, 5, 3)))
    assert (found.outcome, found.stopped_s) == (Outcome.PAUSED, 16)
    assert found.fewest == 4
    ignored = simulate(seed(HealthCheck(5, 5, 3), on_failure=OnFailure.CONTINUE))
    assert (ignored.outcome, ignored.takes) == (Outcome.COMPLETED, False)


@some
@given(rollouts, st.sampled_from(Image))
def test_never_more_than_parallelism_are_in_flux(settings: Rollout, image: Image) -> None:
    found = simulate(settings, image)
    for version, update in ((Version.NEW, settings.update), (Version.BACK, settings.rollback)):
        tasks = [task for task in found.tasks if task.version is version]
        for at_s in {task.taken_s for task in tasks}:
            in_flux = sum(task.taken_s <= at_s < min(task.running_s, task.fails_s) for task in tasks)
            assert in_flux <= (update.parallelism or settings.replicas)


def counting(found: Timeline) -> int:
    """The fewest containers that Swarm calls RUNNING at one time."""
    return min(sum(task.counts(at_s) for task in found.tasks) for at_s in (0, *(event.at_s for event in found.events)))


@some
@given(rollouts)
def test_start_first_never_runs_fewer_than_the_replicas(settings: Rollout) -> None:
    found = simulate(replace(settings, update=replace(settings.update, order=START)))
    assume(found.outcome is not Outcome.ROLLED_BACK)
    assert counting(found) >= settings.replicas


@some
@given(rollouts, st.sampled_from(Image))
def test_start_first_with_a_health_check_serves_with_all_replicas_whatever_the_image(
    settings: Rollout, image: Image
) -> None:
    assume(settings.healthcheck is not None)
    settings = replace(
        settings,
        update=replace(settings.update, order=START, on_failure=BACK),
        rollback=replace(settings.rollback, order=START),
    )
    assert simulate(settings, image).fewest == settings.replicas


@some
@given(rollouts, st.sampled_from(Image))
def test_what_happens_is_told_in_order(settings: Rollout, image: Image) -> None:
    found = simulate(settings, image)
    assert sorted(event.at_s for event in found.events) == [event.at_s for event in found.events]
    for task in found.tasks:
        mine = [event.what for event in found.events if (event.slot, event.version) == (task.slot, task.version)]
        assert mine == [what for what in What if what in mine]
        assert task.taken_s <= task.starts_s <= task.running_s <= task.serves_s or task.version is Version.OLD
        assert task.ends_s <= task.gone_s


@some
@given(rollouts)
def test_the_old_container_goes_before_the_new_one_starts_or_when_it_runs(settings: Rollout) -> None:
    found = simulate(settings)
    assume(found.outcome is Outcome.COMPLETED)
    for slot in range(1, settings.replicas + 1):
        old, new = (
            next(task for task in found.tasks if (task.slot, task.version) == (slot, version))
            for version in (Version.OLD, Version.NEW)
        )
        if settings.update.order is START:
            assert old.ends_s in (new.running_s, inf)
        else:
            assert old.ends_s == new.taken_s
            assert old.gone_s <= new.starts_s


@some
@given(rollouts)
def test_a_completed_update_ends_when_the_batches_and_the_last_watch_do(settings: Rollout) -> None:
    found = simulate(settings)
    assume(found.takes)
    update = settings.update
    batches = ceil(settings.replicas / (update.parallelism or settings.replicas))
    first = next(task for task in found.tasks if task.version is Version.NEW)
    ready_s = first.running_s - first.taken_s
    last_s = (batches - 1) * (ready_s + update.delay_s) + first.serves_s
    assert last_s == pytest.approx(found.all_serve_s)
    watch_s = update.delay_s + 1 if update.delay_s >= update.monitor_s else update.monitor_s
    assert batches * (ready_s + update.delay_s) + watch_s == pytest.approx(found.decided_s)


@some
@given(rollouts, st.sampled_from(Image))
def test_capacity_stays_between_nothing_and_the_replicas_and_ends_whole_where_the_image_works(
    settings: Rollout, image: Image
) -> None:
    found = simulate(settings, image)
    levels = [serving for _, serving in found.capacity]
    assert found.capacity[0][0] == 0
    assert all(0 <= level <= settings.replicas for level in levels)
    assert (found.lost_s == 0) == (found.dips == 0) == (found.fewest == settings.replicas)
    if found.takes or (found.outcome is Outcome.ROLLED_BACK and settings.healthcheck is None):
        assert levels[-1] == settings.replicas
    assert isfinite(found.decided_s)
    assert found == simulate(settings, image)
