"""What else in the zone names the old address, and is not part of the plan: reported, never changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import dns.asyncquery
import dns.exception
import dns.inet
import dns.rdatatype
import dns.zone

from switchover.dns.ask import ask
from switchover.dns.finding import Finding
from switchover.dns.message import Answer, Endpoint, State, clean_name, is_within

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from switchover.dns.authority import Authority

_LABELS = """
    www mail smtp imap webmail ftp api app admin blog shop store m mobile static cdn img dev staging test beta vpn git
    status help support docs auth login portal
"""
USUAL = tuple(_LABELS.split())
"""Names that a zone often has beside the one that moves; asked of the zone's own server, where no harm is done."""

TRANSFER_S = 5.0


async def unmoved(authority: Authority, server: Endpoint, names: Collection[str], old: str) -> tuple[Finding, ...]:
    """Names of the zone that lead to ``old`` and stay: from a zone transfer where one is given, else usual ones."""
    if not old:
        return ()
    mx, records = await asyncio.gather(ask(server, authority.zone, "MX", tries=2), _records(authority, server))
    moving = {*names, authority.owner}
    mail = [clean_name(value.split()[1]) for value in mx.values]
    direct = {name for name, values in records.items() if old in values} - moving
    aliases = {name for name, values in records.items() if moving & set(values)} - moving
    hosts = sorted({host for host in mail if host in direct or old in await _address(server, host, authority.zone)})
    return (
        *(_mail(authority.zone, host, old) for host in hosts),
        *(_neighbour(authority, name, old) for name in sorted(direct - set(hosts))),
        *(_alias(name, authority.owner) for name in sorted(aliases)),
    )


def _mail(zone: str, host: str, old: str) -> Finding:
    return Finding(
        "mx",
        "info",
        f"mail for {zone} goes to {host} at the old address {old}",
        "Mail does not move with this plan: keep it running there, or move it on its own",
        host,
    )


def _neighbour(authority: Authority, name: str, old: str) -> Finding:
    """The zone itself and its www belong together in people's minds: one that moves alone is worth a warning."""
    pair = {authority.zone, f"www.{authority.zone}"}
    return Finding(
        "stays",
        "warn" if name in pair and authority.owner in pair else "info",
        f"{name} is at the old address {old} too, and not in the plan",
        "Add it to dns.names, or keep the old host for it",
        name,
    )


def _alias(name: str, owner: str) -> Finding:
    return Finding(
        "moves-along", "info", f"{name} is an alias of {owner}: it moves too", "See that the new host serves it", name
    )


async def _address(server: Endpoint, host: str, zone: str) -> tuple[str, ...]:
    return (await ask(server, host, "A", tries=2)).values if host and is_within(host, zone) else ()


async def _records(authority: Authority, server: Endpoint) -> Mapping[str, tuple[str, ...]]:
    """Addresses, or the CNAME's target, by name."""
    whole = await _transfer(server, authority.zone)
    if whole is not None:
        return whole
    names = [authority.zone, *(f"{label}.{authority.zone}" for label in USUAL)]
    answers = await asyncio.gather(*(ask(server, name, "A", tries=2) for name in names))
    return {answer.name: _leads_to(answer) for answer in answers}


def _leads_to(answer: Answer) -> tuple[str, ...]:
    if answer.chain:
        return (answer.chain[0].target,)
    return answer.values if answer.state is State.OK else ()


async def _transfer(server: Endpoint, zone: str) -> Mapping[str, tuple[str, ...]] | None:
    """The whole zone, where the server gives it to anyone; mostly it does not."""
    found = dns.zone.Zone(zone, relativize=False)
    try:
        async with asyncio.timeout(TRANSFER_S):
            await dns.asyncquery.inbound_xfr(server.ip, found, port=server.port, timeout=TRANSFER_S)
    except (dns.exception.DNSException, OSError, EOFError, TimeoutError):
        return None
    records: dict[str, tuple[str, ...]] = {}
    for kind in (dns.rdatatype.A, dns.rdatatype.CNAME):
        for name, rdataset in found.iterate_rdatasets(kind):
            values = (rdata.to_text() if kind is dns.rdatatype.A else clean_name(rdata.target) for rdata in rdataset)
            records[clean_name(name)] = tuple(values)
    return records
