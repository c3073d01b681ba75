"""The outage meter: four requests a second, as a user would make them, and when they failed."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from switchover.web.probe import Answered, Request, probe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from switchover.plan.journal import Json
    from switchover.plan.spec import HealthSpec

EVERY_S = 0.25
"""The meter's resolution: an outage's ends are known to one interval each."""

BLIND_S = 1.0
"""A longer pause between samples was not observed; it counts neither as up nor as down."""

MOST_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of the meter."""

    at: datetime
    ok: bool
    reason: str
    address: str | None


@dataclass(frozen=True, slots=True)
class Outage:
    """From the first failed request to the next good one."""

    start: datetime
    end: datetime
    reason: str

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True, slots=True)
class OutageSummary:
    """When users were without service, and when nobody looked."""

    outages: tuple[Outage, ...]
    unobserved: tuple[tuple[datetime, datetime], ...]
    samples: int

    @property
    def total_s(self) -> float:
        return round(sum(outage.seconds for outage in self.outages), 2)

    def to_json(self) -> dict[str, Json]:
        """For the journal and the report; seconds to a quarter."""
        return {
            "total_s": self.total_s,
            "samples": self.samples,
            "precision_s": EVERY_S,
            "outages": [
                {
                    "start": each.start.isoformat(),
                    "end": each.end.isoformat(),
                    "seconds": each.seconds,
                    "reason": each.reason,
                }
                for each in self.outages
            ],
            "unobserved": [[start.isoformat(), end.isoformat()] for start, end in self.unobserved],
        }


@dataclass(slots=True)
class Meter:
    """Asks a health check's URL at fixed instants, at the address that ``resolve`` gives, into a side file."""

    check: HealthSpec
    resolve: Callable[[], Awaitable[str | None]]
    sink: Path
    _asking: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def run(self) -> None:
        """Measure until cancelled; a request that hangs never delays the next one."""
        fd = os.open(self.sink, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        loop = asyncio.get_running_loop()
        try:
            tick = loop.time()
            while True:
                if len(self._asking) < MOST_AT_ONCE:
                    task = loop.create_task(self._ask(fd))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                tick += EVERY_S
                await asyncio.sleep(max(0.0, tick - loop.time()))
        finally:
            for task in tuple(self._asking):
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)
            os.close(fd)

    async def _ask(self, fd: int) -> None:
        expect = self.check.expect
        address = await self.resolve()
        request = Request(self.check.url, address, expect.status, expect.contains, 60_000, 3.0)
        answered = await probe(request)
        os.write(fd, json.dumps(_line(answered)).encode() + b"\n")


def read_samples(path: Path) -> tuple[Sample, ...]:
    """The samples of a side file, in the order they were asked; a line that a crash cut short is left out."""
    samples = []
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            raw = json.loads(line)
            samples.append(Sample(datetime.fromisoformat(raw["at"]), raw["ok"], raw["reason"], raw["address"]))
    return tuple(sorted(samples, key=lambda sample: sample.at))


def outages(samples: Sequence[Sample]) -> OutageSummary:
    """When requests failed: from the first failed one to the next good one, or to the last sample there is."""
    found: list[Outage] = []
    start: Sample | None = None
    for sample in samples:
        if not sample.ok and start is None:
            start = sample
        elif sample.ok and start is not None:
            found.append(Outage(start.at, sample.at, start.reason))
            start = None
    if start is not None:
        found.append(Outage(start.at, samples[-1].at, start.reason))
    blind = tuple(
        (before.at, after.at) for before, after in pairwise(samples) if (after.at - before.at).total_seconds() > BLIND_S
    )
    return OutageSummary(tuple(found), blind, len(samples))


def _line(answered: Answered) -> dict[str, object]:
    return {
        "at": answered.at.isoformat(timespec="milliseconds"),
        "ok": answered.ok,
        "status": answered.status,
        "ms": answered.ms,
        "address": answered.address,
        "reason": answered.reason,
    }
