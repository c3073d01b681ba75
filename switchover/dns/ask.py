"""Ask one server one question. Network trouble is a state of the answer, never an exception."""

from __future__ import annotations

import errno
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.inet
import dns.message

from switchover.dns.message import Answer, Question, State, clean_name, understand
from switchover.words import plain

if TYPE_CHECKING:
    from switchover.dns.message import Endpoint

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


async def ask(  # noqa: PLR0913  a question, and how to ask it
    endpoint: Endpoint,
    name: str,
    rdtype: str,
    *,
    recursion: bool = False,
    timeout_s: float = 1.0,
    tries: int = 3,
    dnssec: bool = False,
) -> Answer:
    """Ask over UDP, over TCP if the reply is cut; try ``n`` waits ``n * timeout_s``, each from a new port.

    Raises BadName for a text that is no name; anything the network does becomes the answer's state.
    """
    question = Question(endpoint, clean_name(name), rdtype.upper(), recursion)
    answer = await _try(question, timeout_s, dnssec)
    for attempt in range(2, tries + 1):
        if answer.state is not State.TIMEOUT:
            break
        answer = await _try(question, timeout_s * attempt, dnssec)
    return answer


async def _try(question: Question, timeout_s: float, dnssec: bool) -> Answer:
    query = question.message(dnssec=dnssec)
    way = "UDP"
    try:
        try:
            reply = await _udp(question.endpoint, query, timeout_s)
        except dns.message.Truncated:
            way = "TCP"
            endpoint = question.endpoint
            reply = await dns.asyncquery.tcp(query, endpoint.ip, timeout=2 * timeout_s, port=endpoint.port)
    except dns.exception.Timeout:
        return _nothing(question, State.TIMEOUT, f"no reply over {way} within {timeout_s:g} s")
    except ConnectionRefusedError:
        return _nothing(
            question,
            State.BROKEN,
            f"{way} port {question.endpoint.port} is closed: no name server runs there",
        )
    except OSError as error:
        state = State.NO_ROUTE if error.errno in _NO_ROUTE else State.BROKEN
        says = "no route from this machine" if state is State.NO_ROUTE else "network error"
        return _nothing(question, state, f"{says} ({plain(error.strerror or str(error), 100)})")
    except (dns.exception.DNSException, EOFError, ValueError) as error:
        return _nothing(question, State.BROKEN, f"unreadable reply over {way} ({type(error).__name__})")
    return understand(question, reply, datetime.now(UTC))


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


def _nothing(question: Question, state: State, detail: str) -> Answer:
    return Answer(question.endpoint, question.name, question.rdtype, datetime.now(UTC), state, detail=detail)
