"""Who has the last word on a name: its zone, every authoritative server, every address of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import dns.exception
import dns.resolver

from switchover.dns.ask import ask
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
    problems: tuple[str, ...]

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


async def observe(authority: Authority, rdtype: str = "A") -> tuple[Answer, ...]:
    """Ask every address for the owner's record and the zone's serial, all at once, without recursion."""
    return tuple(await asyncio.gather(*(observe_one(end, authority, rdtype) for end in authority.endpoints)))


async def observe_one(endpoint: Endpoint, authority: Authority, rdtype: str = "A") -> Answer:
    """Ask one address for the owner's record, and for the SOA to go with it."""
    answer, soa = await asyncio.gather(
        # Two tries: a round is one of many, and must not take longer than the pause to the next.
        ask(endpoint, authority.owner, rdtype, tries=2),
        ask(endpoint, authority.zone, "SOA", tries=2),
    )
    return _with_soa(answer, soa.soa if soa.state is State.OK else None)


def _with_soa(answer: Answer, soa: Soa | None) -> Answer:
    return replace(answer, soa=answer.soa or soa)


@dataclass(slots=True)
class _Search:
    """One discovery: whom it asks, and what it found odd."""

    resolvers: Sequence[Endpoint]
    port: int
    problems: list[str] = field(default_factory=list)

    async def find(self, qname: str) -> Authority:
        first = await self._firm(qname, "A")
        if first.state is State.NXDOMAIN:
            held = f", which it may keep saying for up to {first.ttl} s" if first.ttl else ""
            raise NoAuthority(f"{qname} does not exist: {first.endpoint} answers NXDOMAIN{held}")
        owner = first.chain[-1].target if first.chain else qname
        if first.state is State.NODATA:
            self.problems.append(f"{owner} has no A record, says {first.endpoint}")
        soa = await self._zone_of(owner)
        delegation = await self._parent_view(soa.zone)
        servers, listed = await self._servers(soa.zone, delegation)
        if not servers:
            raise NoAuthority(f"no address found for any name server of {soa.zone} ({', '.join(listed)})")
        parent = set(delegation.servers) if delegation is not None else None
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
        )

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
        try:
            parent = await self._zone_of(above)
            hosts = (await self._firm(parent.zone, "NS")).values
        except NoAuthority as error:
            self.problems.append(f"{told}: {error}")
            return None
        found = await self._addresses([clean_name(host) for host in hosts[:4]])
        endpoints = [Endpoint(ip, self.port) for _, ip in found][:6]
        answers = await asyncio.gather(*(ask(end, zone, "NS", tries=2) for end in endpoints))
        for answer in answers:
            if answer.delegation is not None and answer.delegation.zone == zone:
                return answer.delegation
        if any(answer.state is State.OK for answer in answers):
            self.problems.append(f"{told}: the parent's servers serve the zone itself too, and answer for it")
        else:
            said = "; ".join(f"{answer.endpoint}: {answer}" for answer in answers) or "no address found for them"
            self.problems.append(f"{told}: {said}")
        return None

    async def _servers(self, zone: str, delegation: Delegation | None) -> tuple[tuple[ServerAddress, ...], set[str]]:
        """Every address of every server that parent or zone lists, and the names the zone itself lists."""
        resolved = {clean_name(host) for host in (await self._firm(zone, "NS")).values}
        parent = set(delegation.servers) if delegation is not None else set()
        glue = set(delegation.glue) if delegation is not None else set()
        found = set(await self._addresses(resolved | parent))
        own = await self._child_view(zone, [Endpoint(ip, self.port) for _, ip in sorted(found | glue)])
        listed = own or resolved
        found |= set(await self._addresses(listed - resolved - parent))
        self._compare_glue(glue, found)
        servers = tuple(
            ServerAddress(host, Endpoint(ip, self.port), _source(host, parent, listed))
            for host, ip in sorted(found | glue)
        )
        return servers, listed

    async def _child_view(self, zone: str, endpoints: Sequence[Endpoint]) -> set[str]:
        """The servers that the zone's own servers list; they should agree."""
        answers = await asyncio.gather(*(ask(end, zone, "NS") for end in endpoints))
        lists = {answer.endpoint: answer.values for answer in answers if answer.state is State.OK}
        if len(set(lists.values())) > 1:
            self.problems.append(
                f"the servers of {zone} do not agree on who serves it: "
                + "; ".join(f"{end}: {', '.join(values)}" for end, values in lists.items())
            )
        if not lists:
            self.problems.append(
                f"no server of {zone} answered for its own list of servers: "
                + "; ".join(f"{answer.endpoint}: {answer}" for answer in answers)
            )
        return {clean_name(host) for values in lists.values() for host in values}

    async def _addresses(self, hosts: Iterable[str]) -> list[tuple[str, str]]:
        """(host, address) for every A and AAAA; a host without any, or not looked up, is a problem told."""
        names = sorted(hosts)
        answers = await asyncio.gather(*(self._resolve(host, kind) for host in names for kind in ("A", "AAAA")))
        found: list[tuple[str, str]] = []
        for host, a, aaaa in zip(names, answers[::2], answers[1::2], strict=True):
            for answer in (a, aaaa):
                if answer.state not in FIRM:
                    self.problems.append(f"name server {host}: its {answer.rdtype} could not be looked up: {answer}")
            ips = (*a.values, *aaaa.values)
            if not ips and a.state in FIRM and aaaa.state in FIRM:
                self.problems.append(f"name server {host} has no address ({a})")
            found.extend((host, ip) for ip in ips)
        return found

    def _compare_glue(self, glue: set[tuple[str, str]], found: set[tuple[str, str]]) -> None:
        for host, ip in sorted(glue - found):
            if any(name == host for name, _ in found):
                self.problems.append(f"the parent hands out {ip} for {host}, its own zone does not; both are watched")


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
