"""When every authoritative address serves a record, and when the last cache has forgotten the old one.

Rules only: pure functions of observations. The bound is T0 + the old TTL, where T0 is the moment from which
*no* authoritative address hands out the old record any more (the receive time at the last one to change).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from switchover.dns.message import FIRM, Answer, Endpoint, Rrset, State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from switchover.plan.journal import Json


def utc(at: datetime) -> str:
    """An instant as it is written down: UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


ROUNDING = timedelta(seconds=2)
"""Resolvers round TTLs to seconds, at both ends."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One probe of one address, as it is kept over days."""

    endpoint: Endpoint
    at: datetime
    state: State
    ttl: int | None = None
    values: tuple[str, ...] = ()
    serial: int | None = None
    nsid: str = ""

    @classmethod
    def of(cls, answer: Answer) -> Observation:
        """What is kept of an answer."""
        return cls(answer.endpoint, answer.at, answer.state, answer.ttl, answer.values, answer.serial, answer.nsid)

    def to_json(self) -> dict[str, Json]:
        """The observation as JSON."""
        return {
            "endpoint": str(self.endpoint),
            "at": utc(self.at),
            "state": self.state.value,
            "ttl": self.ttl,
            "values": list(self.values),
            "serial": self.serial,
            "nsid": self.nsid,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Observation:
        """Read ``to_json`` back; raises ValueError for anything else."""
        values, ttl, serial = data.get("values"), data.get("ttl"), data.get("serial")
        at = datetime.fromisoformat(str(data.get("at")))
        if not isinstance(values, list) or at.tzinfo is None:
            raise ValueError("not an observation")
        if not isinstance(ttl, int | None) or not isinstance(serial, int | None):
            raise ValueError("not an observation: ttl and serial are whole numbers")
        return cls(
            Endpoint.parse(str(data.get("endpoint"))),
            at,
            State(str(data.get("state"))),
            ttl,
            tuple(str(value) for value in values),
            serial,
            str(data.get("nsid", "")),
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """How much must be seen at an address: good probes in a row, and the time they must span."""

    rounds: int = 3
    spread: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Track:
    """What is remembered of one address, however long it is watched: its latest probe and its run of good ones.

    Good: authoritative, the wanted values, and a TTL *equal* to the wanted one (a cache counting an old 3600
    down passes through 60). An authoritative answer that differs, a regression, ends the run. Silence does
    not, for a lost packet hands out no old record; but it counts for nothing.
    """

    last: Observation
    first: Observation | None = None
    """The first of the unbroken run of good probes."""
    good: int = 0
    """How many good probes the run has."""
    asked: int = 1

    @property
    def is_good(self) -> bool:
        """Whether the latest probe was good."""
        return self.good > 0 and self.last.state is State.OK

    def proves(self, proof: Proof) -> bool:
        """Whether the address has given the wanted record often and long enough, and in its latest probe."""
        if not self.is_good or self.first is None or self.good < proof.rounds:
            return False
        return self.last.at - self.first.at >= proof.spread


def follow(track: Track | None, seen: Observation, wanted: Rrset) -> Track:
    """The track of an address with one more probe."""
    first, good, asked = (track.first, track.good, track.asked) if track is not None else (None, 0, 0)
    if seen.state is State.OK and seen.ttl == wanted.ttl and Rrset(seen.values, wanted.ttl) == wanted:
        return Track(seen, first or seen, good + 1, asked + 1)
    if seen.state in FIRM:
        return Track(seen, None, 0, asked + 1)
    return Track(seen, first, good, asked + 1)


@dataclass(frozen=True, slots=True)
class Missing:
    """An address that does not (yet) serve the wanted record, and what it says instead."""

    endpoint: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all addresses agree; ``unseen`` have no route from here, their server was seen elsewhere."""

    ok: bool
    missing: tuple[Missing, ...]
    unseen: tuple[Endpoint, ...] = ()


def t0(tracks: Mapping[Endpoint, Track], proof: Proof | None = None) -> datetime | None:
    """The moment from which no address hands out the old record; None while any address lacks its proof."""
    proof = proof or Proof()
    firsts = [track.first.at for track in tracks.values() if track.first is not None and track.proves(proof)]
    return max(firsts) if firsts and len(firsts) == len(tracks) else None


def safe_instant(t0: datetime, max_old_ttl: int) -> datetime:
    """When the last cache that obeys TTLs has forgotten the old record."""
    return t0 + timedelta(seconds=max_old_ttl) + ROUNDING


def exposure(now: datetime, t0: datetime | None, max_old_ttl: int, new_ttl: int) -> timedelta:
    """How long obedient caches may keep the old address if one cuts ``now``; the whole old TTL without T0."""
    left = safe_instant(t0, max_old_ttl) - now if t0 is not None else timedelta(seconds=max_old_ttl)
    return max(timedelta(seconds=new_ttl), left)


def agreed(
    answers: Sequence[Answer],
    values: Iterable[str],
    ttl: int | None = None,
    hosts: Mapping[Endpoint, str] | None = None,
    waived: Collection[Endpoint] = (),
) -> Verdict:
    """Whether every address serves the values (and the TTL, where given), in one round of answers.

    No answers at all is not agreement. An address without a route from here is set aside only where ``hosts``
    tells that another address of the same server was heard; a ``waived`` one always.
    """
    unseen = tuple(dict.fromkeys((*set_aside(answers, hosts or {}), *waived)))
    wanted = tuple(sorted(set(values)))
    missing = tuple(
        Missing(answer.endpoint, reason)
        for answer in answers
        if answer.endpoint not in unseen and (reason := differs(answer, wanted, ttl))
    )
    heard = any(answer.endpoint not in unseen for answer in answers)
    return Verdict(heard and not missing, missing, unseen)


def set_aside(answers: Sequence[Answer], hosts: Mapping[Endpoint, str]) -> tuple[Endpoint, ...]:
    """The addresses without a route from here whose server was heard at another of its addresses."""
    heard = {hosts.get(answer.endpoint) for answer in answers if answer.state in FIRM} - {None}
    return tuple(
        answer.endpoint for answer in answers if answer.state is State.NO_ROUTE and hosts.get(answer.endpoint) in heard
    )


def differs(answer: Answer, values: tuple[str, ...], ttl: int | None) -> str:
    """In words, how the answer differs from the wanted record; empty if it does not."""
    if answer.state is not State.OK:
        return str(answer)
    if answer.values != values:
        return f"still says {answer}" if ttl is None else f"says {answer}"
    if ttl is not None and answer.ttl != ttl:
        return f"the value is right, its TTL is {answer.ttl} instead of {ttl}"
    return ""
