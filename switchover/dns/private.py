"""Questions that travel inside TLS (RFC 7858) or HTTPS (RFC 8484).

dnspython's own HTTPS wants another HTTP library than ours; what RFC 8484 asks for is a POST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.asyncquery
import dns.message
import httpx

from switchover.roots import roots

if TYPE_CHECKING:
    from switchover.dns.message import Question

MOST = 65535
_TYPE = "application/dns-message"


async def over_tls(question: Question, timeout_s: float) -> dns.message.Message:
    """Ask over TLS; the certificate must be good for the endpoint's name, or its address where it has none."""
    there = question.endpoint
    return await dns.asyncquery.tls(
        question.message(),
        there.ip,
        timeout=timeout_s,
        port=there.port,
        server_hostname=there.detail or there.ip,
        ssl_context=roots(),
    )


async def over_https(question: Question, timeout_s: float) -> tuple[dns.message.Message, int]:
    """Ask by POST over HTTP/2, through a proxy where the environment names one; the reply, and its age in seconds.

    The age is what HTTP caches on the way have kept it for, to be taken off its TTLs (RFC 8484 section 5.1).
    """
    query = question.message()
    query.id = 0
    try:
        async with httpx.AsyncClient(http2=True, verify=roots(), timeout=timeout_s) as client:
            said = await client.post(
                str(question.endpoint),
                content=query.to_wire(),
                headers={"content-type": _TYPE, "accept": _TYPE},
            )
    except httpx.TimeoutException:
        raise TimeoutError from None
    except httpx.HTTPError as error:
        raise _as_os_error(error) from None
    if said.status_code != 200 or said.headers.get("content-type") != _TYPE or len(said.content) > MOST:
        raise ValueError
    reply = dns.message.from_wire(said.content)
    if not query.is_response(reply):
        raise ValueError
    age = said.headers.get("age", "0")
    return reply, int(age) if age.isascii() and age.isdigit() else 0


def _as_os_error(error: BaseException) -> OSError:
    """The system's error under httpx's, so that "no route" and "refused" stay what they are."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return OSError(str(error))
