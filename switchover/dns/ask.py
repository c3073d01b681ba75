"""Ask one server one question. Network trouble is a state of the answer, never an exception."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.inet
import dns.message
import dns.rcode

from switchover.dns.message import Answer, Endpoint, Question, State, Way, clean_name
from switchover.dns.reply import understand
from switchover.words import plain

_NO_ROUTE = frozenset(
    {
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
        errno.ENETDOWN,
        errno.EACCES,
        errno.EPERM,
    }
)


_KNOWS_NO_EDNS = frozenset({dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS})

_PUBLIC = ipaddress.IPv6Network("2000::/3")
_PRIVATE = (ipaddress.IPv6Network("fc00::/7"), ipaddress.IPv6Network("fe80::/10"))


async def ask(  # noqa: PLR0913  a question, and how to ask it
    endpoint: Endpoint,
    name: str,
    rdtype: str,
    *,
    recursion: bool = False,
    timeout_s: float = 1.0,
    tries: int = 3,
    dnssec: bool = False,
    subnet: str = "",
) -> Answer:
    """Ask over UDP, over TCP if the reply is cut or none comes; or over TLS or HTTPS, as the endpoint says.

    Try ``n`` waits ``n * timeout_s``, each from a new port, the last over UDP and TCP at once. Raises BadName for a
    text that is no name; anything the network does becomes the answer's state.
    """
    question = Question(endpoint, clean_name(name), rdtype.upper(), recursion, dnssec, subnet)
    for attempt in range(1, tries):
        answer = await _try(question, timeout_s * attempt)
        if answer.state is not State.TIMEOUT:
            return answer
    if endpoint.way is not Way.DNS or tries == 1:
        return await _try(question, timeout_s * tries)
    # Some networks drop UDP and let TCP through; a server that answers there is not silent.
    answer, by_tcp = await asyncio.gather(
        _try(question, timeout_s * tries), _try(question, timeout_s * tries, tcp=True)
    )
    silent = answer.state is State.TIMEOUT and by_tcp.state not in (State.TIMEOUT, State.BROKEN)
    return by_tcp if silent else answer


async def _try(question: Question, timeout_s: float, *, tcp: bool = False) -> Answer:
    way = "TCP" if tcp else {Way.DNS: "UDP", Way.TLS: "TLS", Way.HTTPS: "HTTPS"}[question.endpoint.way]
    age = 0
    try:
        match question.endpoint.way:
            case Way.TLS:
                from switchover.dns.private import over_tls

                reply = await over_tls(question, 2 * timeout_s)
            case Way.HTTPS:
                from switchover.dns.private import over_https

                reply, age = await over_https(question, 2 * timeout_s)
            case Way.DNS:
                reply, way = await _plain(question, timeout_s, tcp=tcp)
    except (dns.exception.Timeout, TimeoutError):
        if _has_only_private_ipv6(question.endpoint):
            return _nothing(question, State.NO_ROUTE, "no route from this machine: its IPv6 is a private one")
        return _nothing(question, State.TIMEOUT, f"no reply over {way} within {timeout_s:g} s")
    except ssl.SSLError as error:
        return _nothing(question, State.BROKEN, f"no trust over {way} ({plain(error.reason or str(error), 100)})")
    except ConnectionRefusedError:
        port = question.endpoint.port
        return _nothing(question, State.BROKEN, f"{way} port {port} is closed: no name server runs there")
    except OSError as error:
        state = State.NO_ROUTE if error.errno in _NO_ROUTE else State.BROKEN
        says = "no route from this machine" if state is State.NO_ROUTE else f"network error over {way}"
        return _nothing(question, state, f"{says} ({plain(error.strerror or str(error), 100)})")
    except (dns.exception.DNSException, EOFError, ValueError) as error:
        return _nothing(question, State.BROKEN, f"unreadable reply over {way} ({type(error).__name__})")
    if question.edns and reply.rcode() in _KNOWS_NO_EDNS:
        return await _try(replace(question, edns=False), timeout_s, tcp=tcp)
    answer = understand(question, reply, datetime.now(UTC))
    return replace(answer, ttl=max(0, answer.ttl - age)) if age and answer.ttl is not None else answer


async def _plain(question: Question, timeout_s: float, *, tcp: bool) -> tuple[dns.message.Message, str]:
    """The reply, and over what it came."""
    query, there = question.message(), question.endpoint
    if not tcp:
        try:
            return await _udp(there, query, timeout_s), "UDP"
        except dns.message.Truncated:
            pass
    try:
        return await dns.asyncquery.tcp(
            query, there.ip, timeout=timeout_s if tcp else 2 * timeout_s, port=there.port
        ), "TCP"
    except dns.exception.Timeout as error:
        if tcp:
            raise
        # The reply over UDP was cut, so there is a server; it is not silent but unreadable.
        raise EOFError from error


async def _udp(endpoint: Endpoint, query: dns.message.Message, timeout_s: float) -> dns.message.Message:
    # A connected socket hears "port unreachable" at once; dnspython's own is not connected and waits in vain.
    backend = dns.asyncbackend.get_backend("asyncio")
    family = dns.inet.af_for_address(endpoint.ip)
    there = (endpoint.ip, endpoint.port)
    async with await backend.make_socket(  # type: ignore[no-untyped-call]
        family, socket.SOCK_DGRAM, 0, None, there
    ) as connected:
        return await dns.asyncquery.udp(
            query,
            endpoint.ip,
            timeout=timeout_s,
            port=endpoint.port,
            sock=connected,
            ignore_unexpected=True,
            ignore_errors=True,  # a forged or garbled packet is not the reply; wait on for the real one
            raise_on_truncation=True,
        )


def _has_only_private_ipv6(endpoint: Endpoint) -> bool:
    """Whether this machine would ask a public IPv6 address from a private one: a default route into the void."""
    if endpoint.way is not Way.DNS or ":" not in endpoint.ip or not _PUBLIC.supernet_of(_network(endpoint.ip)):
        return False
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((endpoint.ip, endpoint.port))  # chooses the source, sends nothing
        except OSError:
            return False
        own = _network(probe.getsockname()[0])
    return any(private.supernet_of(own) for private in _PRIVATE)


def _network(ip: str) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network(ip.partition("%")[0])


def _nothing(question: Question, state: State, detail: str) -> Answer:
    return Answer(question.endpoint, question.name, question.rdtype, datetime.now(UTC), state, detail=detail)
