"""How a rolling update goes: what happens to each container, and what follows from it.

Times are seconds from the start of the update; ``inf`` is never, ``-inf`` is long before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise
from math import inf, isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Version(StrEnum):
    """Which image a container has: the old one, the new one, or the old one again after a rollback."""

    OLD = "old"
    NEW = "new"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Task:
    """One container of a slot."""

    slot: int
    version: Version
    taken_s: float = -inf
    """A worker took the slot."""
    starts_s: float = -inf
    """The process starts."""
    running_s: float = -inf
    """Swarm counts it as RUNNING: started, or healthy where there is a health check (moby controller.go)."""
    serves_s: float = -inf
    """It answers requests that can reach it."""
    fails_s: float = inf
    ends_s: float = inf
    """It is told to stop or has failed, whichever is first: from here it serves nobody."""
    gone_s: float = inf
    """Its process has ended."""

    def serves(self, at_s: float) -> bool:
        """Whether it answers requests at this moment."""
        return self.serves_s <= at_s < self.ends_s

    def counts(self, at_s: float) -> bool:
        """Whether Swarm wants it and calls it RUNNING: what Traefik lists and the virtual address leads to."""
        return self.running_s <= at_s < self.ends_s


class What(StrEnum):
    """What happens to a container, in the order in which it can happen to one."""

    TAKEN = "taken"
    STARTS = "starts"
    RUNNING = "running"
    SERVES = "serves"
    FAILS = "fails"
    TOLD_TO_STOP = "told to stop"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens to one container."""

    at_s: float
    slot: int
    version: Version
    what: What


class Outcome(StrEnum):
    """What Docker says in the end."""

    COMPLETED = "completed"
    PAUSED = "paused"
    ROLLED_BACK = "rolled back"
    ROLLBACK_PAUSED = "rollback paused"


@dataclass(frozen=True, slots=True)
class Timeline:
    """How the update goes."""

    replicas: int
    tasks: tuple[Task, ...]
    outcome: Outcome
    decided_s: float
    """When Docker says so."""
    stopped_s: float
    """When the updater noticed that the image fails and stopped; never for an update that completes."""

    @property
    def ends_s(self) -> float:
        """From here on nothing changes."""
        return max([self.decided_s, *(event.at_s for event in self.events)])

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything that happens, in order."""
        found = [event for task in self.tasks for event in _events(task) if isfinite(event.at_s)]
        kinds = list(What)
        return tuple(sorted(found, key=lambda event: (event.at_s, event.slot, kinds.index(event.what))))

    @property
    def capacity(self) -> tuple[tuple[float, int], ...]:
        """How many containers serve from each moment on; the first moment is 0."""
        return _level((task.serves_s, task.ends_s) for task in self.tasks)

    @property
    def fewest(self) -> int:
        """The fewest containers that serve at one time."""
        return min(serving for _, serving in self.capacity)

    @property
    def lost_s(self) -> float:
        """Replica-seconds in which fewer than all replicas serve, until nothing changes any more."""
        steps = (*self.capacity, (self.ends_s, 0))
        return sum(max(0, self.replicas - serving) * (until - at) for (at, serving), (until, _) in pairwise(steps))

    @property
    def dips(self) -> int:
        """How often the capacity falls below the replicas."""
        short = [False, *(serving < self.replicas for _, serving in self.capacity)]
        return sum(now and not before for before, now in pairwise(short))

    @property
    def all_serve_s(self) -> float:
        """From when all replicas serve for good; never where they do not."""
        stay = [task.serves_s for task in self.tasks if task.ends_s == inf]
        return max(0.0, *stay) if len(stay) == self.replicas else inf

    @property
    def takes(self) -> bool:
        """Whether the new image serves in every slot in the end; Docker may say completed all the same."""
        serving = [task for task in self.tasks if task.serves_s < inf and task.ends_s == inf]
        return sum(task.version is Version.NEW for task in serving) == self.replicas

    @property
    def most(self) -> int:
        """The most containers there are at one time: what the nodes must have room for."""
        return max(number for _, number in _level((task.starts_s, task.gone_s) for task in self.tasks))


def _level(lives: Iterable[tuple[float, float]]) -> tuple[tuple[float, int], ...]:
    changes: dict[float, int] = {0.0: 0}
    for begins, ends in lives:
        if begins < ends:
            for at, change in ((max(begins, 0.0), 1), (ends, -1)):
                changes[at] = changes.get(at, 0) + change
    moments = sorted(at for at in changes if isfinite(at))
    levels = list(accumulate(changes[at] for at in moments))
    before = [-1, *levels]
    return tuple((at, level) for at, level, was in zip(moments, levels, before, strict=False) if level != was)


def _events(task: Task) -> Iterator[Event]:
    moments = {
        What.TAKEN: task.taken_s,
        What.STARTS: task.starts_s,
        What.RUNNING: task.running_s,
        What.SERVES: task.serves_s,
        What.FAILS: task.fails_s,
        What.TOLD_TO_STOP: task.ends_s if task.ends_s < task.fails_s else inf,
    }
    for what, at_s in moments.items():
        if at_s <= task.ends_s:
            yield Event(at_s, task.slot, task.version, what)
