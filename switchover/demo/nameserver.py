"""The lab's authoritative nameserver: a parent zone, a primary that takes signed updates, a slower secondary.

``python -m switchover.demo.nameserver --port 5300 --parent 127.0.0.10 --primary 127.0.0.11
--secondary 127.0.0.12 --zone shop.test=shop.test.zone --parent-zone test=test.zone --key-file shop.key``
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.rrset
import dns.tsig
import dns.update
import dns.versioned

from switchover.demo import zone as rules
from switchover.demo.dnsserver import listen
from switchover.dns.keys import read_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from dns.transaction import Transaction

Keyring = dict[dns.name.Name, dns.tsig.Key]
_TSIG_ERRORS: dict[type[Exception], dns.rcode.Rcode] = {
    dns.message.UnknownTSIGKey: dns.rcode.BADKEY,
    dns.tsig.BadKey: dns.rcode.BADKEY,
    dns.tsig.BadAlgorithm: dns.rcode.BADKEY,
    dns.tsig.BadSignature: dns.rcode.BADSIG,
    dns.tsig.BadTime: dns.rcode.BADTIME,
}


@dataclass(slots=True)
class Served:
    """One zone as one address serves it: the version it has last fetched."""

    zone: dns.versioned.Zone
    version: Transaction = field(init=False)

    def __post_init__(self) -> None:
        self.version = self.zone.reader()

    def catch_up(self) -> None:
        """Serve what the zone holds now."""
        before, self.version = self.version, self.zone.reader()
        before.rollback()


@dataclass(frozen=True, slots=True)
class Server:
    """One address of the service."""

    name: str
    served: Served
    keys: Keyring = field(default_factory=dict)
    changed: Callable[[], None] | None = None
    """Called after an accepted update; None: this address takes none."""

    async def handle(self, wire: bytes) -> dns.message.Message | None:
        """Answer one request."""
        try:
            query = dns.message.from_wire(wire, keyring=self.keys)
        except tuple(_TSIG_ERRORS) as error:
            return _refuse_signature(wire, _TSIG_ERRORS[type(error)])
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR:
            return None
        match query.opcode():
            case dns.opcode.UPDATE if isinstance(query, dns.update.UpdateMessage):
                return self._update(query)
            case dns.opcode.QUERY if query.question:
                return self._answer(query)
        return _code(query, dns.rcode.NOTIMP)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        origin = self.served.zone.origin
        assert origin is not None  # it was loaded with one
        if not query.question[0].name.is_subdomain(origin):
            return _code(query, dns.rcode.REFUSED)
        reply = rules.answer(query, origin, self.served.version)
        rules.identify(query, reply, self.name)
        return reply

    def _update(self, message: dns.update.UpdateMessage) -> dns.message.Message:
        if self.changed is None or not message.had_tsig:
            return _code(message, dns.rcode.REFUSED)
        code = rules.update(message, self.served.zone)
        self.changed()
        return _code(message, code)


def _code(query: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    reply = dns.message.make_response(query)
    reply.set_rcode(code)
    return reply


def _refuse_signature(wire: bytes, error: dns.rcode.Rcode) -> dns.message.Message:
    """NOTAUTH with the TSIG error and no signature (RFC 8945 5.2; it would sign BADTIME)."""
    query = dns.message.from_wire(wire, keyring=False)
    assert query.tsig is not None  # its signature is what was wrong
    reply = _code(query, dns.rcode.NOTAUTH)
    tsig = dns.rdtypes.ANY.TSIG.TSIG(  # type: ignore[no-untyped-call]
        dns.rdataclass.ANY,
        dns.rdatatype.TSIG,
        query.tsig[0].algorithm,
        int(time.time()),
        300,
        b"",
        query.id,
        error,
        b"",
    )
    reply.tsig = dns.rrset.from_rdata(query.tsig.name, 0, tsig)
    return reply


def _load(named: str) -> dns.versioned.Zone:
    name, _, file = named.partition("=")
    return rules.load(Path(file).read_text(), name)


async def serve(options: argparse.Namespace) -> None:
    """Serve on all three addresses until the process ends."""
    zone, parent = _load(options.zone), _load(options.parent_zone)
    key = read_key(options.key_file).for_dnspython()
    primary, secondary = Served(zone), Served(zone)
    loop = asyncio.get_running_loop()

    def changed() -> None:
        primary.catch_up()
        loop.call_later(options.lag, secondary.catch_up)

    await asyncio.gather(
        listen(options.parent, options.port, Server("parent", Served(parent)).handle),
        listen(options.primary, options.port, Server("ns1", primary, {key.name: key}, changed).handle),
        listen(options.secondary, options.port, Server("ns2", secondary, {key.name: key}).handle),
    )
    await loop.create_future()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description="An authoritative nameserver for the lab, on loopback.")
    parser.add_argument("--port", type=int, required=True)
    for role in ("parent", "primary", "secondary"):
        parser.add_argument(f"--{role}", required=True, metavar="IP")
    parser.add_argument("--zone", required=True, metavar="NAME=FILE")
    parser.add_argument("--parent-zone", required=True, metavar="NAME=FILE")
    parser.add_argument("--key-file", type=Path, required=True)
    parser.add_argument("--lag", type=float, default=0.5, help="seconds the secondary is behind")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
