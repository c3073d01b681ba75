"""Who has the last word on a name: its zone, every authoritative server, every address of each."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import dns.exception
import dns.resolver

from switchover.dns.ask import ask
from switchover.dns.finding import Finding, Severity
from switchover.dns.message import (
    FIRM,
    Alias,
    Answer,
    BadName,
    Delegation,
    Endpoint,
    Soa,
    State,
    clean_name,
    is_within,
    parent_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Source = Literal["parent", "child", "both"]

UNPROVEN = ("silent", "lame", "cached", "no-route", "differs")
"""Ids of findings about one server; accepting one sets the server's addresses aside."""

_IPV6_EVERYWHERE = tuple(Endpoint(ip) for ip in ("2001:7fd::1", "2001:500:9f::42", "2001:503:c27::2:30"))
"""Three root servers: if none answers over IPv6, the trouble is here."""


class NoAuthority(Exception):
    """The authority of a name could not be found; the message says who was asked what, and the answer."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One address of one authoritative server, and on whose word: the parent's, the zone's own, or both."""

    host: str
    endpoint: Endpoint
    source: Source


@dataclass(frozen=True, slots=True)
class Authority:
    """Where a name's address record is kept, and every address that serves it."""

    qname: str
    chain: tuple[Alias, ...]
    """The CNAMEs from ``qname`` to ``owner``, with the TTL the resolver had left."""
    owner: str
    """The name that holds the record: the one to edit."""
    zone: str
    primary: str
    """The SOA's MNAME: a hint, a hidden primary says otherwise."""
    servers: tuple[ServerAddress, ...]
    parent_missing: tuple[str, ...]
    """Servers that the zone lists and its parent does not."""
    child_missing: tuple[str, ...]
    """Servers that the parent lists and the zone does not; resolvers ask them all the same."""
    problems: tuple[Finding, ...]
    signed: bool = False
    """Whether the parent vouches for the zone's signatures (a DS record): then every answer must be signed."""
    ipv6_dead: bool = False
    """Whether nothing at all could be reached over IPv6: silence of such an address says nothing about it."""
    waived: tuple[Endpoint, ...] = ()
    """Addresses that the operator has accepted as unproven."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every address once."""
        return tuple(dict.fromkeys(server.endpoint for server in self.servers))

    @property
    def hosts(self) -> dict[Endpoint, str]:
        """The server's name for each address."""
        return {server.endpoint: server.host for server in reversed(self.servers)}


async def find_authority(name: str, *, resolver: Endpoint | None, port: int = 53) -> Authority:
    """Find the zone of the name and all its servers' addresses, on ``port``.

    Asks ``resolver``, or the system's (/etc/resolv.conf). Raises NoAuthority; an answer that did not come is
    never taken for "there is no such record".
    """
    try:
        qname = clean_name(name)
    except BadName as error:
        raise NoAuthority(str(error)) from None
    search = _Search((resolver,) if resolver is not None else _system_resolvers(), port)
    return await search.find(qname)


def waive(authority: Authority, accept: Iterable[str]) -> Authority:
    """The authority with the addresses set aside that the plan accepts as unproven.

    An entry such as ``silent ns3.example.com`` or ``lame 192.0.2.3`` accepts every address of that server, or the one.
    """
    subjects = {entry.partition(" ")[2] for entry in accept if entry.partition(" ")[0] in UNPROVEN}
    waived = tuple(end for end in authority.endpoints if {end.ip, str(end), authority.hosts[end]} & subjects)
    return replace(authority, waived=waived)


async def observe(
    authority: Authority, rdtype: str = "A", *, tries: int = 2, timeout_s: float = 1.0
) -> tuple[Answer, ...]:
    """Ask every address for the owner's record and the zone's serial, all at once, without recursion.

    Two tries: a round is one of many, and must not take longer than the pause to the next.
    """
    looks = (_observe(end, authority, rdtype, tries, timeout_s) for end in authority.endpoints)
    return tuple(await asyncio.gather(*looks))


async def _observe(endpoint: Endpoint, authority: Authority, rdtype: str, tries: int, timeout_s: float) -> Answer:
    """Ask one address for the owner's record, and for the SOA to go with it."""
    answer, soa = await asyncio.gather(
        ask(endpoint, authority.owner, rdtype, tries=tries, timeout_s=timeout_s, dnssec=authority.signed),
        ask(endpoint, authority.zone, "SOA", tries=tries, timeout_s=timeout_s),
    )
    if answer.soa is None and soa.state is State.OK:
        answer = replace(answer, soa=soa.soa)
    if authority.ipv6_dead and ":" in endpoint.ip and answer.state is State.TIMEOUT:
        return replace(answer, state=State.NO_ROUTE, detail="no IPv6 from this machine: nothing answers over it")
    unproved = "" if not authority.signed or answer.state is not State.OK else unsound(answer)
    return replace(answer, state=State.BOGUS, detail=f"{answer}, {unproved}") if unproved else answer


def unsound(answer: Answer) -> str:
    """Why a validating resolver would refuse the answer, as far as dates tell; empty when it would not."""
    signature = answer.signature
    if signature is None:
        return "without a signature, in a signed zone: resolvers that validate refuse it"
    if not signature.inception <= answer.at <= signature.expiration:
        return f"with a signature that holds from {signature.inception} to {signature.expiration}, not now"
    return ""


@dataclass(slots=True)
class _Search:
    """One discovery: whom it asks, and what it found odd."""

    resolvers: Sequence[Endpoint]
    port: int
    problems: list[Finding] = field(default_factory=list)
    ipv6_dead: bool = False

    def _tell(self, id: str, severity: Severity, evidence: str, fix: str, subject: str = "") -> None:
        self.problems.append(Finding(id, severity, evidence, fix, subject))

    async def find(self, qname: str) -> Authority:
        first = await self._firm(qname, "A")
        owner = first.chain[-1].target if first.chain else qname
        soa = await self._zone_of(owner)
        if first.state is State.NXDOMAIN and soa.zone == ".":
            raise NoAuthority(f"{owner} does not exist: {first.endpoint} answers NXDOMAIN for its last label already")
        delegation = await self._parent_view(soa.zone)
        servers, listed = await self._servers(soa.zone, delegation)
        if not servers:
            raise NoAuthority(f"no address found for any name server of {soa.zone} ({', '.join(listed)})")
        if first.state is not State.OK:
            await self._second_opinion(first, owner, [server.endpoint for server in servers])
        parent = set(delegation.servers) if delegation is not None else None
        ds = await self._resolve(soa.zone, "DS") if soa.zone != "." else None
        return Authority(
            qname=qname,
            chain=first.chain,
            owner=owner,
            zone=soa.zone,
            primary=soa.primary,
            servers=servers,
            parent_missing=tuple(sorted(listed - parent)) if parent is not None else (),
            child_missing=tuple(sorted(parent - listed)) if parent is not None else (),
            problems=tuple(self.problems),
            signed=ds is not None and ds.state is State.OK,
            ipv6_dead=self.ipv6_dead,
        )

    async def _second_opinion(self, first: Answer, owner: str, endpoints: Sequence[Endpoint]) -> None:
        """A resolver's "no such record" may be one stale server's: ask them all before believing it."""
        answers = await asyncio.gather(*(ask(end, owner, "A", tries=2) for end in dict.fromkeys(endpoints)))
        serving = [answer for answer in answers if answer.state is State.OK or answer.chain]
        if serving:
            self._tell(
                "denied",
                "warn",
                f"{first.endpoint} answers {owner} with {first}; {serving[0].endpoint} has it: {serving[0]}",
                "A server lacks the record, or the resolver still keeps that it was missing",
                owner,
            )
        elif first.state is State.NXDOMAIN:
            held = f", which it may keep saying for up to {first.ttl} s" if first.ttl else ""
            raise NoAuthority(
                f"{owner} does not exist: {first.endpoint} answers NXDOMAIN{held}, and no server of its zone that "
                "answered has it"
            )
        else:
            says = f"{owner} has no A record, says {first.endpoint}, and no server that answered has one"
            self._tell("no-a", "error", says, "See that the name is right")

    async def _resolve(self, name: str, rdtype: str) -> Answer:
        """The first resolver's answer that says something about the record, or the last one's excuse."""
        for resolver in self.resolvers:
            answer = await ask(resolver, name, rdtype, recursion=True)
            if answer.state in FIRM:
                break
        return answer

    async def _firm(self, name: str, rdtype: str) -> Answer:
        answer = await self._resolve(name, rdtype)
        if answer.state not in FIRM:
            raise NoAuthority(
                f"{answer.endpoint} could not say what {name} {rdtype} is: {answer}. "
                "Nothing is known about the record; try again, or name another resolver in dns.resolver"
            )
        return answer

    async def _zone_of(self, name: str) -> Soa:
        """Walk up from the name to the zone that holds it (a resolver's negative answers name it too)."""
        at: str | None = name
        while at is not None:
            answer = await self._firm(at, "SOA")
            # Behind a CNAME the SOA is another name's (RFC 1034 section 3.6.2).
            if answer.soa is not None and not answer.chain and is_within(name, answer.soa.zone):
                return answer.soa
            at = parent_of(at)
        raise NoAuthority(f"no zone found above {name}: no SOA in any answer of {', '.join(map(str, self.resolvers))}")

    async def _parent_view(self, zone: str) -> Delegation | None:
        """What the parent's servers, asked themselves, say about the zone; None with a problem told."""
        above = parent_of(zone)
        if above is None:
            return None
        told = f"the parent's list of servers for {zone} is not known"
        look = f"Look at it by hand: dig +norecurse NS {zone} @ a server of {above}"
        try:
            parent = await self._zone_of(above)
            hosts = (await self._firm(parent.zone, "NS")).values
        except NoAuthority as error:
            self._tell("parent-unknown", "warn", f"{told}: {error}", look)
            return None
        found = await self._lookup([clean_name(host) for host in hosts[:4]])
        endpoints = [Endpoint(ip, self.port) for _, ip in found][:6]
        answers = await asyncio.gather(*(ask(end, zone, "NS", tries=2) for end in endpoints))
        for answer in answers:
            if answer.delegation is not None and answer.delegation.zone == zone:
                return answer.delegation
        if any(answer.state is State.OK for answer in answers):
            says = "the parent's servers serve the zone itself too, and answer for it"
            self._tell("parent-unknown", "info", f"{told}: {says}", "Nothing: they are the zone's own servers")
        else:
            said = "; ".join(f"{answer.endpoint}: {answer}" for answer in answers) or "no address found for them"
            self._tell("parent-unknown", "warn", f"{told}: {said}", look)
        return None

    async def _servers(self, zone: str, delegation: Delegation | None) -> tuple[tuple[ServerAddress, ...], set[str]]:
        """Every address of every server that parent or zone lists, and the names the zone itself lists."""
        resolved = {clean_name(host) for host in (await self._firm(zone, "NS")).values}
        parent = set(delegation.servers) if delegation is not None else set()
        glue = set(delegation.glue) if delegation is not None else set()
        found = set(await self._lookup(sorted(resolved | parent)))
        own = await self._child_view(zone, [Endpoint(ip, self.port) for _, ip in sorted(found | glue)])
        listed = own or resolved
        found |= set(await self._lookup(sorted(listed - resolved - parent)))
        self._compare_glue(glue, found)
        self._compare_names(resolved | parent | listed, found | glue)
        self._compare_lists(zone, parent if delegation is not None else None, listed)
        servers = tuple(
            ServerAddress(host, Endpoint(ip, self.port), _source(host, parent, listed))
            for host, ip in sorted(found | glue)
        )
        return servers, listed

    async def _child_view(self, zone: str, endpoints: Sequence[Endpoint]) -> set[str]:
        """The servers that the zone's own servers list; they should agree."""
        answers = await asyncio.gather(*(ask(end, zone, "NS", tries=2) for end in endpoints))
        lists = {answer.endpoint: answer.values for answer in answers if answer.state is State.OK}
        if len(set(lists.values())) > 1:
            said = "; ".join(f"{end}: {', '.join(values)}" for end, values in lists.items())
            self._tell(
                "servers-disagree",
                "warn",
                f"the servers of {zone} do not agree on who serves it: {said}",
                "All that any of them names are watched; mend the NS records of the zone",
            )
        if not lists:
            said = "; ".join(f"{answer.endpoint}: {answer}" for answer in answers)
            self._tell(
                "servers-unknown",
                "error",
                f"no server of {zone} answered for its own list of servers: {said}",
                "See that port 53 is open from here, or run this from another network",
            )
        self.ipv6_dead = await self._nothing_over_ipv6(answers)
        return {clean_name(host) for values in lists.values() for host in values}

    async def _nothing_over_ipv6(self, answers: Sequence[Answer]) -> bool:
        """Whether IPv6 leads nowhere from here: a default route into the void looks like dead servers."""
        six = [answer for answer in answers if ":" in answer.endpoint.ip]
        if not six or any(answer.state is not State.TIMEOUT for answer in six):
            return False
        if not any(ipaddress.ip_address(answer.endpoint.ip).is_global for answer in six):
            return False
        tries = await asyncio.gather(*(ask(root, ".", "SOA", tries=2) for root in _IPV6_EVERYWHERE))
        return all(answer.state not in FIRM for answer in tries)

    async def _lookup(self, names: Sequence[str]) -> list[tuple[str, str]]:
        answers = await asyncio.gather(*(self._resolve(host, kind) for host in names for kind in ("A", "AAAA")))
        for answer in answers:
            if answer.state not in FIRM:
                self._tell(
                    "server-lookup",
                    "error",
                    f"name server {answer.name}: its {answer.rdtype} could not be looked up: {answer}",
                    "Try again; an address that is not known is not watched, and its caches are not counted",
                    answer.name,
                )
        return [(answer.name, ip) for answer in answers for ip in answer.values]

    def _compare_glue(self, glue: set[tuple[str, str]], found: set[tuple[str, str]]) -> None:
        for host, ip in sorted(glue - found):
            own = ", ".join(address for name, address in sorted(found) if name == host) or "no address"
            self._tell(
                "glue",
                "warn",
                f"the parent hands out {ip} for {host}, its own zone {own}; all are watched",
                "Mend the glue at the registrar",
                host,
            )

    def _compare_names(self, hosts: set[str], found: set[tuple[str, str]]) -> None:
        """A server without any address; one whose address could not be looked up has been told already."""
        for host in sorted(hosts - {host for host, _ in found} - {each.subject for each in self.problems}):
            self._tell(
                "server-without-address",
                "warn",
                f"name server {host} has no address",
                "Nobody can ask it; take it out of the NS records, or give it an address",
                host,
            )

    def _compare_lists(self, zone: str, parent: set[str] | None, listed: set[str]) -> None:
        if parent is None or parent == listed:
            return
        only = [f"only the parent lists {', '.join(sorted(parent - listed))}"] if parent - listed else []
        only += [f"only the zone itself lists {', '.join(sorted(listed - parent))}"] if listed - parent else []
        self._tell(
            "parent-child",
            "warn",
            f"parent and zone disagree on the servers of {zone}: {'; '.join(only)}",
            "Resolvers may ask any of them, so all are watched; was the zone moved lately? Then its former servers "
            "still answer for as long as the parent's NS records are kept (two days under .com)",
        )


def _source(host: str, parent: set[str], child: set[str]) -> Source:
    if host in parent:
        return "both" if host in child else "parent"
    return "child"


def _system_resolvers() -> tuple[Endpoint, ...]:
    try:
        found = dns.resolver.Resolver().nameservers
    except (dns.exception.DNSException, OSError):
        found = []
    endpoints = tuple(Endpoint(server) for server in found if isinstance(server, str))
    if not endpoints:
        raise NoAuthority("/etc/resolv.conf names no resolver; name one in dns.resolver")
    return endpoints
