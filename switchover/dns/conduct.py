"""How each authoritative address behaves: silent, lame, a cache in disguise, or not of one mind with the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from switchover.dns.authority import observe
from switchover.dns.finding import Finding
from switchover.dns.message import State
from switchover.dns.propagation import set_aside
from switchover.words import instant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from switchover.dns.authority import Authority
    from switchover.dns.message import Answer, Endpoint

BETWEEN_S = 1.1
"""Between two looks: long enough for a TTL in whole seconds to move."""

LOOKS = 3

EXPIRES_SOON = timedelta(days=3)
"""A plan's lead and window lie about this far ahead."""

Look = tuple["Answer", ...]


async def look_thrice(authority: Authority) -> tuple[Look, ...]:
    """Three rounds, 1.1 s apart: an authoritative server's TTL stands still, a cache's counts down."""
    rounds: list[Look] = [await observe(authority)]
    for _ in range(LOOKS - 1):
        await asyncio.sleep(BETWEEN_S)
        # Less patience, more tries: a bad line loses a few in a row, and the dead are not waited for thrice.
        rounds.append(await observe(authority, tries=3, timeout_s=0.4))
    return tuple(rounds)


def judge_servers(authority: Authority, rounds: Sequence[Look]) -> tuple[Finding, ...]:
    """What the rounds show about each address, and about all of them together."""
    last = heard(rounds)
    counting = tuple(_counting(authority, rounds))
    return (
        *_intercepted(authority, last),
        *_unreachable(authority, last),
        *_lame(authority, last),
        *_signed(authority, last),
        *counting,
        *_of_two_minds(authority, last, {finding.subject for finding in counting}),
    )


def heard(rounds: Sequence[Look]) -> Look:
    """The latest answer of each address that came at all: one lost packet is no silence."""
    return tuple(
        next((answer for answer in reversed(looks) if answer.state is not State.TIMEOUT), looks[-1])
        for looks in zip(*rounds, strict=True)
    )


def _label(authority: Authority, endpoint: Endpoint) -> str:
    return f"{authority.hosts.get(endpoint, '')} ({endpoint})"


def _intercepted(authority: Authority, answers: Look) -> Iterable[Finding]:
    """One address that is a cache is that server's fault; all of them are the network's."""
    caches = [answer for answer in answers if answer.state is State.CACHE]
    if len(caches) > 1 and len(caches) == sum(1 for answer in answers if answer.state is not State.NO_ROUTE):
        yield Finding(
            "intercepted",
            "error",
            f"every server of {authority.zone} answers as a cache does (not authoritative, recursion offered): "
            "this network answers port 53 in their place",
            "Run this from a network that lets port 53 through; what is seen here says nothing about the servers",
        )
        return
    for answer in caches:
        yield Finding(
            "cached",
            "error",
            f"{_label(authority, answer.endpoint)} {answer}",
            "Find out what stands before this server; until then it proves nothing",
            authority.hosts.get(answer.endpoint, ""),
        )


def _unreachable(authority: Authority, answers: Look) -> Iterable[Finding]:
    aside = set_aside(answers, authority.hosts)
    if aside:
        many = f"{len(aside)} of {len(answers)} addresses"
        yield Finding(
            "not-seen",
            "info",
            f"{many} have no route from here and are not observed: {', '.join(map(str, aside))}; "
            "their servers were heard at another address",
            "Nothing; or run this from a machine with IPv6",
        )
    for answer in answers:
        if answer.endpoint in aside or answer.state not in (State.TIMEOUT, State.BROKEN, State.NO_ROUTE):
            continue
        routed = answer.state is not State.NO_ROUTE
        yield Finding(
            "silent" if routed else "no-route",
            "error",
            f"{_label(authority, answer.endpoint)}: {answer}",
            "Mend the server or take it out of the NS records; or accept it, and its caches are not proved"
            if routed
            else "Run this from a machine that reaches it; or accept it, and its caches are not proved",
            answer.endpoint.ip,
        )


def _lame(authority: Authority, answers: Look) -> Iterable[Finding]:
    for answer in answers:
        if answer.state in (State.LAME, State.REFUSED, State.SERVFAIL):
            yield Finding(
                "lame",
                "error",
                f"{_label(authority, answer.endpoint)} is listed as a server of {authority.zone} "
                f"and does not serve it: {answer}",
                "Mend the server or take it out of the NS records; or accept it, and it is not waited for",
                authority.hosts.get(answer.endpoint, ""),
            )


def _signed(authority: Authority, answers: Look) -> Iterable[Finding]:
    for answer in answers:
        if answer.state is State.BOGUS:
            yield Finding(
                "bogus",
                "error",
                f"{_label(authority, answer.endpoint)} says {answer.detail}",
                "Sign the zone anew on the primary and see that it is transferred",
                answer.endpoint.ip,
            )
    ends = [answer.signature.expiration for answer in answers if answer.signature is not None]
    if authority.signed and ends:
        left = min(ends) - max(answer.at for answer in answers)
        soon = left < EXPIRES_SOON
        yield Finding(
            "dnssec",
            "warn" if soon else "info",
            f"{authority.zone} is signed; the first signature runs out {instant(min(ends))}",
            "Have it signed anew before the window" if soon else "Nothing: each answer's signature is looked at",
        )


def _counting(authority: Authority, rounds: Sequence[Look]) -> Iterable[Finding]:
    """An address that claims authority and whose TTL moves: a cache before it, or a flattened name."""
    for looks in zip(*rounds, strict=True):
        ttls = [answer.ttl for answer in looks if answer.state is State.OK and answer.ttl is not None]
        same = len({answer.values for answer in looks if answer.state is State.OK}) <= 1
        label = _label(authority, looks[0].endpoint)
        if len(ttls) < LOOKS or (len(set(ttls)) == 1 and same):
            continue
        if same and all(later < earlier for earlier, later in pairwise(ttls)):
            yield Finding(
                "edge-cache",
                "warn",
                f"{label} claims authority and its TTL counts down ({', '.join(map(str, ttls))}): a cache of the "
                "provider stands before it",
                "Changes show there only once that cache has run out; only an answer with the full new TTL counts",
                authority.hosts.get(looks[0].endpoint, ""),
            )
        else:
            said = "; ".join(str(answer) for answer in looks)
            yield Finding(
                "drifts",
                "warn",
                f"{label} answers differently from second to second: {said}",
                "ALIAS, ANAME or flattening, or servers of two minds behind one address? An A made from another "
                "name cannot be edited here, and its TTL is that name's",
                authority.hosts.get(looks[0].endpoint, ""),
            )


def _of_two_minds(authority: Authority, answers: Look, counting: Collection[str]) -> Iterable[Finding]:
    """Addresses that are authoritative and differ, against what most serials, or the highest, say."""
    heard = [answer for answer in answers if answer.state in (State.OK, State.NODATA, State.NXDOMAIN)]
    steady = [answer for answer in heard if authority.hosts.get(answer.endpoint) not in counting]
    if len({(answer.state, answer.values) for answer in heard}) > 1:
        newest = max((answer.serial or 0) for answer in heard)
        lead = Counter((answer.state, answer.values) for answer in heard if (answer.serial or 0) == newest)
        right = lead.most_common(1)[0][0]
        equal = len({answer.serial for answer in heard}) == 1
        for answer in heard:
            if (answer.state, answer.values) == right:
                continue
            cause = (
                f"its serial {answer.serial} is the same: the primary changed the record without raising the "
                "serial, so secondaries never ask again"
                if equal
                else f"its serial is {answer.serial}, the newest is {newest}: a secondary that lags or is stuck"
            )
            yield Finding(
                "differs",
                "error",
                f"{_label(authority, answer.endpoint)} says {answer}, others say {_said(right)}; {cause}",
                "See why the zone is not transferred there; or accept it, and its caches are not proved",
                answer.endpoint.ip,
            )
    elif len({answer.ttl for answer in steady if answer.state is State.OK}) > 1:
        said = "; ".join(f"{answer.endpoint}: {answer.ttl}" for answer in steady)
        yield Finding(
            "ttl-differs",
            "warn",
            f"the servers give the record different TTLs: {said}; the highest counts",
            "Wait for the zone to be transferred, or mend the secondary",
        )


def _said(what: tuple[State, tuple[str, ...]]) -> str:
    state, values = what
    return ", ".join(values) if values else state.value.upper()


def old_ttl(rounds: Sequence[Look], held: timedelta = timedelta()) -> int:
    """The highest TTL that any address gave, or that a cache was seen to hold longer than that, in seconds."""
    told = [answer.ttl for answers in rounds for answer in answers if answer.state is State.OK and answer.ttl]
    return max([*told, int(held.total_seconds())], default=0)
