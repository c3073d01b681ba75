"""The lab's recursive resolver: it caches, counts TTLs down and asks the lab's nameservers.

``python -m switchover.demo.resolver --listen 127.0.0.13:5300 --forward shop.test=127.0.0.11,127.0.0.12
--forward test=127.0.0.10``
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass, field
from typing import TypeAlias

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

from switchover.demo.dnsserver import listen, split

Key: TypeAlias = tuple[dns.name.Name, dns.rdatatype.RdataType]

_TRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer in the cache, with the monotonic times it came and it expires."""

    reply: dns.message.Message
    since: float
    expires: float

    def aged(self, query: dns.message.Message, now: float) -> dns.message.Message:
        """The answer as the resolver gives it now, its TTLs counted down (RFC 1035 7.4)."""
        answer = dns.message.make_response(query, recursion_available=True)
        answer.set_rcode(self.reply.rcode())
        age = int(now - self.since)
        answer.answer = [_aged(rrset, age) for rrset in self.reply.answer]
        answer.authority = [_aged(rrset, age) for rrset in self.reply.authority]
        return answer


@dataclass(slots=True)
class Resolver:
    """A cache before the nameservers that know each zone."""

    port: int
    forward: dict[dns.name.Name, tuple[str, ...]]
    _cache: dict[Key, Kept] = field(default_factory=dict, init=False)

    async def handle(self, wire: bytes) -> dns.message.Message | None:
        """Answer from the cache, or ask."""
        try:
            query = dns.message.from_wire(wire, keyring=False)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or not query.question:
            return None
        key = (query.question[0].name, query.question[0].rdtype)
        kept = self._cache.get(key)
        if kept is None or kept.expires <= time.monotonic():
            reply = await self._ask(*key)
            if reply is None:
                return _failure(query, self._servers(key[0]))
            now = time.monotonic()
            kept = self._cache[key] = Kept(reply, now, now + _lifetime(reply))
        return kept.aged(query, time.monotonic())

    def _servers(self, name: dns.name.Name) -> tuple[str, ...]:
        known = [zone for zone in self.forward if name.is_subdomain(zone)]
        return self.forward[max(known, key=len)] if known else ()

    async def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message | None:
        query = dns.message.make_query(name, kind, flags=0)
        for server in self._servers(name):
            try:
                reply = await dns.asyncquery.udp(query, server, timeout=_TRY_S, port=self.port)
            except (dns.exception.DNSException, OSError):
                continue
            if reply.flags & dns.flags.AA:
                return reply
        return None


def _aged(rrset: dns.rrset.RRset, age: int) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(rrset.name, max(0, rrset.ttl - age), list(rrset))


def _lifetime(reply: dns.message.Message) -> int:
    """Seconds the answer may be kept; a negative one by its SOA (RFC 2308 5)."""
    return min((rrset.ttl for rrset in (*reply.answer, *reply.authority)), default=0)


def _failure(query: dns.message.Message, servers: tuple[str, ...]) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True)
    reply.set_rcode(dns.rcode.SERVFAIL if servers else dns.rcode.REFUSED)
    return reply


async def serve(options: argparse.Namespace) -> None:
    """Serve until the process ends."""
    address, port = split(options.listen)
    forward = {}
    for rule in options.forward:
        zone, _, servers = rule.partition("=")
        forward[dns.name.from_text(zone)] = tuple(servers.split(","))
    await listen(address, port, Resolver(port, forward).handle)
    await asyncio.get_running_loop().create_future()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description="A caching resolver for the lab, on loopback.")
    parser.add_argument("--listen", required=True, metavar="IP:PORT", help="its nameservers are asked at this port too")
    parser.add_argument("--forward", action="append", required=True, metavar="ZONE=IP[,IP]")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
