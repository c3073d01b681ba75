"""Watch all authoritative addresses of a name until each has proved that it serves the wanted record."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from switchover.dns.authority import observe
from switchover.dns.propagation import Missing, Observation, Proof, Track, agreed, follow, t0

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from switchover.dns.authority import Authority
    from switchover.dns.message import Answer, Endpoint, Rrset


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found, and which addresses still lack their proof, and why."""

    number: int
    answers: tuple[Answer, ...]
    missing: tuple[Missing, ...]
    unseen: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class WatchResult:
    """How the watch ended; ``t0`` is known only when it is ``ok``."""

    ok: bool
    tracks: Mapping[Endpoint, Track]
    t0: datetime | None
    missing: tuple[Missing, ...]
    unseen: tuple[Endpoint, ...] = ()


async def watch(  # noqa: PLR0913  what to wait for, and how patiently
    authority: Authority,
    wanted: Rrset,
    *,
    rounds: int = 3,
    spread_s: float = 60,
    deadline_s: float,
    on_round: Callable[[Round], None] | None = None,
    interval_s: float = 5,
) -> WatchResult:
    """Ask all addresses, again and again, until all agree for long enough or ``deadline_s`` has passed.

    Each address must have given the wanted record in ``rounds`` probes in a row that span ``spread_s``. One
    round is always made, and one under way at the deadline is finished; the result then names
    each address and what it says.
    """
    watching = _Watching(authority, wanted, Proof(rounds, timedelta(seconds=spread_s)))
    clock = asyncio.get_running_loop().time
    end = clock() + deadline_s
    while True:
        now = watching.take(await observe(authority))
        if on_round is not None:
            on_round(now)
        left = end - clock()
        if not now.missing or left <= 0:
            return watching.result(now)
        # Jitter, so that several watchers of one zone do not keep step.
        await asyncio.sleep(min(left, interval_s * random.uniform(0.8, 1.2)))  # noqa: S311


@dataclass(slots=True)
class _Watching:
    """What has been seen so far, and what it proves; it does not grow with time."""

    authority: Authority
    wanted: Rrset
    proof: Proof
    tracks: dict[Endpoint, Track] = field(default_factory=dict)
    number: int = 0

    def take(self, answers: tuple[Answer, ...]) -> Round:
        """Add a round and judge."""
        self.number += 1
        for answer in answers:
            track = self.tracks.get(answer.endpoint)
            self.tracks[answer.endpoint] = follow(track, Observation.of(answer), self.wanted)
        verdict = agreed(answers, self.wanted.values, self.wanted.ttl, self.authority.hosts, self.authority.waived)
        said = {missing.endpoint: missing.reason for missing in verdict.missing}
        missing = tuple(
            Missing(endpoint, said.get(endpoint) or self._so_far(track))
            for endpoint, track in self.tracks.items()
            if endpoint not in verdict.unseen and not track.proves(self.proof)
        )
        return Round(self.number, answers, missing, verdict.unseen)

    def _so_far(self, track: Track) -> str:
        return (
            f"right now, but seen so only {track.good} times in a row: "
            f"{self.proof.rounds} times over {self.proof.spread.total_seconds():g} s are asked for"
        )

    def result(self, now: Round) -> WatchResult:
        """How it ended."""
        counted = {end: track for end, track in self.tracks.items() if end not in now.unseen}
        started = t0(counted, self.proof) if not now.missing else None
        return WatchResult(started is not None, dict(self.tracks), started, now.missing, now.unseen)
