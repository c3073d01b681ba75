"""What keepers with an HTTP API have in common: one call with a deadline, its errors as ours, records one by one.

The token goes into one header and nowhere else: httpx's own error texts are never shown, and from an answer that
repeats the token it is cut out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from switchover.dns.message import Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, Unreachable
from switchover.dns.providers.swap import Lost, changed, swap
from switchover.roots import roots
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from switchover.dns.keys import Secret

MOST = 32 * 1024 * 1024
"""Bytes of an answer: PowerDNS sends a whole zone, about 150 bytes for each record."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_GATEWAY = frozenset({502, 503, 504, *range(520, 528)})
"""Said by whoever stands before the API: what became of the request behind it is not known."""
_SENDABLE = re.compile(rb"[\x21-\x7e]+")
_TTL_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: its status, its JSON (None where it is none), and what it tells a person."""

    status: int
    document: Any
    told: str

    def __str__(self) -> str:
        return f"HTTP {self.status}" + (f": {self.told}" if self.told else "")


@dataclass(frozen=True, slots=True)
class Api:
    """Where the API is, and how the token is shown to it."""

    keeper: str
    """As people call it."""
    url: str
    token: Secret
    header: str = "Authorization"
    scheme: str = "Bearer "
    timeout_s: float = 15
    """Of a whole call, however the answer trickles in."""

    @property
    def where(self) -> str:
        """The API's host, for messages: a URL may hold a password."""
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            return "an address that is no URL"
        return plain(f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}", 200)

    def clean(self, text: str, limit: int = 200) -> str:
        """Text of the API's, fit to be shown."""
        return plain(plain(text, 100_000).replace(self.token.raw.decode("latin-1"), "…"), limit)


async def call(
    api: Api, method: str, path: str, *, query: Mapping[str, str] | None = None, body: object = None
) -> Said:
    """Ask once. Raises Unreachable where nothing was sent, Lost where it was and no whole answer came."""
    if not _SENDABLE.fullmatch(api.token.raw):  # httpx would log it and put it into its error
        raise ChangeRefused(f"the token for {api.keeper} cannot be sent: it is empty or holds characters no token has")
    key, accept = api.header.encode(), (b"Accept", b"application/json")
    headers = [(key, api.scheme.encode() + api.token.raw), accept]
    client = _client(api)
    try:
        async with asyncio.timeout(api.timeout_s), client:
            sent = client.stream(method, api.url.rstrip("/") + path, params=query, headers=headers, json=body)
            async with sent as response:
                return _said(api, response.status_code, await _body(response))
    except _NEVER_SENT as error:
        raise Unreachable(f"{api.keeper} cannot be reached at {api.where} ({_why(error)}); nothing was sent") from None
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise ChangeRefused(f"{api.where} is not a URL of {api.keeper}'s API: it begins with https://") from None
    except (httpx.TimeoutException, TimeoutError):
        raise Lost(f"no answer within {api.timeout_s:g} s") from None
    except httpx.HTTPError as error:
        raise Lost(f"the connection was cut before the answer ({type(error).__name__})") from None


async def get(api: Api, path: str, meanings: Mapping[int, str], query: Mapping[str, str] | None = None) -> Any:
    """Read; raises ChangeRefused for a status that has a meaning (what is wrong, what to do), else Unreachable."""
    try:
        said = await call(api, "GET", path, query=query)
    except Lost as error:
        raise Unreachable(f"{api.keeper} at {api.where} could not be asked: {error}") from None
    if said.status == 200 and said.document is not None:
        return said.document
    if said.status in meanings:
        raise ChangeRefused(f"{api.keeper} refused ({said}): {meanings[said.status]}. Nothing has changed")
    if said.status == 429:
        raise Unreachable(f"{api.keeper} was asked too often ({said}): wait some minutes, then run again")
    raise Unreachable(f"{api.keeper} at {api.where} gave no usable answer ({said})")


async def send(api: Api, method: str, path: str, body: object, meanings: Mapping[int, str]) -> str:
    """Write once and return what was said, also a refusal; raises Lost where that is not the API's own word."""
    said = await call(api, method, path, body=body)
    if said.status in _GATEWAY:
        raise Lost(str(said))
    meaning = meanings.get(said.status)
    return f"{said}; {meaning}" if meaning else str(said)


@contextlib.contextmanager
def understanding(api: Api) -> Iterator[None]:
    """Within it an answer of another shape than the API's documents say is Unreachable, not a traceback."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        kind = type(error).__name__
        raise Unreachable(f"{api.keeper} at {api.where} gave an answer that is not understood ({kind})") from None


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a record set, where the API keeps each value by itself."""

    path: str
    """Of the entry, below the API's URL."""
    value: str
    ttl: int


def rrset_of(entries: tuple[Entry, ...]) -> Rrset | None:
    """The record set the entries make; of different TTLs the highest, which is what a cache may keep."""
    if not entries:
        return None
    return Rrset(tuple(entry.value for entry in entries), max(entry.ttl for entry in entries))


async def swap_entry(
    keeper: str,
    change: Change,
    find: Callable[[], Awaitable[tuple[Entry, ...]]],
    write: Callable[[Entry], Awaitable[str]],
) -> None:
    """``swap`` of a set of one: ``write`` gets the very entry that was compared."""
    found: tuple[Entry, ...] = ()

    async def read() -> Rrset | None:
        nonlocal found
        found = await find()
        return rrset_of(found)

    async def write_it() -> str:
        return await write(the_one(keeper, change, found))

    await swap(keeper, change, read, write_it)


def the_one(keeper: str, change: Change, found: tuple[Entry, ...]) -> Entry:
    """The entry to change; raises ChangeRefused where one call could not change it all."""
    if len(found) != 1 or len(change.new_values) != 1:
        raise ChangeRefused(
            f"{keeper} keeps each value by itself, so only one value that becomes one other is changed at once; "
            f"{change.owner} {change.rdtype} is {len(found)} of them ({rrset_of(found) or 'absent'}) and shall be "
            f'{change.new or "absent"}. Nothing has changed; use kind = "manual"'
        )
    return found[0]


def expect_old(keeper: str, change: Change, seen: Rrset | None) -> None:
    """Raise ChangeConflict unless the record is as the plan saw it."""
    if seen != change.old:
        raise changed(keeper, change, seen, "now")


def expect_no_alias(keeper: str, owner: str, rdtype: str, types: set[str]) -> None:
    """Raise ChangeConflict where something stands at the name that answers in the record's place."""
    for kind in ("CNAME", "ALIAS", "LUA"):
        if kind in types and rdtype not in types:
            raise ChangeConflict(f"{owner} is a {kind} at {keeper}; the plan expects {rdtype} records", None)


def expect_address(keeper: str, owner: str, rdtype: str) -> None:
    """Raise ChangeRefused for types whose values the API writes in its own way."""
    if rdtype not in ("A", "AAAA"):
        raise ChangeRefused(f"at {keeper} only A and AAAA records are read and changed; {owner} {rdtype} is neither")


def address(text: object) -> str:
    """An address in our form; raises ValueError."""
    return str(ipaddress.ip_address(str(text)))


def seconds(number: object) -> int:
    """A TTL; raises ValueError."""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _TTL_MAX:
        raise ValueError("no TTL")
    return number


def _client(api: Api) -> httpx.AsyncClient:
    """No redirects: the token goes to this address alone, or through the proxy that the environment names."""
    patience = httpx.Timeout(api.timeout_s, connect=min(5, api.timeout_s))
    try:
        return httpx.AsyncClient(verify=roots(), timeout=patience, follow_redirects=False)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise ChangeRefused(
            f"{api.keeper} was not asked: the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) "
            f"cannot be used ({type(error).__name__})"
        ) from None


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MOST:
            raise Lost(f"the answer is longer than {MOST >> 20} MiB")
    return bytes(body)


def _said(api: Api, status: int, body: bytes) -> Said:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    return Said(status, document, api.clean(_told(document, body)) if status >= 300 else "")


def _told(document: Any, body: bytes) -> str:
    """What an error says to a person: ``error``, ``message`` or the list ``errors``; of a page of HTML nothing."""
    if not isinstance(document, dict):
        return "" if body.lstrip().startswith(b"<") else body[:400].decode("utf-8", "replace").strip()
    errors = document.get("errors")
    listed = [_line(each) for each in errors] if isinstance(errors, list) else []
    single = [str(document[key]) for key in ("error", "message") if isinstance(document.get(key), str)]
    return "; ".join([*single, *listed][:3])


def _line(each: object) -> str:
    if isinstance(each, dict):
        return " ".join(str(each[key]) for key in ("code", "message") if key in each)
    return str(each)


def _why(error: BaseException) -> str:
    """The system's word for it; never httpx's own text."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return plain(cause.strerror, 100)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
