"""Health checks: once, and for a soak time with an allowed number of failures."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.web.probe import Answered, Request, probe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from switchover.plan.journal import Json
    from switchover.plan.spec import HealthSpec

    Resolve = Callable[[str], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Soak:
    """How a soak is done: seconds in all, seconds between rounds, failures allowed."""

    soak_s: float
    every_s: float
    allow_failures: int


@dataclass(frozen=True, slots=True)
class SoakResult:
    """What a soak saw."""

    ok: bool
    probes: int
    failures: int
    first_failure: str
    median_ms: float
    p95_ms: float
    longest_ms: float
    watched_s: float

    @property
    def bound(self) -> str:
        """The rule of three: n clean probes exclude a failure rate above 3/n at 95 %; or empty."""
        if self.failures or self.probes <= 3:
            return ""
        return f"under {300 / self.probes:.2g} % of requests fail, at 95 %"

    def to_json(self) -> dict[str, Json]:
        """For the journal."""
        return {
            "probes": self.probes,
            "failures": self.failures,
            "first_failure": self.first_failure,
            "median_ms": self.median_ms,
            "p95_ms": self.p95_ms,
            "longest_ms": self.longest_ms,
            "watched_s": self.watched_s,
            "bound": self.bound,
        }


def request_of(check: HealthSpec, address: str | None) -> Request:
    """The request that a check of the plan makes."""
    expect = check.expect
    timeout_s = max(5.0, expect.within_ms / 1000 + 1)
    return Request(check.url, address, expect.status, expect.contains, expect.within_ms, timeout_s)


async def check_all(checks: Sequence[HealthSpec], address: str | None) -> tuple[Answered, ...]:
    """Ask every check once, at the same time."""
    return tuple(await asyncio.gather(*(probe(request_of(check, address)) for check in checks)))


async def soak(
    checks: Sequence[HealthSpec],
    how: Soak,
    *,
    pinned: str,
    resolve: Resolve,
    on_progress: Callable[[str, float, float, str], None],
) -> SoakResult:
    """Run every check, pinned and as ``resolve`` answers, until the time is over or too much has failed.

    It begins and ends with a look. What could not be measured counts as a failure. Time that nobody watched
    does not count: a soak that was cut short starts anew.
    """
    started = time.monotonic()
    seen: list[Answered] = []
    failures: list[str] = []
    due_s = 0.0
    while True:
        for check, answered in await _round(checks, pinned, resolve):
            seen.append(answered)
            if not answered.ok:
                failures.append(f"{check.name} at {answered.address or 'no address'}: {answered.reason}")
        watched_s = time.monotonic() - started
        on_progress(f"{len(seen)} probes, {len(failures)} failed", min(watched_s, how.soak_s), how.soak_s, "s")
        if len(failures) > how.allow_failures or due_s >= how.soak_s:
            return _result(how, seen, failures, watched_s)
        due_s = min(max(due_s + how.every_s, watched_s), how.soak_s)
        await asyncio.sleep(max(0.0, started + due_s - time.monotonic()))


def _result(how: Soak, seen: Sequence[Answered], failures: Sequence[str], watched_s: float) -> SoakResult:
    times = sorted(answered.ms for answered in seen)
    return SoakResult(
        ok=len(failures) <= how.allow_failures,
        probes=len(seen),
        failures=len(failures),
        first_failure=failures[0] if failures else "",
        median_ms=round(statistics.median(times), 1),
        p95_ms=times[-(-len(times) * 95 // 100) - 1],
        longest_ms=times[-1],
        watched_s=round(watched_s, 1),
    )


async def _round(checks: Sequence[HealthSpec], pinned: str, resolve: Resolve) -> list[tuple[HealthSpec, Answered]]:
    """One look at every check, at the pinned address and at the one a user would get."""

    async def one(check: HealthSpec, address: str | None) -> tuple[HealthSpec, Answered]:
        return check, await probe(request_of(check, address))

    async def public(check: HealthSpec) -> tuple[HealthSpec, Answered]:
        at = datetime.now(UTC)
        address = await resolve(check.host)
        if address is None:
            return check, Answered(False, at, 0.0, reason=f"no resolver gives an address for {check.host}")
        return await one(check, address)

    both = [one(check, pinned) for check in checks] + [public(check) for check in checks]
    return list(await asyncio.gather(*both))
