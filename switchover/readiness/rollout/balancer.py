"""Which requests fail while a service is updated: what the load balancer believes, against what is true.

Requests are spread evenly over the servers it believes in, and one that reaches a container which does not serve fails;
nothing tries again. Traefik's poll and its check run in phases nobody knows, so many are looked at. A check is answered
at once. Read in Traefik's pkg/provider/docker/pswarm.go and pkg/healthcheck/healthcheck.go.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import product
from math import ceil, inf
from typing import TYPE_CHECKING

from switchover.readiness.rollout.settings import FirstCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.rollout.settings import Balancer
    from switchover.readiness.rollout.timeline import Timeline

PHASES = 12
"""Of the poll and of the check: 144 runs find the mean to about a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time and the share of requests that fail in it."""

    from_s: float
    until_s: float
    share: float

    @property
    def failing_s(self) -> float:
        """Seconds of traffic that fail."""
        return self.share * (self.until_s - self.from_s)


@dataclass(frozen=True, slots=True)
class Requests:
    """What users notice, in seconds of traffic that fails: 2 s at half the requests are 1 s."""

    mean_s: float
    worst_s: float
    outage_s: float
    """The longest time in any phase in which every request fails."""
    runs: tuple[tuple[Span, ...], ...]

    @property
    def until_s(self) -> float:
        """When the last request fails, in any phase; 0 where none does."""
        return max((span.until_s for run in self.runs for span in run), default=0.0)

    def shares(self, step_s: float, steps: int) -> list[float]:
        """The part of the requests that fails in each of so many steps from the start, over all phases."""
        failing = [0.0] * steps
        for span in (span for run in self.runs for span in run):
            for n in range(int(span.from_s // step_s), min(steps, ceil(span.until_s / step_s))):
                within_s = min(span.until_s, (n + 1) * step_s) - max(span.from_s, n * step_s)
                failing[n] += span.share * max(0.0, within_s)
        return [each / (len(self.runs) * step_s) for each in failing]


def requests(timeline: Timeline, balancer: Balancer) -> Requests:
    """Send requests all along the timeline, in every phase of the balancer's clocks."""
    polls = [0.0] if balancer.by_vip else _phases(balancer.poll_s)
    checks = [0.0] if balancer.by_vip or not balancer.check else _phases(balancer.check.interval_s)
    course = _course(timeline)
    runs = tuple(tuple(_spans(course, balancer, *phase)) for phase in product(polls, checks))
    failing = [sum(span.failing_s for span in run) for run in runs]
    return Requests(sum(failing) / len(failing), max(failing), max(_longest_outage(run) for run in runs), runs)


def _phases(period_s: float) -> list[float]:
    return [period_s * (n + 0.5) / PHASES for n in range(PHASES)]


@dataclass(frozen=True, slots=True)
class _State:
    """Which tasks Docker lists and which serve; bit n is the timeline's task n."""

    listed: int
    serving: int


@dataclass(frozen=True, slots=True)
class _Course:
    """The states of a timeline: the first one holds until the first of the moments."""

    moments: list[float]
    states: list[_State]
    ends_s: float


def _course(timeline: Timeline) -> _Course:
    changing: dict[float, list[int]] = {}
    for n, task in enumerate(timeline.tasks):
        for at_s in {task.running_s, task.serves_s, task.ends_s} - {inf}:
            changing.setdefault(at_s, []).append(n)
    moments = sorted(changing)
    listed = serving = 0
    states = []
    for at_s in moments:
        for n in changing[at_s]:
            task, others = timeline.tasks[n], ~(1 << n)
            listed = listed & others | task.counts(at_s) << n
            serving = serving & others | task.serves(at_s) << n
        states.append(_State(listed, serving))
    return _Course(moments[1:], states, timeline.ends_s)


def _spans(course: _Course, balancer: Balancer, poll_at_s: float, check_at_s: float) -> Iterator[Span]:
    """One run: Traefik's first poll and first check come at these moments; only where requests fail.

    A poll that finds other containers makes Traefik start anew: every server up, the check's clock from zero.
    """
    check_s = balancer.check.interval_s if balancer.check else inf
    first_check_s = 0 if balancer.check and balancer.first_check is FirstCheck.AT_ONCE else check_s
    ends_s = course.ends_s + (0 if balancer.by_vip else balancer.poll_s + 2 * (0 if check_s == inf else check_s))
    next_poll, next_check = (inf, inf) if balancer.by_vip else (poll_at_s, check_at_s if balancer.check else inf)
    now, listed, down = 0.0, course.states[0].listed, 0
    while now < ends_s:
        passed = bisect_right(course.moments, now)
        state = course.states[passed]
        if now == next_poll and state.listed != listed:
            listed, down = state.listed, 0
            next_check = now + first_check_s
        if now == next_check:
            down = listed & ~state.serving
        servers = state.listed if balancer.by_vip else listed & ~down
        share = (servers & ~state.serving).bit_count() / servers.bit_count() if servers else 1.0
        next_poll, next_check = _after(now, next_poll, balancer.poll_s), _after(now, next_check, check_s)
        finds = (next_poll if listed != state.listed else inf, next_check if down != listed & ~state.serving else inf)
        until_s = min(*finds, ends_s, *course.moments[passed : passed + 1])
        if share:
            yield Span(now, until_s, share)
        now = until_s
        next_poll, next_check = _from(now, next_poll, balancer.poll_s), _from(now, next_check, check_s)


def _after(now: float, next_s: float, period_s: float) -> float:
    """The next tick of a clock that may tick now."""
    return next_s + period_s if next_s == now else next_s


def _from(now: float, next_s: float, period_s: float) -> float:
    """The first tick at this moment or later: those before it found nothing new."""
    return next_s if next_s >= now else max(now, next_s + ceil((now - next_s) / period_s) * period_s)


def _longest_outage(run: tuple[Span, ...]) -> float:
    longest = since = until = 0.0
    for span in (span for span in run if span.share == 1):
        since = since if span.from_s == until else span.from_s
        until = span.until_s
        longest = max(longest, until - since)
    return longest
