"""What a change of the A record leaves behind: other records that still lead to the old host."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.dns.ask import ask
from switchover.dns.finding import Finding
from switchover.dns.message import FIRM, Answer, Endpoint, State, is_within, parent_of
from switchover.dns.unmoved import unmoved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from switchover.dns.authority import Authority

_EDGES = """
    103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 104.16.0.0/13 104.24.0.0/14 108.162.192.0/18 131.0.72.0/22
    141.101.64.0/18 162.158.0.0/15 172.64.0.0/13 173.245.48.0/20 188.114.96.0/20 190.93.240.0/20 197.234.240.0/22
    198.41.128.0/17
"""
_CLOUDFLARE = tuple(ipaddress.ip_network(each) for each in _EDGES.split())
"""The networks that Cloudflare publishes as its edge's (cloudflare.com/ips-v4)."""


@dataclass(frozen=True, slots=True)
class Move:
    """What is to move: the names of the plan, and from where to where; without addresses nothing is compared."""

    names: tuple[str, ...]
    old: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True)
class _Records:
    """What one authoritative server says about the name and its surroundings."""

    a: Answer
    aaaa: Answer
    https: Answer
    svcb: Answer
    sibling: Answer
    txt: Answer


async def leftovers(authority: Authority, move: Move) -> tuple[Finding, ...]:
    """Look, at every address, for records that keep leading clients to the old host after the A record has changed."""
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
    above = parent_of(authority.owner) if authority.owner != authority.zone else authority.zone
    beside = f"{secrets.token_hex(8)}.{above}"
    everywhere, others = await asyncio.gather(
        asyncio.gather(*(_records(endpoint, authority, beside) for endpoint in authority.endpoints)),
        unmoved(authority, server, move.names, move.old),
    )
    found = [finding for records in everywhere for finding in judge(authority, records, move)]
    found += _elsewhere(authority.owner, [records.a for records in everywhere], move)
    if not any(records.a.state in FIRM for records in everywhere):
        found += _silent(everywhere[0])
    return (*_once(found), *others)


async def _first_that_answers(authority: Authority) -> Endpoint | None:
    for endpoint in authority.endpoints:
        if (await ask(endpoint, authority.zone, "SOA", tries=2)).state is State.OK:
            return endpoint
    return None


async def _records(server: Endpoint, authority: Authority, beside: str) -> _Records:
    owner, zone = authority.owner, authority.zone
    asked = ((owner, "A"), (owner, "AAAA"), (owner, "HTTPS"), (owner, "SVCB"), (beside, "A"), (zone, "TXT"))
    answers = await asyncio.gather(*(ask(server, at, kind, tries=2, dnssec=kind == "A") for at, kind in asked))
    return _Records(*answers)


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """The first of each name: several addresses mostly say the same."""
    first: dict[str, Finding] = {}
    for each in findings:
        first.setdefault(each.name, each)
    return list(first.values())


def judge(authority: Authority, records: _Records, move: Move) -> tuple[Finding, ...]:
    """The findings that the records of one server give."""
    found = [
        *_ipv6(authority.owner, records.aaaa),
        *(finding for answer in (records.https, records.svcb) for finding in _hints(authority.owner, answer, move)),
        *_several(authority.owner, records.a, move.old),
        *_proxied(authority.owner, records.a),
        *_wildcard(authority, records),
        *_chain(authority),
        *_spf(authority.zone, records.txt, move.old),
    ]
    return tuple(found)


def _silent(records: _Records) -> list[Finding]:
    answers = (records.a, records.aaaa, records.https, records.svcb)
    silent = "; ".join(f"{answer.rdtype}: {answer}" for answer in answers if answer.state not in FIRM)
    return [Finding("not-all-looked", "error", silent, "Look again when the servers answer, or ask for these by hand")]


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


def _hints(owner: str, answer: Answer, move: Move) -> list[Finding]:
    if answer.state is not State.OK:
        return []
    said = "; ".join(answer.values)
    stale = [value for value in answer.values if move.old in _addresses(value)]
    hinted = [value for value in answer.values if _addresses(value) - {move.new}]
    kind = answer.rdtype
    if stale:
        new = f"Put {move.new} in its place" if move.new else "Change it too"
        fix = f"{new}, or take the hint out; its TTL ({answer.ttl}) counts as the A's does"
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


def _several(owner: str, a: Answer, old: str) -> list[Finding]:
    if a.state is not State.OK or len(a.values) < 2:
        return []
    others = ", ".join(value for value in a.values if value != old)
    return [
        Finding(
            "several-a",
            "error",
            f"{owner} has {len(a.values)} addresses: {', '.join(a.values)}",
            f"Decide what becomes of {others}: a plan moves a name that has one address",
        )
    ]


def _elsewhere(owner: str, everywhere: Sequence[Answer], move: Move) -> list[Finding]:
    served = {value for a in everywhere if a.state is State.OK for value in a.values}
    if not move.old or not served or {move.old, move.new} & served:
        return []
    return [
        Finding(
            "not-from",
            "error",
            f"{owner} is {', '.join(sorted(served))}; the plan moves it from {move.old} to {move.new}",
            "Set dns.from to the address that is served, or find out who changed it",
        )
    ]


def _proxied(owner: str, a: Answer) -> list[Finding]:
    edges = [value for value in a.values if any(ipaddress.ip_address(value) in net for net in _CLOUDFLARE)]
    if a.state is not State.OK or not edges:
        return []
    return [
        Finding(
            "proxied",
            "error",
            f"{owner} is {', '.join(edges)}, Cloudflare's edge: the origin's address is not in DNS",
            "Change the origin in the console; no propagation is to be waited for, look at it over HTTPS",
        )
    ]


def _wildcard(authority: Authority, records: _Records) -> list[Finding]:
    if records.sibling.state is not State.OK:
        return []
    owner = authority.owner
    wild = f"*.{parent_of(owner)}" if owner != authority.zone else f"*.{authority.zone}"
    labels = owner.count(".") + 1
    signed = records.a.signature
    proved = signed is not None and signed.labels < labels
    same = records.sibling.values == records.a.values
    by_it = f", and {owner} {'is' if proved else 'may be'} answered by it" if same else ""
    return [
        Finding(
            "wildcard",
            "warn" if same else "info",
            f"{wild} exists: any name answers {', '.join(records.sibling.values)}{by_it}",
            "See whether the name is a record of its own; adding one hides every type of the wildcard there",
        )
    ]


def _chain(authority: Authority) -> list[Finding]:
    if not authority.chain:
        return []
    name = authority.qname
    way = " -> ".join((name, *(alias.target for alias in authority.chain)))
    inside = is_within(authority.chain[0].owner, authority.zone)
    return [
        Finding(
            "cname",
            "info" if inside else "warn",
            f"{name} is an alias: {way}; the A record stands at {authority.owner} in zone {authority.zone}",
            f"Change {authority.owner}, not {name}; everything else that points there moves with it",
        )
    ]


def _spf(zone: str, txt: Answer, old: str) -> list[Finding]:
    stale = [value for value in txt.values if "v=spf1" in value and _names_address(value, old)]
    if not stale:
        return []
    fix = "If the new host sends mail, add its address before the cutover"
    return [Finding("spf", "info", f"{zone} SPF names the old address: {'; '.join(stale)}", fix)]


def _names_address(spf: str, old: str) -> bool:
    """Whether an ``ip4:`` of the policy holds the address (RFC 7208 section 5.6)."""
    for word in spf.replace('"', " ").split():
        mechanism, found, network = word.lstrip("+-~?").partition(":")
        if mechanism.lower() != "ip4" or not found or not old:
            continue
        try:
            if ipaddress.ip_address(old) in ipaddress.ip_network(network, strict=False):
                return True
        except ValueError:
            continue
    return False
