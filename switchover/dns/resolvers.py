"""Public resolvers: what people's caches still hold.

Colour, never the gate: one sees a few caches of many, and those unseen are covered by the bound alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from switchover.dns.ask import ask
from switchover.dns.message import Answer, Endpoint, State

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class PublicResolver:
    """A resolver that many people use, and the addresses it is asked at."""

    name: str
    addresses: tuple[Endpoint, ...]


def _resolver(name: str, *ips: str) -> PublicResolver:
    return PublicResolver(name, tuple(Endpoint(ip) for ip in ips))


PUBLIC: tuple[PublicResolver, ...] = (
    _resolver("Cloudflare", "1.1.1.1", "1.0.0.1"),
    _resolver("Google", "8.8.8.8", "8.8.4.4"),
    _resolver("Quad9 unfiltered", "9.9.9.10", "149.112.112.10"),
    _resolver("OpenDNS", "208.67.222.222", "208.67.220.220"),
    _resolver("AdGuard unfiltered", "94.140.14.140"),
    _resolver("ControlD", "76.76.2.0"),
    _resolver("DNS4EU unfiltered", "86.54.11.100"),
    _resolver("CZ.NIC", "193.17.47.1"),
    _resolver("DNS.SB", "185.222.222.222"),
    _resolver("CIRA", "149.112.121.10"),
    _resolver("Hurricane Electric", "74.82.42.42"),
    _resolver("Level 3", "4.2.2.2"),
    _resolver("UltraDNS", "64.6.64.6"),
    _resolver("Yandex", "77.88.8.8"),
    _resolver("AliDNS", "223.5.5.5"),
    _resolver("HiNet", "168.95.1.1"),
)
"""Unfiltered where there is a choice: a filter's answer is about the filter."""


class View(StrEnum):
    """What a resolver holds, against what is expected: never against what the others hold."""

    NEW = "new"
    OLD = "old"
    MIXED = "mixed"  # old here, new there: one address is many caches; or both in one answer
    OTHER = "other"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    SERVFAIL = "servfail"
    TIMEOUT = "timeout"
    NO_ROUTE = "no-route"
    FILTERED = "filtered"


EVIDENCE = frozenset(View) - {View.TIMEOUT, View.NO_ROUTE, View.FILTERED}
"""Views that say something about the record; the rest is shown and counts neither way."""


@dataclass(frozen=True, slots=True)
class ResolverView:
    """What one resolver address said in a few samples."""

    name: str
    endpoint: Endpoint
    state: View
    expires: datetime | None
    """When the last old answer it gave runs out; None if it gave none."""
    detail: str


def named(texts: Sequence[str] | None) -> tuple[PublicResolver, ...]:
    """The resolvers of the plan file (``ip`` or ``ip:port``), or the built-in list. Raises ValueError."""
    if texts is None:
        return PUBLIC
    return tuple(PublicResolver(text, (Endpoint.parse(text),)) for text in texts)


async def sample(
    resolvers: Sequence[PublicResolver], name: str, old: set[str], new: set[str], samples: int = 4
) -> tuple[ResolverView, ...]:
    """Ask each resolver address ``samples`` times (at most 8), each time from a new port, all at once.

    Never ask for a name or type that does not exist yet: the resolvers would keep "no such record".
    """
    gate = asyncio.Semaphore(64)

    async def one(endpoint: Endpoint) -> Answer:
        async with gate:
            return await ask(endpoint, name, "A", recursion=True, tries=2)

    async def view(resolver: PublicResolver, endpoint: Endpoint) -> ResolverView:
        answers = await asyncio.gather(*(one(endpoint) for _ in range(max(1, min(samples, 8)))))
        return judge(resolver.name, answers, frozenset(old), frozenset(new))

    return tuple(
        await asyncio.gather(*(view(resolver, endpoint) for resolver in resolvers for endpoint in resolver.addresses))
    )


def judge(name: str, answers: Sequence[Answer], old: frozenset[str], new: frozenset[str]) -> ResolverView:
    """Sum up one address's samples; it has the new record only if every sample that says anything says so."""
    views = [_view(answer, old, new) for answer in answers]
    told = [view for view in views if view in EVIDENCE]
    counted = {view: (told or views).count(view) for view in dict.fromkeys(told or views)}
    if len(counted) == 1:
        state = next(iter(counted))
    elif View.OLD in counted or View.MIXED in counted:
        state = View.MIXED
    else:
        state = max((view for view in counted if view is not View.NEW), key=counted.__getitem__)
    expiries = [
        answer.at + timedelta(seconds=answer.ttl)
        for answer in answers
        if answer.state is State.OK and answer.ttl is not None and set(answer.values) & (old - new)
    ]
    return ResolverView(
        name, answers[0].endpoint, state, max(expiries, default=None), _detail(answers, counted, len(views))
    )


def _view(answer: Answer, old: frozenset[str], new: frozenset[str]) -> View:
    if any(code.split()[0] in ("15", "16", "17") for code in answer.ede):  # RFC 8914: blocked, censored, filtered
        return View.FILTERED
    match answer.state:
        case State.OK:
            values = set(answer.values)
            if values == new:
                return View.NEW
            if values == old:
                return View.OLD
            return View.MIXED if values & old and values & new else View.OTHER
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
        case State.REFUSED | State.LAME | State.CACHE:
            return View.FILTERED


def _detail(answers: Sequence[Answer], counted: dict[View, int], total: int) -> str:
    parts = [", ".join(f"{view.value} in {count} of {total}" for view, count in counted.items())]
    parts += sorted({f"extended error {code}" for answer in answers for code in answer.ede})
    parts += sorted({str(answer) for answer in answers if answer.state not in (State.OK, State.NXDOMAIN)})
    return "; ".join(parts)
