"""One request, as a user would make it, to the address the name resolves to or to a pinned one."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpcore
import httpx

from switchover.roots import roots
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_BODY = 1 << 20
MOST_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and what a good answer is."""

    url: str
    address: str | None = None
    """Connect here, with SNI and Host of the URL's name; None lets the system resolve the name."""
    status: int | None = 200
    """None takes every 2xx and 3xx and follows no redirect, as a load balancer's check does."""
    contains: str | None = None
    within_ms: int = 2000
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Answered:
    """How it went; ``reason`` says what is wrong, empty when ``ok``."""

    ok: bool
    at: datetime
    ms: float
    status: int | None = None
    reason: str = ""
    address: str | None = None
    certificate_days: int | None = None


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects one host name to one address and refuses every other, so that a redirect cannot leave the pin."""

    def __init__(self, host: str, address: str) -> None:
        self._host = host
        self._address = address
        self._real = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if host != self._host:
            raise httpcore.ConnectError(f"redirected to {host}, away from the pinned address")
        return await self._real.connect_tcp(self._address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def probe(request: Request) -> Answered:
    """Ask once, on a connection of its own; trouble of any kind is an answer, never an exception.

    The certificate is verified against the URL's name also when the address is pinned; ``SSL_CERT_FILE``
    names other roots. Bodies are read up to 1 MiB and the whole request, redirects included, has one deadline.
    """
    at = datetime.now(UTC)
    started = time.monotonic()
    try:
        async with asyncio.timeout(request.timeout_s), _client(request) as client:
            response, body, days = await _follow(client, request)
    except TimeoutError:
        return Answered(
            False, at, _ms(started), reason=f"no answer in {request.timeout_s:g} s", address=request.address
        )
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # ValueError: a redirect to no URL
        return Answered(False, at, _ms(started), reason=_why(error), address=request.address)
    ms = _ms(started)
    reason = _wrong(request, response, body, ms)
    return Answered(not reason, at, ms, response.status_code, reason, request.address, days)


def _client(request: Request) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(verify=roots(), trust_env=False, retries=0)
    if request.address is not None:
        host = httpx.URL(request.url).raw_host.decode("ascii")
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=roots(), network_backend=_Pinned(host, request.address)
        )
    return httpx.AsyncClient(transport=transport, trust_env=False, timeout=None)  # noqa: S113  probe has the deadline


async def _follow(client: httpx.AsyncClient, request: Request) -> tuple[httpx.Response, bytes, int | None]:
    """The answer after redirects, with at most 1 MiB of its body and the certificate's days left."""
    url = request.url
    for _ in range(MOST_REDIRECTS + 1):
        async with client.stream("GET", url) as response:
            if not response.has_redirect_location or request.status in (None, response.status_code):
                return response, await _body(response), _days_left(response)
            following = urljoin(url, response.headers["location"])
        if response.url.scheme == "https" and following.lower().startswith("http:"):
            raise httpx.RemoteProtocolError(f"redirected from https to {following}, without encryption")
        url = following
    raise httpx.TooManyRedirects(f"more than {MOST_REDIRECTS} redirects")


def _why(error: Exception) -> str:
    """What went wrong, by its cause in the system where there is one: "Connection refused"."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno and cause.errno > 0 and not isinstance(cause, ssl.SSLError):
            return plain(os.strerror(cause.errno), 300)
        cause = cause.__cause__ or cause.__context__
    return plain(str(error), 300) or type(error).__name__


async def _body(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes(65536):
        body += chunk
        if len(body) >= LARGEST_BODY:
            break
    return body[:LARGEST_BODY]


def _days_left(response: httpx.Response) -> int | None:
    stream = response.extensions.get("network_stream")
    secured = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = secured.getpeercert() if secured is not None else None
    if not certificate:
        return None
    return int((ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) // 86400)


def _wrong(request: Request, response: httpx.Response, body: bytes, ms: float) -> str:
    if request.status is None and not 200 <= response.status_code < 400:
        return f"status {response.status_code}, not 2xx or 3xx"
    if request.status not in (None, response.status_code):
        return f"status {response.status_code}, not {request.status}"
    if request.contains is not None and request.contains.encode() not in body:
        return f"the body does not contain {request.contains!r}"
    if ms > request.within_ms:
        return f"{ms:.0f} ms, more than {request.within_ms} ms"
    return ""


def _ms(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 1)
