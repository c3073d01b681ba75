"""Public resolvers: what people's caches still hold.

Colour, never the gate: one sees a few caches of many, and those unseen are covered by the bound alone.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from switchover.dns.ask import ask
from switchover.dns.message import Answer, Endpoint, State
from switchover.dns.propagation import ROUNDING, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.plan.journal import Json


@dataclass(frozen=True, slots=True)
class PublicResolver:
    """A resolver that many people use, and the addresses it is asked at."""

    name: str
    addresses: tuple[Endpoint, ...]
    private: tuple[Endpoint, ...] = ()
    """Over HTTPS or TLS: asked where port 53 leads nowhere."""


def _resolver(name: str, *addresses: str, https: str = "") -> PublicResolver:
    over_https = (Endpoint.parse(f"https://{https}"),) if https else ()
    return PublicResolver(name, tuple(Endpoint(each) for each in addresses), over_https)


PUBLIC: tuple[PublicResolver, ...] = (
    _resolver("Cloudflare", "1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", https="cloudflare-dns.com/dns-query"),
    _resolver("Google", "8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", https="dns.google/dns-query"),
    _resolver("Quad9 unfiltered", "9.9.9.10", "149.112.112.10", "2620:fe::10", https="dns10.quad9.net/dns-query"),
    _resolver("OpenDNS", "208.67.222.222", "208.67.220.220", "2620:119:35::35", https="doh.opendns.com/dns-query"),
    _resolver(
        "AdGuard unfiltered",
        "94.140.14.140",
        "94.140.14.141",
        "2a10:50c0::1:ff",
        https="unfiltered.adguard-dns.com/dns-query",
    ),
    _resolver("ControlD", "76.76.2.0", "76.76.10.0", "2606:1a40::", https="freedns.controld.com/p0"),
    _resolver("DNS4EU unfiltered", "86.54.11.100", "2a13:1001::86:54:11:100", https="unfiltered.joindns4.eu/dns-query"),
    _resolver("CZ.NIC", "193.17.47.1", "185.43.135.1", "2001:148f:ffff::1", https="odvr.nic.cz/dns-query"),
    _resolver("DNS.SB", "185.222.222.222", "2a09::", https="doh.dns.sb/dns-query"),
    _resolver("CIRA", "149.112.121.10", "2620:10a:80bb::10", https="private.canadianshield.cira.ca/dns-query"),
    _resolver("Hurricane Electric", "74.82.42.42", "2001:470:20::2"),
    _resolver("Level 3", "4.2.2.2"),
    _resolver("UltraDNS", "64.6.64.6", "2620:74:1b::1:1"),
    _resolver("Yandex", "77.88.8.8", "2a02:6b8::feed:0ff"),
    _resolver("AliDNS", "223.5.5.5", "2400:3200::1", https="dns.alidns.com/dns-query"),
    _resolver("DNSPod", "119.29.29.29"),
    _resolver("HiNet", "168.95.1.1"),
    _resolver("KT", "168.126.63.1"),
    _resolver("Telstra", "139.130.4.4"),
    _resolver("UOL", "200.221.11.100"),
)
"""Unfiltered where there is a choice: a filter's answer is about the filter."""

BETWEEN = timedelta(seconds=30)
"""A resolver is not asked again sooner."""

MOST_SAMPLES = 8
AT_ONCE = 64


class View(StrEnum):
    """What a resolver holds, against what is expected: never against what the others hold."""

    SAME = "same"  # as the authority serves; where nothing is to change
    NEW = "new"
    OLD = "old"
    MIXED = "mixed"  # old here, new there: one address is many caches
    BOTH = "both"  # old and new in one answer
    OTHER = "other"
    STALE = "stale"  # it says itself that the answer has run out (RFC 8767)
    FLOOR = "floor"  # it keeps the answer longer than the authority allows
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    SERVFAIL = "servfail"
    FILTERED = "filtered"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    NO_ROUTE = "no-route"


EVIDENCE = frozenset(View) - {View.TIMEOUT, View.NO_ROUTE, View.FILTERED, View.REFUSED}
"""Views that say something about the record; the rest is shown and counts neither way."""

HOLDS_OLD = frozenset({View.OLD, View.MIXED, View.BOTH, View.STALE, View.FLOOR})
"""Views that lead some users to the old host still."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is right to hold: the old record until ``bound``, the new one; ``ttl`` the most the authority gives.

    Where nothing is to change there is no old record, and the new one is what is served.
    """

    old: frozenset[str]
    new: frozenset[str] = frozenset()
    ttl: int | None = None
    bound: datetime | None = None
    """When the last obedient cache has dropped the old record; None while it is still served."""


@dataclass(frozen=True, slots=True)
class ResolverView:
    """What one resolver address said in a few samples."""

    name: str
    endpoint: Endpoint
    state: View
    expires: datetime | None
    """When the last old answer it gave runs out; None if it gave none."""
    detail: str
    at: datetime
    ttl: int | None = None
    """The longest that any answer is still kept, in seconds."""
    samples: int = 1

    def to_json(self) -> dict[str, Json]:
        """The view as JSON."""
        return {
            "name": self.name,
            "address": str(self.endpoint),
            "state": self.state.value,
            "says": self.detail,
            "ttl": self.ttl,
            "expires": utc(self.expires) if self.expires is not None else None,
            "at": utc(self.at),
            "samples": self.samples,
        }


def named(texts: Sequence[str] | None) -> tuple[PublicResolver, ...]:
    """The resolvers of the plan file, or the built-in list. Raises ValueError."""
    if texts is None:
        return PUBLIC
    return tuple(PublicResolver(text, (Endpoint.parse(text),)) for text in texts)


def over_https(resolvers: Sequence[PublicResolver]) -> tuple[PublicResolver, ...]:
    """The same resolvers where port 53 leads nowhere: at their HTTPS addresses, those that have one."""
    return tuple(replace(each, addresses=each.private, private=()) for each in resolvers if each.private)


@dataclass(slots=True)
class Sweep:
    """Resolvers asked again and again about one name, politely.

    None sooner than every 30 s, none before the answer it gave can have run out, at most 64 questions at once.
    """

    resolvers: Sequence[PublicResolver]
    name: str
    views: dict[Endpoint, ResolverView] = field(default_factory=dict)
    due: dict[Endpoint, datetime] = field(default_factory=dict)

    async def round(self, expected: Expected, samples: int = 4) -> tuple[ResolverView, ...]:
        """Ask those that are due, each address ``samples`` times (at most 8) from new ports, all at once.

        The rest keeps the view it had. Never ask for a name or type that does not exist yet: the resolvers
        would keep "no such record".
        """
        now = datetime.now(UTC)
        gate = asyncio.Semaphore(AT_ONCE)
        asked = [
            (resolver.name, endpoint)
            for resolver in self.resolvers
            for endpoint in resolver.addresses
            if self.due.get(endpoint, now) <= now
        ]
        views = await asyncio.gather(*(self._view(*each, expected, samples, gate) for each in asked))
        for view in views:
            self.views[view.endpoint] = view
            self.due[view.endpoint] = _due(view)
        order = [endpoint for resolver in self.resolvers for endpoint in resolver.addresses]
        return tuple(self.views[endpoint] for endpoint in order)

    async def _view(
        self, name: str, endpoint: Endpoint, expected: Expected, samples: int, gate: asyncio.Semaphore
    ) -> ResolverView:
        async def one() -> Answer:
            async with gate:
                return await ask(endpoint, self.name, "A", recursion=True, tries=2)

        first = await one()
        if first.state in (State.TIMEOUT, State.NO_ROUTE, State.BROKEN, State.REFUSED):
            return judge(name, (first,), expected)  # more of the same would only be rude
        others = await asyncio.gather(*(one() for _ in range(min(samples, MOST_SAMPLES) - 1)))
        return judge(name, (first, *others), expected)


def _due(view: ResolverView) -> datetime:
    """When to ask again: what it holds cannot change before it has run out."""
    jitter = timedelta(seconds=random.uniform(0, 3))  # noqa: S311  so that many askers do not keep step
    held = timedelta(seconds=min(view.ttl or 0, 3600))
    return view.at + max(BETWEEN, held if view.state in (View.OLD, View.NEW) else BETWEEN) + jitter


async def sample(
    resolvers: Sequence[PublicResolver], name: str, expected: Expected, samples: int = 4
) -> tuple[ResolverView, ...]:
    """Ask every resolver address once."""
    return await Sweep(resolvers, name).round(expected, samples)


def judge(name: str, answers: Sequence[Answer], expected: Expected) -> ResolverView:
    """Sum up one address's samples; it has the new record only if every sample that says anything says so."""
    views = [_view(answer, expected) for answer in answers]
    told = [view for view in views if view in EVIDENCE] or views
    counted = {view: told.count(view) for view in dict.fromkeys(told)}
    expiries = [
        answer.at + timedelta(seconds=answer.ttl)
        for answer in answers
        if answer.state is State.OK and answer.ttl is not None and set(answer.values) & (expected.old - expected.new)
    ]
    ttls = [answer.ttl for answer in answers if answer.state is State.OK and answer.ttl is not None]
    return ResolverView(
        name,
        answers[0].endpoint,
        _sum(counted),
        max(expiries, default=None),
        _detail(answers, views),
        max(answer.at for answer in answers),
        max(ttls, default=None),
        len(answers),
    )


def _sum(counted: dict[View, int]) -> View:
    if len(counted) == 1:
        return next(iter(counted))
    for worst in (View.STALE, View.FLOOR):
        if worst in counted:
            return worst
    if counted.keys() & HOLDS_OLD:
        return View.MIXED
    return max((view for view in counted if view not in (View.NEW, View.SAME)), key=counted.__getitem__)


def _view(answer: Answer, expected: Expected) -> View:
    codes = {code.split()[0] for code in answer.ede}
    if codes & {"15", "16", "17"}:  # RFC 8914: blocked, censored, filtered
        return View.FILTERED
    match answer.state:
        case State.OK:
            return _values(answer, expected, stale=bool(codes & {"3", "19"}))
        case State.NXDOMAIN:
            return View.NXDOMAIN
        case State.NODATA:
            return View.NODATA
        case State.SERVFAIL:
            return View.SERVFAIL
        case State.NO_ROUTE:
            return View.NO_ROUTE
        case State.TIMEOUT | State.BROKEN:
            return View.TIMEOUT
        case State.REFUSED | State.LAME | State.CACHE | State.BOGUS:
            return View.REFUSED


def _values(answer: Answer, expected: Expected, *, stale: bool) -> View:
    values, ttl = frozenset(answer.values), answer.ttl or 0
    long = expected.ttl is not None and ttl > expected.ttl
    if values == expected.new:
        return View.NEW if expected.old else View.FLOOR if long else View.SAME
    if values & expected.old and values & (expected.new - expected.old):
        return View.BOTH
    if values != expected.old:
        return View.OTHER
    if stale:
        return View.STALE
    late = expected.bound is not None and answer.at + timedelta(seconds=ttl) > expected.bound + ROUNDING
    return View.FLOOR if late or long else View.OLD


def _detail(answers: Sequence[Answer], views: Sequence[View]) -> str:
    counted = {view: views.count(view) for view in dict.fromkeys(views)}
    parts = [", ".join(f"{view.value} in {count} of {len(views)}" for view, count in counted.items())]
    sites = {answer.nsid for answer in answers if answer.nsid}
    if len(sites) > 1:
        parts.append(f"{len(sites)} sites")
    parts += sorted({f"extended error {code}" for answer in answers for code in answer.ede})
    parts += sorted({str(answer) for answer in answers if answer.state not in (State.OK, State.NXDOMAIN)})
    return "; ".join(parts)
