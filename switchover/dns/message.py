"""What is asked of a DNS server and what it answered.

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


class Way(StrEnum):
    """How a server is spoken to."""

    DNS = "dns"  # UDP, and TCP where that does not do
    TLS = "tls"  # RFC 7858
    HTTPS = "https"  # RFC 8484


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A server to ask; text form ``ip``, ``ip:port``, ``[ip6]:port``, ``tls://ip#name`` or ``https://host/path``."""

    ip: str
    """For HTTPS the host, which may be a name."""
    port: int = 53
    way: Way = Way.DNS
    detail: str = ""
    """For TLS the name on the certificate, empty: the address; for HTTPS the path of the URL."""

    @classmethod
    def parse(cls, text: str, port: int = 53) -> Endpoint:
        """Read the text form; ``port`` is taken where the text names none. Raises ValueError."""
        scheme, found, rest = text.strip().partition("://")
        if not found:
            host, port = _host_and_port(scheme, port)
            return cls(_address(host), port)
        match scheme:
            case "tls":
                at, _, name = rest.partition("#")
                host, port = _host_and_port(at, 853)
                return cls(_address(host), port, Way.TLS, clean_name(name) if name else "")
            case "https":
                at, _, path = rest.partition("/")
                host, port = _host_and_port(at, 443)
                return cls(host if ":" in host else clean_name(host), port, Way.HTTPS, f"/{path}")
        raise ValueError(f"{text!r} is neither an address, nor tls://address#name, nor https://host/path")

    def __str__(self) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        match self.way:
            case Way.DNS:
                return self.ip if self.port == 53 else f"{host}:{self.port}"
            case Way.TLS:
                return (
                    f"tls://{host}"
                    + (f":{self.port}" if self.port != 853 else "")
                    + f"#{self.detail}" * bool(self.detail)
                )
            case Way.HTTPS:
                return f"https://{host}" + (f":{self.port}" if self.port != 443 else "") + self.detail


def _host_and_port(text: str, port: int) -> tuple[str, int]:
    host = text
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = int(rest.removeprefix(":")) if rest else port
    elif host.count(":") == 1:
        host, _, rest = host.partition(":")
        port = int(rest)
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is not between 1 and 65535")
    return host, port


def _address(host: str) -> str:
    return str(ipaddress.ip_address(host))


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
    BOGUS = "bogus"  # a record that resolvers which validate would refuse
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
class Signature:
    """The RRSIG that covers a record (RFC 4034 section 3); validators keep the record no longer than it holds."""

    inception: datetime
    expiration: datetime
    labels: int
    """Fewer than the name has: a wildcard answered (RFC 4035 section 5.3.4)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question to one server."""

    endpoint: Endpoint
    name: str
    rdtype: str
    recursion: bool = False
    dnssec: bool = False
    subnet: str = ""
    """Ask as if from this network (``ip/bits``, RFC 7871); empty: no word of it."""
    edns: bool = True
    """Whether to use EDNS; some old servers answer FORMERR to it (RFC 6891 section 7)."""

    def message(self) -> dns.message.QueryMessage:
        """Build the query: EDNS with NSID (RFC 5001), so that the site that answers tells its name."""
        options: list[dns.edns.Option] = [dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")]
        if self.subnet:
            ip, _, bits = self.subnet.partition("/")
            options.append(dns.edns.ECSOption(ip, int(bits)))
        return dns.message.make_query(
            dns.name.from_text(self.name),
            self.rdtype,
            use_edns=0 if self.edns else False,
            payload=PAYLOAD,
            want_dnssec=self.dnssec and self.edns,
            options=options if self.edns else None,
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
    ad: bool = False
    """Whether a resolver says that it has validated the signatures."""
    ttl: int | None = None
    """Of the values; of "no such record" for NODATA and NXDOMAIN, where the reply tells it."""
    values: tuple[str, ...] = ()
    chain: tuple[Alias, ...] = ()
    soa: Soa | None = None
    delegation: Delegation | None = None
    signature: Signature | None = None
    """Of the values; only where DNSSEC was asked for."""
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
