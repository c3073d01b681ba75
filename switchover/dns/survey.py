"""Everything that can be seen of a name: who decides, what each address serves, what caches hold, what is odd."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from switchover.dns.authority import Authority, find_authority, observe, waive
from switchover.dns.conduct import heard, judge_servers, look_thrice, old_ttl
from switchover.dns.finding import Finding
from switchover.dns.geo import depends_on_place
from switchover.dns.leftovers import Move, leftovers
from switchover.dns.message import FIRM, Answer, Endpoint, Rrset, State
from switchover.dns.propagation import Observation, Proof, Track, exposure, follow, safe_instant, t0, utc
from switchover.dns.resolvers import EVIDENCE, Expected, PublicResolver, ResolverView, Sweep, View, over_https
from switchover.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.plan.journal import Json

_MOVING = ("edge-cache", "drifts")

NO_RESOLVERS: tuple[PublicResolver, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a plan expects of a name; ``old_ttl`` and ``t0`` as its journal has them, where it has."""

    move: Move
    low_ttl: int
    old_ttl: int | None = None
    t0: datetime | None = None
    cut: bool = False
    """Whether the address has been changed already."""
    accept: tuple[str, ...] = ()
    """Findings that the plan accepts by name."""

    @property
    def record(self) -> Rrset:
        """The record that every address shall serve by now."""
        return Rrset((self.move.new if self.cut else self.move.old,), self.low_ttl)


@dataclass(frozen=True, slots=True)
class Survey:
    """One look at a name."""

    at: datetime
    number: int
    authority: Authority
    answers: tuple[Answer, ...]
    tracks: dict[Endpoint, Track]
    resolvers: tuple[ResolverView, ...]
    findings: tuple[Finding, ...]
    ttl: int
    """The longest that a cache may keep what is served now, or what it held before, in seconds."""
    wanted: Wanted | None
    t0: datetime | None
    weaker: str
    """Why this look shows less than it should; empty when it does not."""

    @property
    def agree(self) -> bool:
        """Whether every address that can be reached serves the same record."""
        heard = {answer.values for answer in self.answers if answer.state is State.OK}
        return len(heard) == 1 and all(answer.state in (State.OK, State.NO_ROUTE) for answer in self.answers)

    @property
    def safe(self) -> datetime | None:
        """When the last obedient cache has dropped the old record; without T0 that is not known."""
        return safe_instant(self.t0, self.ttl) if self.t0 is not None else None

    @property
    def if_changed_now(self) -> datetime:
        """Until when caches may keep the old answer if every address changed at this moment."""
        return safe_instant(self.at, self.ttl) if self.wanted is None else self.at + self.exposure

    @property
    def exposure(self) -> timedelta:
        """How long caches may keep the old address if one cuts now."""
        floor = self.wanted.low_ttl if self.wanted is not None and self.t0 is not None else 0
        return exposure(self.at, self.t0, self.ttl, floor)


@dataclass(slots=True)
class Surveyor:
    """Looks at one name again and again; what it remembers does not grow with time."""

    name: str
    resolver: Endpoint | None = None
    port: int = 53
    resolvers: Sequence[PublicResolver] = NO_RESOLVERS
    wanted: Wanted | None = None
    samples: int = 4
    _authority: Authority | None = None
    _findings: tuple[Finding, ...] = ()
    """Of the first look: what takes three looks to see, or is asked for once."""
    _last: tuple[Answer, ...] = ()
    _ttl: int = 0
    _tracks: dict[Endpoint, Track] = field(default_factory=dict)
    _sweep: Sweep | None = None
    _number: int = 0

    async def look(self) -> Survey:
        """Look once. The first look is thorough and takes some seconds. Raises NoAuthority."""
        self._number += 1
        if self._authority is None:
            self._authority = waive(
                await find_authority(self.name, resolver=self.resolver, port=self.port),
                self.wanted.accept if self.wanted is not None else (),
            )
            answers, views = await self._first_look(self._authority)
        else:
            answers, views = await asyncio.gather(observe(self._authority), self._ask_resolvers(self._known()))
        authority = self._authority
        conduct = self._conduct(authority, answers)
        self._last = answers
        for answer in answers:
            seen = Observation.of(answer)
            self._tracks[answer.endpoint] = follow(self._tracks.get(answer.endpoint), seen, self._right(answers))
        self._ttl = max(self._ttl, *(answer.ttl or 0 for answer in answers if answer.state is State.OK), 0)
        longer = _held_longer(views, answers) if self._before else ()
        self._ttl = max(self._ttl, *(view.ttl or 0 for view in longer), 0)
        return Survey(
            datetime.now(UTC),
            self._number,
            authority,
            answers,
            dict(self._tracks),
            views,
            (
                *authority.problems,
                *conduct,
                *self._findings,
                *_too_long(longer),
                *_split(authority, answers, views),
            ),
            self.wanted.old_ttl if self.wanted is not None and self.wanted.old_ttl is not None else self._ttl,
            self.wanted,
            self._t0(authority),
            "" if any(answer.state in FIRM for answer in answers) else _weaker(views),
        )

    def _conduct(self, authority: Authority, answers: tuple[Answer, ...]) -> tuple[Finding, ...]:
        """How the servers behave now; that one's TTL moves has been said of it already."""
        found = judge_servers(authority, (self._last or answers, answers))
        moving = any(each.id in _MOVING for each in self._findings)
        return tuple(each for each in found if not (moving and each.id == "ttl-differs"))

    async def _first_look(self, authority: Authority) -> tuple[tuple[Answer, ...], tuple[ResolverView, ...]]:
        rounds, left, geo = await asyncio.gather(
            look_thrice(authority), leftovers(authority, self._move()), depends_on_place(authority)
        )
        moving = [each for each in judge_servers(authority, rounds) if each.id in _MOVING]
        self._findings = (*moving, *self._weighed((*left, *geo)))
        self._ttl = old_ttl(rounds)
        answers = heard(rounds)
        if not any(answer.state in FIRM for answer in answers):
            self.resolvers = await self._reachable()
        return answers, await self._ask_resolvers(answers)

    @property
    def _before(self) -> bool:
        """Whether nothing has been lowered or changed yet: after it, what caches hold longer is the old record."""
        return self.wanted is None or (self.wanted.old_ttl is None and not self.wanted.cut)

    def _weighed(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Without a plan nothing is about to move, so nothing is about to be left behind: a warning will do."""
        if self.wanted is not None:
            return tuple(findings)
        return tuple(replace(each, severity="warn") if each.severity == "error" else each for each in findings)

    def _move(self) -> Move:
        return self.wanted.move if self.wanted is not None else Move((self.name,))

    async def _reachable(self) -> Sequence[PublicResolver]:
        """The resolvers as they can be asked from here: over HTTPS where port 53 leads nowhere."""
        views = await Sweep(self.resolvers, self.name).round(Expected(frozenset()), 1)
        return self.resolvers if any(view.state in EVIDENCE for view in views) else over_https(self.resolvers)

    async def _ask_resolvers(self, answers: tuple[Answer, ...]) -> tuple[ResolverView, ...]:
        if not self.resolvers:
            return ()
        if self._sweep is None:
            self._sweep = Sweep(self.resolvers, self.name)
        return await self._sweep.round(self._expected(answers), self.samples)

    def _known(self) -> tuple[Answer, ...]:
        return tuple(
            Answer(end, self.name, "A", track.last.at, track.last.state, ttl=track.last.ttl, values=track.last.values)
            for end, track in self._tracks.items()
        )

    def _expected(self, answers: Sequence[Answer]) -> Expected:
        """What resolvers should hold: by the plan, or else what the authority serves now."""
        if self.wanted is None:
            now = frozenset(value for answer in answers for value in answer.values)
            return Expected(frozenset(), now, self._ttl or None)
        move, bound = self.wanted.move, None
        if self.wanted.cut and self.wanted.t0 is not None:
            bound = safe_instant(self.wanted.t0, self.wanted.low_ttl)
        return Expected(frozenset({move.old}), frozenset({move.new}), self._ttl or None, bound)

    def _right(self, answers: Sequence[Answer]) -> Rrset:
        """What counts as good: the plan's record, or else whatever most of the addresses serve."""
        if self.wanted is not None:
            return self.wanted.record
        rrsets = [answer.rrset for answer in answers if answer.rrset is not None]
        return max(rrsets, key=rrsets.count) if rrsets else Rrset((), 0)

    def _t0(self, authority: Authority) -> datetime | None:
        if self.wanted is None:
            return None
        counted = {end: track for end, track in self._tracks.items() if end not in authority.waived}
        if any(track.last.state in FIRM and not track.is_good for track in counted.values()):
            return None  # an address that has fallen back hands out the old record again, whatever was proved before
        return self.wanted.t0 if self.wanted.t0 is not None else t0(counted, Proof())


_HOLDS = frozenset({View.SAME, View.OLD, View.MIXED, View.BOTH, View.FLOOR})


def _held_longer(views: Sequence[ResolverView], answers: Sequence[Answer]) -> tuple[ResolverView, ...]:
    """Caches that keep the record for longer than the authority allows now."""
    most = max((answer.ttl or 0 for answer in answers if answer.state is State.OK), default=0)
    return tuple(view for view in views if view.state in _HOLDS and most and (view.ttl or 0) > most)


def _too_long(views: Sequence[ResolverView]) -> tuple[Finding, ...]:
    if not views:
        return ()
    said = "; ".join(f"{view.name} {view.endpoint}: {duration(view.ttl or 0)}" for view in views)
    return (
        Finding(
            "kept-longer",
            "warn",
            f"resolvers keep it for longer than its TTL: {said}. It was higher of late, or they have a floor",
            "The longest counts as the old TTL; nothing to do but to wait",
        ),
    )


def _split(authority: Authority, answers: Sequence[Answer], views: Sequence[ResolverView]) -> tuple[Finding, ...]:
    """Inside and outside see different zones: what is proved here is not what users get."""
    told = [view for view in views if view.state in EVIDENCE]
    if len(told) < 3 or any(view.state is not View.OTHER for view in told):
        return ()
    here = ", ".join(sorted({value for answer in answers for value in answer.values}))
    return (
        Finding(
            "split-horizon",
            "error",
            f"the servers found for {authority.zone} say {here}; every public resolver says otherwise: this network "
            "has a zone of its own",
            "Run this from outside, or name a public resolver: dns.resolver, or --at",
        ),
    )


def _weaker(views: Sequence[ResolverView]) -> str:
    told = any(view.state in EVIDENCE for view in views)
    what = "only resolvers could be asked" if told else "no resolver could be asked either"
    return f"no authoritative server can be reached from here: {what}. This shows less, and proves nothing"


def to_json(survey: Survey) -> dict[str, Json]:
    """The survey as one JSON document."""
    authority, wanted = survey.authority, survey.wanted
    expected: Json = None
    if wanted is not None:
        phase = "cut" if wanted.cut else "lowered" if survey.t0 is not None else "before"
        expected = {
            "old": [wanted.move.old],
            "new": [wanted.move.new],
            "old_ttl": survey.ttl,
            "low_ttl": wanted.low_ttl,
            "phase": phase,
        }
    return {
        "at": _time(survey.at),
        "round": survey.number,
        "name": authority.qname,
        "owner": authority.owner,
        "zone": authority.zone,
        "primary": authority.primary,
        "signed": authority.signed,
        "chain": [{"owner": each.owner, "target": each.target, "ttl": each.ttl} for each in authority.chain],
        "expected": expected,
        "authoritative": [_address(survey, answer) for answer in survey.answers],
        "resolvers": [view.to_json() for view in survey.resolvers],
        "findings": [finding.to_json() for finding in survey.findings],
        "agree": survey.agree,
        "ttl": survey.ttl,
        "t0": _time(survey.t0),
        "safe": _time(survey.safe),
        "exposure_s": int(survey.exposure.total_seconds()),
        "safe_if_changed_now": _time(survey.if_changed_now),
        "weaker": survey.weaker,
        "proved": survey.t0 is not None,
    }


def _time(at: datetime | None) -> str | None:
    return utc(at) if at is not None else None


def _address(survey: Survey, answer: Answer) -> dict[str, Json]:
    track = survey.tracks[answer.endpoint]
    return {
        "host": survey.authority.hosts.get(answer.endpoint, ""),
        "address": str(answer.endpoint),
        "state": _word(answer, survey.wanted),
        "says": str(answer),
        "values": list(answer.values),
        "ttl": answer.ttl,
        "serial": answer.serial,
        "nsid": answer.nsid,
        "at": _time(answer.at),
        "since": _time(track.first.at) if track.first is not None else None,
        "good": track.is_good,
        "waived": answer.endpoint in survey.authority.waived,
    }


def _word(answer: Answer, wanted: Wanted | None) -> str:
    """The state in the words of a plan, where there is one: the old record, the old one with the low TTL, the new."""
    if answer.state is not State.OK or wanted is None:
        return answer.state.value
    if answer.values == (wanted.move.new,):
        return "new"
    if answer.values == (wanted.move.old,):
        return "low" if answer.ttl == wanted.low_ttl else "old"
    return "other"
