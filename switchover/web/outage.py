"""The outage meter: four requests a second, as a user would make them, and when they failed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
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

PATIENCE_S = 3.0
"""How long a user is taken to wait for an answer."""

MOST_REASONS = 5


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
    """With ``ended`` False the last failed request: nobody saw the service come back."""
    reason: str
    """What the requests failed with, each once."""
    ended: bool = True

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True, slots=True)
class OutageSummary:
    """When users were without service, and when nobody looked."""

    outages: tuple[Outage, ...]
    unobserved: tuple[tuple[datetime, datetime], ...]
    samples: int
    first: datetime | None
    last: datetime | None

    @property
    def total_s(self) -> float:
        return round(sum(outage.seconds for outage in self.outages), 2)

    def to_json(self) -> dict[str, Json]:
        """For the journal and the report; each end of an outage is known to ``precision_s``."""
        return {
            "total_s": self.total_s,
            "samples": self.samples,
            "precision_s": EVERY_S,
            "first": _iso(self.first) if self.first else None,
            "last": _iso(self.last) if self.last else None,
            "outages": [
                {
                    "start": _iso(each.start),
                    "end": _iso(each.end),
                    "seconds": round(each.seconds, 3),
                    "reason": each.reason,
                    "ended": each.ended,
                }
                for each in self.outages
            ],
            "unobserved": [[_iso(start), _iso(end)] for start, end in self.unobserved],
        }


@dataclass(slots=True)
class Meter:
    """Asks a health check's URL at fixed instants, at the address that ``resolve`` gives, into a side file."""

    check: HealthSpec
    resolve: Callable[[], Awaitable[str | None]]
    sink: Path
    _asking: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def run(self) -> None:
        """Measure until cancelled; a request that hangs never delays the next one, and the last are waited for."""
        fd = os.open(self.sink, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        loop = asyncio.get_running_loop()
        try:
            tick = loop.time()
            while True:
                if len(self._asking) < MOST_AT_ONCE:
                    task = loop.create_task(self._ask(fd))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                missed = max(0.0, loop.time() - tick) // EVERY_S
                tick += EVERY_S * (missed + 1)
                await asyncio.sleep(tick - loop.time())
        finally:
            try:
                await asyncio.gather(*self._asking)
            finally:
                os.close(fd)

    async def _ask(self, fd: int) -> None:
        """One request and its line; no line without an address or on a full disk: nobody looked then."""
        address = await self.resolve()
        if address is None:
            return
        expect = self.check.expect
        asked = Request(self.check.url, address, expect.status, expect.contains, 60_000, PATIENCE_S)
        line = json.dumps(_line(await probe(asked))).encode() + b"\n"
        with contextlib.suppress(OSError):
            os.write(fd, line)


def read_samples(path: Path) -> tuple[Sample, ...]:
    """The samples of a side file, in the order they were asked; a line that a crash or a full disk tore is left out."""
    lines = path.read_bytes().splitlines()
    found = (_sample(line) for line in lines)
    return tuple(sorted((each for each in found if each is not None), key=lambda sample: sample.at))


def _sample(line: bytes) -> Sample | None:
    try:
        raw = json.loads(line)
        return Sample(datetime.fromisoformat(raw["at"]), raw["ok"] is True, raw["reason"], raw["address"])
    except (ValueError, KeyError, TypeError):
        return None


def outages(samples: Sequence[Sample]) -> OutageSummary:
    """When requests failed: from the first failed one to the next good one.

    An outage ends, unseen, at the last failed request before a time that nobody observed: that time counts
    neither as up nor as down.
    """
    found: list[Outage] = []
    blind: list[tuple[datetime, datetime]] = []
    failed: list[Sample] = []

    def close(end: datetime, *, ended: bool) -> None:
        if failed:
            reasons = list(dict.fromkeys(sample.reason for sample in failed))[:MOST_REASONS]
            found.append(Outage(failed[0].at, end, "; ".join(reasons), ended))
            failed.clear()

    before: Sample | None = None
    for sample in samples:
        if before is not None and (sample.at - before.at).total_seconds() > BLIND_S:
            blind.append((before.at, sample.at))
            close(before.at, ended=False)
        if sample.ok:
            close(sample.at, ended=True)
        else:
            failed.append(sample)
        before = sample
    if before is not None:
        close(before.at, ended=False)
    return OutageSummary(
        tuple(found),
        tuple(blind),
        len(samples),
        samples[0].at if samples else None,
        samples[-1].at if samples else None,
    )


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _line(answered: Answered) -> dict[str, object]:
    return {
        "at": _iso(answered.at),
        "ok": answered.ok,
        "status": answered.status,
        "ms": answered.ms,
        "address": answered.address,
        "reason": answered.reason,
    }
