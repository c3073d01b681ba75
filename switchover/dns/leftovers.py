"""What a change of the A record leaves behind: other records that still lead to the old host."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from switchover.dns.ask import ask
from switchover.dns.message import FIRM, Answer, Endpoint, State, clean_name, is_within, parent_of

if TYPE_CHECKING:
    from switchover.dns.authority import Authority

Severity = Literal["error", "warn", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing left behind, what shows it, and what to do."""

    id: str
    severity: Severity
    evidence: str
    fix: str


@dataclass(frozen=True, slots=True)
class _Records:
    """What one authoritative server says about the name and its surroundings."""

    a: Answer
    aaaa: Answer
    https: Answer
    svcb: Answer
    sibling: Answer
    mx: Answer
    txt: Answer


async def leftovers(authority: Authority, name: str, old_ip: str, new_ip: str) -> tuple[Finding, ...]:
    """Look for records that keep leading clients to ``old_ip`` after the A record names ``new_ip``."""
    server = await _first_that_answers(authority)
    if server is None:
        return (
            Finding(
                "not-looked",
                "error",
                f"no authoritative server of {authority.zone} answered, so nothing could be looked for",
                "Make the servers reachable from here, then look again",
            ),
        )
    owner, zone = authority.owner, authority.zone
    beside = f"{secrets.token_hex(8)}.{parent_of(owner) if owner != zone else zone}"
    asked = (
        (owner, "A"),
        (owner, "AAAA"),
        (owner, "HTTPS"),
        (owner, "SVCB"),
        (beside, "A"),
        (zone, "MX"),
        (zone, "TXT"),
    )
    records = _Records(*await asyncio.gather(*(ask(server, at, kind) for at, kind in asked)))
    mail = await _mail_hosts(server, records.mx, zone, old_ip)
    return (*judge(authority, name, records, old_ip, new_ip), *mail)


async def _first_that_answers(authority: Authority) -> Endpoint | None:
    for endpoint in authority.endpoints:
        if (await ask(endpoint, authority.zone, "SOA", tries=2)).state is State.OK:
            return endpoint
    return None


def judge(authority: Authority, name: str, records: _Records, old_ip: str, new_ip: str) -> tuple[Finding, ...]:
    """The findings that the records of one server give."""
    found = [
        *_silent(records),
        *_ipv6(authority.owner, records.aaaa),
        *(
            finding
            for answer in (records.https, records.svcb)
            for finding in _hints(authority.owner, answer, old_ip, new_ip)
        ),
        *_several(authority.owner, records.a, old_ip),
        *_wildcard(authority, records),
        *_chain(authority, name),
        *_spf(authority.zone, records.txt, old_ip),
    ]
    return tuple(found)


def _silent(records: _Records) -> list[Finding]:
    answers = (records.a, records.aaaa, records.https, records.svcb)
    silent = [f"{answer.rdtype}: {answer}" for answer in answers if answer.state not in FIRM]
    if not silent:
        return []
    return [Finding("not-all-looked", "warn", "; ".join(silent), "Ask for these records by hand, or look again")]


def _ipv6(owner: str, aaaa: Answer) -> list[Finding]:
    if aaaa.state is not State.OK:
        return []
    return [
        Finding(
            "aaaa",
            "error",
            f"{owner} has AAAA {', '.join(aaaa.values)} (TTL {aaaa.ttl}): clients with IPv6 use it first",
            "Change or delete it together with the A, unless it leads to the new host already",
        )
    ]


def _hints(owner: str, answer: Answer, old_ip: str, new_ip: str) -> list[Finding]:
    if answer.state is not State.OK:
        return []
    said = "; ".join(answer.values)
    stale = [value for value in answer.values if old_ip in _addresses(value)]
    hinted = [value for value in answer.values if _addresses(value) - {new_ip}]
    kind = answer.rdtype
    if stale:
        fix = f"Put {new_ip} in its place, or take the hint out; its TTL ({answer.ttl}) counts as the A's does"
        return [Finding("svcb-hint", "error", f"{owner} {kind} names the old address: {said}", fix)]
    if hinted:
        return [
            Finding(
                "svcb-hint",
                "warn",
                f"{owner} {kind} names addresses: {said}",
                "See that they are of the new host",
            )
        ]
    return [Finding("svcb", "info", f"{owner} {kind}: {said}", "See that port and protocols hold for the new host")]


def _addresses(value: str) -> set[str]:
    """The addresses in the hints of an SVCB or HTTPS value."""
    found: set[str] = set()
    for part in value.split():
        key, _, text = part.partition("=")
        if key in ("ipv4hint", "ipv6hint"):
            found |= set(text.strip('"').split(","))
    return found


def _several(owner: str, a: Answer, old_ip: str) -> list[Finding]:
    if a.state is not State.OK or len(a.values) < 2:
        return []
    others = ", ".join(value for value in a.values if value != old_ip)
    return [
        Finding(
            "several-a",
            "warn",
            f"{owner} has {len(a.values)} addresses: {', '.join(a.values)}",
            f"Decide what becomes of {others}: the plan replaces the whole set",
        )
    ]


def _wildcard(authority: Authority, records: _Records) -> list[Finding]:
    if records.sibling.state is not State.OK:
        return []
    same = records.sibling.values == records.a.values
    wild = f"*.{parent_of(authority.owner)}" if authority.owner != authority.zone else f"*.{authority.zone}"
    return [
        Finding(
            "wildcard",
            "warn" if same else "info",
            f"{wild} exists: any name answers {', '.join(records.sibling.values)}"
            + (f", and {authority.owner} may be answered by it" if same else ""),
            "See whether the name is a record of its own; adding one hides every type of the wildcard there",
        )
    ]


def _chain(authority: Authority, name: str) -> list[Finding]:
    if not authority.chain:
        return []
    way = " -> ".join((authority.qname, *(alias.target for alias in authority.chain)))
    inside = is_within(authority.chain[0].owner, authority.zone)
    return [
        Finding(
            "cname",
            "info" if inside else "warn",
            f"{name} is an alias: {way}; the A record stands at {authority.owner} in zone {authority.zone}",
            f"Change {authority.owner}, not {name}; everything else that points there moves with it",
        )
    ]


def _spf(zone: str, txt: Answer, old_ip: str) -> list[Finding]:
    stale = [value for value in txt.values if "v=spf1" in value and old_ip in value]
    if not stale:
        return []
    fix = "If the new host sends mail, add its address before the cutover"
    return [Finding("spf", "info", f"{zone} SPF names the old address: {'; '.join(stale)}", fix)]


async def _mail_hosts(server: Endpoint, mx: Answer, zone: str, old_ip: str) -> tuple[Finding, ...]:
    hosts = [clean_name(value.split()[1]) for value in mx.values]
    inside = [host for host in hosts if is_within(host, zone) and host != "."]
    answers = await asyncio.gather(*(ask(server, host, "A") for host in inside))
    return tuple(
        Finding(
            "mx",
            "info",
            f"mail for {zone} goes to {host} at the old address {old_ip}",
            "Mail does not move with this plan: keep it running there, or move it on its own",
        )
        for host, answer in zip(inside, answers, strict=True)
        if old_ip in answer.values
    )
