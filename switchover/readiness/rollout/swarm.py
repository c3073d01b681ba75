"""What Swarm does with the containers of a service in a rolling update.

Pure and deterministic. The rules are those of swarmkit (manager/orchestrator/update/updater.go, restart/restart.go) and
of Docker's health probe (moby daemon/health.go). Containers that can be placed are taken for granted: one that cannot
be blocks an update without limit. A failed container is started again by its restart policy; that one counts for
nobody and serves nobody, so it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

from switchover.readiness.rollout.settings import Image, OnFailure, Order
from switchover.readiness.rollout.timeline import Outcome, Task, Timeline, Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from switchover.readiness.rollout.settings import HealthCheck, Rollout, Update

OLD_TASK_PATIENCE_S = 60.0
"""How long stop-first waits for the old container before it starts the new one all the same (restart.go)."""


def simulate(settings: Rollout, image: Image = Image.WORKS) -> Timeline:
    """Update every replica to this image, and go back where the settings say so."""
    forth = _wave(settings, settings.update, _life(settings, image), range(1, settings.replicas + 1))
    rolled_back = forth.stopped_s < inf and settings.update.on_failure is OnFailure.ROLLBACK
    # a rollback cancels the workers at once; a pause lets them finish what they hold
    until = forth.stopped_s if rolled_back else inf
    olds = {turn.slot: turn.frees_s for turn in forth.turns if turn.frees_s <= until}
    tasks = [_told(settings, Task(slot, Version.OLD), olds.get(slot, inf)) for slot in range(1, settings.replicas + 1)]
    if not rolled_back:
        tasks += [turn.task for turn in forth.turns]
        outcome = Outcome.COMPLETED if forth.stopped_s == inf else Outcome.PAUSED
        return Timeline(settings.replicas, tuple(tasks), outcome, min(forth.stopped_s, forth.ends_s), forth.stopped_s)
    back = _rollback(settings, forth, kept={turn.slot for turn in forth.turns} - set(olds))
    removed = {turn.slot: turn.frees_s for turn in back.turns}
    tasks += [_told(settings, turn.task, removed.get(turn.slot, inf)) for turn in forth.turns]
    tasks += [turn.task for turn in back.turns if turn.starts]
    outcome = Outcome.ROLLED_BACK if back.stopped_s == inf else Outcome.ROLLBACK_PAUSED
    return Timeline(settings.replicas, tuple(tasks), outcome, min(back.stopped_s, back.ends_s), forth.stopped_s)


def _rollback(settings: Rollout, forth: _Wave, kept: Collection[int]) -> _Wave:
    """The same updater with ``rollback_config``, over the slots that were touched; ``kept`` still have the old one."""
    life, slots = _life(settings, Image.WORKS), [turn.slot for turn in forth.turns]
    return _wave(settings, settings.rollback, life, slots, _Again(forth.stopped_s, kept))


@dataclass(frozen=True, slots=True)
class _Again:
    """From when a rollback goes, and the slots in which there is nothing to start (updater.go: useExistingTask)."""

    from_s: float = 0
    kept: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class _Life:
    """A container from the start of its process."""

    running_s: float
    serves_s: float
    fails_s: float


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one worker does with one slot."""

    task: Task
    frees_s: float
    """When the container that was there before is told to stop."""
    done_s: float
    """When the worker's delay begins."""
    starts: bool = True

    @property
    def slot(self) -> int:
        return self.task.slot


@dataclass(frozen=True, slots=True)
class _Wave:
    turns: tuple[_Turn, ...]
    ends_s: float
    stopped_s: float


def _wave(settings: Rollout, update: Update, life: _Life, slots: Sequence[int], again: _Again | None = None) -> _Wave:
    """``parallelism`` workers: each takes the next slot, waits for RUNNING, then sleeps ``delay``, also after the last.

    A failure is looked at while slots wait for a worker, else when all workers have ended (updater.go: Run).
    """
    again = again or _Again()
    version = Version.BACK if again.from_s else Version.NEW
    free = [again.from_s] * min(update.parallelism or len(slots), len(slots))
    too_many = _too_many(update, len(slots))
    turns: list[_Turn] = []
    failures: list[float] = []  # in order: slots are taken in order, and every new container lives alike
    for slot in slots:
        at_s = heappop(free)
        failed_s = failures[too_many - 1] if len(failures) >= too_many else inf
        if failed_s <= at_s:  # of the two at the same moment, swarmkit may take either: the failure here
            return _Wave(tuple(turns), inf, failed_s)
        if slot in again.kept:
            turn = _Turn(Task(slot, version), frees_s=at_s, done_s=at_s, starts=False)
        else:
            turn = _turn(settings, update.order, life, Task(slot, version, taken_s=at_s))
        turns.append(turn)
        if _fails_in_time(turn, update):
            failures.append(turn.task.fails_s)
        heappush(free, turn.done_s + update.delay_s)
    failed_s = failures[too_many - 1] if len(failures) >= too_many else inf
    return _Wave(tuple(turns), max(free) + update.monitoring_s, max(failed_s, *free) if failed_s < inf else inf)


def _too_many(update: Update, slots: int) -> int:
    """The number of failures that stops the update; more than there are slots where none does."""
    if update.on_failure is OnFailure.CONTINUE:
        return slots + 1
    return next((n for n in range(1, slots + 1) if n / slots > update.max_failure_ratio), slots + 1)


def _fails_in_time(turn: _Turn, update: Update) -> bool:
    """Whether its failure counts; one that never reached RUNNING counts whatever ``monitor`` says."""
    task = turn.task
    return turn.starts and task.fails_s < inf and task.fails_s - task.running_s <= update.monitoring_s


def _turn(settings: Rollout, order: Order, life: _Life, task: Task) -> _Turn:
    if order is Order.START_FIRST:
        starts_s = task.taken_s + settings.create_s
    else:  # the new one is created while the old one stops
        starts_s = task.taken_s + max(settings.create_s, min(settings.stop_s, OLD_TASK_PATIENCE_S))
    running_s, fails_s = starts_s + life.running_s, starts_s + life.fails_s
    # an old container goes when the new one is RUNNING, or before it starts
    frees_s = running_s if order is Order.START_FIRST else task.taken_s
    lived = replace(
        task,
        starts_s=starts_s,
        running_s=running_s,
        serves_s=starts_s + life.serves_s,
        fails_s=fails_s,
        ends_s=fails_s,
        gone_s=fails_s,
    )
    return _Turn(lived, frees_s, done_s=min(running_s, fails_s))


def _told(settings: Rollout, task: Task, at_s: float) -> Task:
    """The task, told to stop at this moment, unless it has failed before."""
    return replace(task, ends_s=at_s, gone_s=at_s + settings.stop_s) if at_s < task.ends_s else task


def _life(settings: Rollout, image: Image) -> _Life:
    """A container of this image: with a health check it counts as RUNNING when healthy, else when it starts.

    Nobody can reach it before (moby daemon/cluster/executor/container/controller.go: Start).
    """
    ready_s = settings.startup_s if image is Image.WORKS else inf
    exits_s = settings.startup_s if image is Image.EXITS else inf
    if settings.healthcheck is None:
        return _Life(0, ready_s, exits_s)
    healthy_s, unhealthy_s = _probed(settings.healthcheck, ready_s, hangs=image is Image.HANGS)
    if healthy_s < inf:
        return _Life(healthy_s, healthy_s, inf)
    return _Life(inf, inf, min(unhealthy_s, exits_s))


def _probed(check: HealthCheck, ready_s: float, *, hangs: bool) -> tuple[float, float]:
    """When the container is healthy and when unhealthy, whichever is first; the other is never."""
    failures = 0
    takes_s = check.timeout_s if hangs else 0
    for at_s in _probes(check, takes_s):
        if at_s >= ready_s:
            return at_s, inf
        failures += at_s >= check.start_period_s
        if failures >= check.retries:
            return inf, at_s + takes_s
    raise AssertionError("probes never end")


def _probes(check: HealthCheck, takes_s: float) -> Iterator[float]:
    """When each probe starts: the first one a wait after the start, the next a wait after the end of the one before.

    The wait is ``start_interval`` inside the start period, else ``interval``.
    """
    ended_s = 0.0
    while True:
        at_s = ended_s + (check.start_interval_s if ended_s < check.start_period_s else check.interval_s)
        yield at_s
        ended_s = at_s + takes_s
