"""What is asked of a DNS server and what it answered: models, and the reading of a reply.

Names are written as people do, lower case and without the last dot (``example.com``, root is ``.``);
values are rdata in presentation form, sorted.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset

from switchover.words import plain

if TYPE_CHECKING:
    from datetime import datetime

PAYLOAD = 1232
"""The UDP size that is not fragmented anywhere (DNS flag day 2020)."""


class BadName(ValueError):
    """The text is no domain name; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address and a port; text form ``ip``, ``ip:port`` or ``[ip6]:port``."""

    ip: str
    port: int = 53

    @classmethod
    def parse(cls, text: str, port: int = 53) -> Endpoint:
        """Read the text form; ``port`` is taken where the text names none. Raises ValueError."""
        host = text.strip()
        if host.startswith("["):
            host, _, rest = host[1:].partition("]")
            port = int(rest.removeprefix(":")) if rest else port
        elif host.count(":") == 1:
            host, _, rest = host.partition(":")
            port = int(rest)
        if not 0 < port < 65536:
            raise ValueError(f"port {port} is not between 1 and 65535")
        return cls(str(ipaddress.ip_address(host)), port)

    def __str__(self) -> str:
        if self.port == 53:
            return self.ip
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Rrset:
    """The values of one name and type, and the TTL they share (RFC 2181 section 5.2)."""

    values: tuple[str, ...]
    ttl: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(sorted(set(self.values))))

    def __str__(self) -> str:
        return f"{', '.join(self.values) or 'nothing'} (TTL {self.ttl})"


class State(StrEnum):
    """How a question ended."""

    OK = "ok"
    NODATA = "nodata"  # the name may exist, it has no such record; also: it is a CNAME (see Answer.chain)
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    LAME = "lame"  # no authority for the name (AA=0), or no recursion where recursion was asked
    CACHE = "cache"  # asked without recursion, answered by a recursive resolver (RA=1, AA=0)
    TIMEOUT = "timeout"
    NO_ROUTE = "no-route"  # this machine cannot reach the address: says nothing about the server
    BROKEN = "broken"  # closed port, cut connection, unreadable reply, another error code


FIRM = frozenset({State.OK, State.NODATA, State.NXDOMAIN})
"""States that say something about the record; every other says something about the way to it."""


@dataclass(frozen=True, slots=True)
class Alias:
    """One CNAME on the way from the name to its record; caches keep each by its own TTL."""

    owner: str
    target: str
    ttl: int


@dataclass(frozen=True, slots=True)
class Soa:
    """A zone's start of authority."""

    zone: str
    primary: str
    serial: int
    negative_ttl: int
    """How long "no such record" is kept: the lesser of its TTL and its minimum (RFC 2308 section 5)."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """What a parent's server says about a child zone: its servers, and the addresses given along (glue)."""

    zone: str
    servers: tuple[str, ...]
    glue: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One question to one server."""

    endpoint: Endpoint
    name: str
    rdtype: str
    recursion: bool = False

    def message(self, *, dnssec: bool = False) -> dns.message.QueryMessage:
        """Build the query: EDNS with NSID (RFC 5001), so that the site that answers tells its name."""
        return dns.message.make_query(
            dns.name.from_text(self.name),
            self.rdtype,
            use_edns=0,
            payload=PAYLOAD,
            want_dnssec=dnssec,
            options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")],
            flags=dns.flags.RD if self.recursion else 0,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What one server said, or why it said nothing."""

    endpoint: Endpoint
    name: str
    rdtype: str
    at: datetime
    """When it was received, UTC."""
    state: State
    rcode: str = ""
    aa: bool = False
    ra: bool = False
    ttl: int | None = None
    """Of the values; of "no such record" for NODATA and NXDOMAIN, where the reply tells it."""
    values: tuple[str, ...] = ()
    chain: tuple[Alias, ...] = ()
    soa: Soa | None = None
    delegation: Delegation | None = None
    nsid: str = ""
    ede: tuple[str, ...] = ()
    """Extended errors (RFC 8914), each as ``code text``."""
    detail: str = ""

    @property
    def serial(self) -> int | None:
        """The zone's serial, where it was told."""
        return self.soa.serial if self.soa is not None else None

    @property
    def rrset(self) -> Rrset | None:
        """The record, if there is one."""
        return Rrset(self.values, self.ttl) if self.state is State.OK and self.ttl is not None else None

    def __str__(self) -> str:
        match self.state:
            case State.OK:
                said = f"{', '.join(self.values)} with TTL {self.ttl}"
            case State.NODATA:
                said = self.detail or f"no {self.rdtype} record"
            case State.NXDOMAIN:
                said = "no such name (NXDOMAIN)"
            case _:
                said = self.detail or self.state.value.upper()
        return said


def clean_name(text: str | dns.name.Name) -> str:
    """The name in our form; raises BadName."""
    try:
        name = dns.name.from_text(text) if isinstance(text, str) else text
    except (dns.exception.DNSException, UnicodeError) as error:
        raise BadName(f"{plain(str(text), 100)!r} is not a domain name: {plain(str(error), 100)}") from None
    return plain(name.canonicalize().to_text(omit_final_dot=True), 1100)


def parent_of(name: str) -> str | None:
    """The name without its first label; None for the root."""
    parsed = dns.name.from_text(name)
    return clean_name(parsed.parent()) if parsed != dns.name.root else None


def is_within(name: str, zone: str) -> bool:
    """Whether the name is the zone's apex or below it."""
    return dns.name.from_text(name).is_subdomain(dns.name.from_text(zone))


def understand(question: Question, reply: dns.message.Message, at: datetime) -> Answer:
    """Read a reply."""
    chain, found = _follow(question, reply)
    soa = _soa(question, reply, chain)
    aa, ra = bool(reply.flags & dns.flags.AA), bool(reply.flags & dns.flags.RA)
    here = question.recursion or not chain  # without recursion only what stands at the name itself counts
    state, detail = _state(question, reply, bool(found and here))
    if state is State.NODATA and chain and not question.recursion:
        detail = f"a CNAME to {chain[0].target}"
    ttl = found.ttl if found and here else soa.negative_ttl if soa and state in FIRM else None
    return Answer(
        endpoint=question.endpoint,
        name=question.name,
        rdtype=question.rdtype,
        at=at,
        state=state,
        rcode=dns.rcode.to_text(reply.rcode()),
        aa=aa,
        ra=ra,
        ttl=ttl,
        values=tuple(sorted(plain(rdata.to_text()) for rdata in found)) if found and here else (),
        chain=chain,
        soa=soa,
        delegation=_delegation(question, reply) if not aa and not found else None,
        nsid=_nsid(reply),
        ede=tuple(_ede(option) for option in reply.extended_errors()),
        detail=detail,
    )


def _state(question: Question, reply: dns.message.Message, found: bool) -> tuple[State, str]:
    aa, ra = reply.flags & dns.flags.AA, reply.flags & dns.flags.RA
    rcode = reply.rcode()
    match rcode:
        case dns.rcode.SERVFAIL:
            return State.SERVFAIL, "SERVFAIL: the server could not answer"
        case dns.rcode.REFUSED if not question.recursion and ra:
            return State.REFUSED, "REFUSED, by a recursive resolver: this is not the authoritative server"
        case dns.rcode.REFUSED:
            return State.REFUSED, "REFUSED: the server does not answer this question"
        case dns.rcode.NOERROR | dns.rcode.NXDOMAIN:
            pass
        case _:
            return State.BROKEN, f"error {dns.rcode.to_text(rcode)}"
    if not question.recursion and not aa:
        if ra:
            return (
                State.CACHE,
                "answered from a cache (AA=0, RA=1): something between here and the server answers for it",
            )
        return State.LAME, "not authoritative for the name (AA=0)"
    if question.recursion and not aa and not ra and not found:
        return State.LAME, "not a recursive resolver (RA=0)"
    if rcode == dns.rcode.NXDOMAIN:
        return State.NXDOMAIN, ""
    return (State.OK, "") if found else (State.NODATA, "")


def _follow(question: Question, reply: dns.message.Message) -> tuple[tuple[Alias, ...], dns.rrset.RRset | None]:
    """Follow the CNAMEs in the answer section to the record asked for."""
    wanted = dns.rdatatype.from_text(question.rdtype)
    name = dns.name.from_text(question.name)
    by_key = {(rrset.name, rrset.rdtype): rrset for rrset in reply.answer}
    chain: list[Alias] = []
    while (rrset := by_key.get((name, wanted))) is None and len(chain) < 16:
        alias = by_key.get((name, dns.rdatatype.CNAME))
        if alias is None:
            break
        target = alias[0].target
        chain.append(Alias(clean_name(name), clean_name(target), alias.ttl))
        name = target
    return tuple(chain), rrset


def _soa(question: Question, reply: dns.message.Message, chain: tuple[Alias, ...]) -> Soa | None:
    """The SOA of the zone that holds the name (behind its CNAMEs), wherever in the reply it stands."""
    end = chain[-1].target if chain else question.name
    for rrset in (*reply.answer, *reply.authority):
        if rrset.rdtype == dns.rdatatype.SOA and is_within(end, clean_name(rrset.name)):
            rdata: dns.rdtypes.ANY.SOA.SOA = rrset[0]
            return Soa(clean_name(rrset.name), clean_name(rdata.mname), rdata.serial, min(rrset.ttl, rdata.minimum))
    return None


def _delegation(question: Question, reply: dns.message.Message) -> Delegation | None:
    for rrset in (*reply.authority, *reply.answer):
        if rrset.rdtype == dns.rdatatype.NS and is_within(question.name, clean_name(rrset.name)):
            servers = tuple(sorted(clean_name(rdata.target) for rdata in rrset))
            glue = tuple(
                sorted(
                    (clean_name(extra.name), rdata.address)
                    for extra in reply.additional
                    if extra.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA) and clean_name(extra.name) in servers
                    for rdata in extra
                )
            )
            return Delegation(clean_name(rrset.name), servers, glue)
    return None


def _nsid(reply: dns.message.Message) -> str:
    for option in reply.options:
        if option.otype == dns.edns.OptionType.NSID:
            raw = option.to_wire() or b""
            return plain(raw.decode(), 200) if raw.isascii() and raw.decode().isprintable() else raw.hex()[:200]
    return ""


def _ede(option: dns.edns.EDEOption) -> str:
    return plain(f"{int(option.code)} {option.text or ''}", 300).strip()
