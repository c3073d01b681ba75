"""Dynamic update (RFC 2136) signed with TSIG (RFC 8945), as compare-and-swap by prerequisites, over TCP.

Measured on BIND 9.18, Knot 3.2 and PowerDNS 4.7: a partial or changed old set gives NXRRSET; ``replace`` is
one atomic step, while a plain ``add`` of the same address with another TTL is ignored by Knot with NOERROR;
an A added beside a CNAME is ignored with NOERROR by BIND and Knot. So: always replace, and after any reply,
or none, read back.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.tsig
import dns.update

from switchover.dns.message import FIRM, Endpoint, Question, Rrset, State
from switchover.dns.providers import (
    Capabilities,
    Change,
    ChangeConflict,
    ChangeRefused,
    Unreachable,
)
from switchover.dns.providers.swap import Lost, changed, swap
from switchover.dns.reply import understand
from switchover.words import plain

if TYPE_CHECKING:
    from switchover.dns.keys import TsigKey

_NOBODY = {"A": "192.0.2.255", "AAAA": "2001:db8:ffff::ffff"}
"""Addresses of the documentation ranges: deleting one from a set that lacks it changes nothing."""

_REFUSALS = {
    dns.rcode.NXRRSET: "the record is no longer exactly what the plan saw",
    dns.rcode.YXRRSET: "a record stands there that the plan expects not to (a CNAME, or the record itself)",
    dns.rcode.NXDOMAIN: "the name does not exist on the primary",
    dns.rcode.YXDOMAIN: "a name exists there that the plan expects not to",
    dns.rcode.NOTAUTH: "the server is not the zone's primary, or the update carried no key it accepts",
    dns.rcode.NOTZONE: "the name is not in the zone",
    dns.rcode.REFUSED: "the key is known but may not update this record; see the zone's update policy or acl",
    dns.rcode.NOTIMP: "the server does not take dynamic updates (NSD never does); name the primary",
    dns.rcode.FORMERR: "the server did not understand the update; it may not be primary for the zone",
    dns.rcode.SERVFAIL: "the server failed to store the update; see its log (often a read-only folder)",
}
_CHANGED = frozenset({dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN})


@dataclass(frozen=True, slots=True)
class Rfc2136:
    """The zone's primary, and the key it knows us by."""

    server: str
    """Address, ``address:port`` or host name."""
    zone: str
    """The zone of the update; the plan may name it where discovery is wrong."""
    key: TsigKey
    port: int = 53
    timeout_s: float = 5

    @property
    def name(self) -> str:
        return "rfc2136"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            cas=True,
            ttl=True,
            min_ttl=None,
            says=f"signed updates at {self.server}; the server itself refuses if the record has changed",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """The update, a line each."""
        at = f"{change.owner} {change.rdtype}"
        require = f"is exactly {', '.join(change.old_values)}" if change.old_values else "does not exist"
        lines = [
            f"update  zone {self.zone} at {self.server} over TCP",
            f"sign    with key {self.key.name} ({self.key.algorithm})",
            f"require {at} {require}",
        ]
        if change.rdtype in _NOBODY:
            lines.append(f"require {change.owner} CNAME does not exist")
        if not change.new_values:
            return (*lines, f"delete  {at}")
        return (
            *lines,
            *(f"replace {change.owner} {change.new_ttl} {change.rdtype} {value}" for value in change.new_values),
        )

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record on the primary, asked with the key (a server may show each key another view)."""
        endpoint = await self._locate()
        question = Question(endpoint, owner, rdtype)
        query = question.message()
        query.use_tsig(self.key.for_dnspython())
        try:
            reply = await self._exchange(endpoint, query)
        except Lost as error:
            raise Unreachable(f"{self.server} could not be asked for {owner} {rdtype}: {error}") from None
        answer = understand(question, reply, datetime.now(UTC))
        if answer.state not in FIRM:
            raise Unreachable(f"{self.server} could not be asked for {owner} {rdtype}: {answer}")
        if answer.state is State.NODATA and answer.chain:
            raise ChangeConflict(f"{owner} is {answer} on {self.server}", None)
        return answer.rrset

    async def check(self, change: Change) -> str:
        """Send the real prerequisites and the deletion of an address that is not there: changes nothing."""
        self._expect(change, await self.read(change.owner, change.rdtype))
        update = self._prerequisites(change)
        update.delete(self._name(change), change.rdtype, _NOBODY[change.rdtype])
        try:
            reply = await self._exchange(await self._locate(), update)
        except Lost as error:
            raise Unreachable(f"{self.server} did not answer the trial update: {error}") from None
        if reply.rcode() != dns.rcode.NOERROR:
            await self._explain(change, reply.rcode())
        return (
            f"{self.server} accepts updates of {change.owner} signed by {self.key.name}, "
            f"and the record is {change.old or 'absent'} as expected"
        )

    async def apply(self, change: Change) -> None:
        """Swap old for new; the record read back from the primary decides what happened."""
        await swap(self.server, change, lambda: self.read(change.owner, change.rdtype), lambda: self._write(change))

    async def _write(self, change: Change) -> str:
        reply = await self._exchange(await self._locate(), self._update(change))
        why = _REFUSALS.get(reply.rcode())
        return dns.rcode.to_text(reply.rcode()) + (f": {why}" if why else "")

    def _expect(self, change: Change, seen: Rrset | None) -> None:
        """The TTL too: it cannot be a prerequisite (RFC 2136 section 2.4.2 wants it 0)."""
        if seen != change.old:
            raise changed(self.server, change, seen, "before the change")

    async def _explain(self, change: Change, rcode: dns.rcode.Rcode) -> None:
        """Raise what the refusal means."""
        if rcode in _CHANGED:
            self._expect(change, await self.read(change.owner, change.rdtype))
        why = _REFUSALS.get(rcode, "it did not say why")
        raise ChangeRefused(
            f"{self.server} refused the update ({dns.rcode.to_text(rcode)}): {why}. Nothing has changed"
        )

    def _prerequisites(self, change: Change) -> dns.update.UpdateMessage:
        update = dns.update.UpdateMessage(dns.name.from_text(self.zone))
        update.use_tsig(self.key.for_dnspython())
        name = self._name(change)
        if change.rdtype in _NOBODY:
            update.absent(name, "CNAME")
        if change.old_values:
            update.present(name, change.rdtype, *change.old_values)  # as text: a TTL here would be a FORMERR
        else:
            update.absent(name, change.rdtype)
        return update

    def _update(self, change: Change) -> dns.update.UpdateMessage:
        update = self._prerequisites(change)
        if change.new_values:
            update.replace(self._name(change), change.new_ttl, change.rdtype, *change.new_values)
        else:
            update.delete(self._name(change), change.rdtype)
        return update

    @staticmethod
    def _name(change: Change) -> dns.name.Name:
        return dns.name.from_text(change.owner)

    async def _locate(self) -> Endpoint:
        """The server's address; a host name is looked up each time, it may move."""
        try:
            return Endpoint.parse(self.server, self.port)
        except ValueError:
            pass
        try:
            async with asyncio.timeout(self.timeout_s):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(self.server, self.port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            raise Unreachable(f"the address of {self.server} could not be looked up; nothing was sent") from None
        return Endpoint(str(found[0][4][0]), self.port)

    async def _exchange(self, endpoint: Endpoint, message: dns.message.Message) -> dns.message.Message:
        """Send over TCP. Raises Unreachable before it is sent, Lost after, ChangeRefused for TSIG."""
        backend = dns.asyncbackend.get_backend("asyncio")
        family = dns.inet.af_for_address(endpoint.ip)
        there = (endpoint.ip, endpoint.port)
        try:
            stream = await backend.make_socket(  # type: ignore[no-untyped-call]
                family, socket.SOCK_STREAM, 0, None, there, self.timeout_s
            )
        except (OSError, dns.exception.Timeout) as error:
            why = (isinstance(error, OSError) and error.strerror) or f"no connection within {self.timeout_s:g} s"
            raise Unreachable(f"{endpoint} cannot be reached over TCP: {plain(why, 100)}. Nothing was sent") from None
        try:
            async with stream:
                return await dns.asyncquery.tcp(message, endpoint.ip, timeout=self.timeout_s, sock=stream)
        except dns.tsig.PeerError as error:
            raise ChangeRefused(self._tsig_refusal(endpoint, error)) from None
        except (dns.exception.Timeout, OSError, EOFError) as error:
            told = "the connection was cut" if not isinstance(error, dns.exception.Timeout) else "no reply in time"
            raise Lost(told) from None
        except dns.exception.FormError as error:
            # dnspython hides the rcode of an unsigned reply to a signed message behind this.
            if "TSIG" in str(error):
                raise Lost("the reply was not signed: key, zone or server is not the right one") from None
            raise Lost(f"unreadable reply ({type(error).__name__})") from None
        except dns.exception.DNSException as error:
            raise Lost(f"unreadable reply ({type(error).__name__})") from None

    def _tsig_refusal(self, endpoint: Endpoint, error: dns.tsig.PeerError) -> str:
        key = f"key {self.key.name} ({self.key.algorithm})"
        match error:
            case dns.tsig.PeerBadKey():
                why = f"it knows no {key}, or does not let it do this; compare name, algorithm and rights there"
            case dns.tsig.PeerBadSignature():
                why = f"the secret of {key} is not the one it has"
            case dns.tsig.PeerBadTime():
                now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                why = f"its clock and this machine's ({now}) are more than 300 s apart; see to NTP"
            case _:
                why = "the signature was refused"
        return f"{endpoint} refused: {why}. Nothing has changed"
