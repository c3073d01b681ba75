"""Other people's consoles through dns-lexicon, one address at a time, where its code for the service can be trusted.

Not verified against the live services. Lexicon has no deadlines of its own, replies True without effect, and takes the
TTL from its settings (3600 if none is set): so the TTL is always set here, every call has a deadline, and what counts
is what is read back.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, quote_plus

from switchover.dns.message import Rrset
from switchover.dns.providers import (
    Capabilities,
    Change,
    ChangeConflict,
    ChangeRefused,
    ProviderError,
    Unreachable,
)
from switchover.dns.providers.limits import limits_of
from switchover.dns.providers.swap import Lost, swap
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Read from the sources of dns-lexicon 3.25.2, module by module: update_record sends the TTL of the settings, in one
# request about this record alone (a REMOVE and ADD that the service makes as one counts), also where only the TTL
# differs, without printing; list_records tells id, address and true TTL. So not: services whose update loses the TTL,
# deletes and creates, sends the whole zone back, reads a web page, drops a proxy flag or names the record in full.
TRUSTED = frozenset(
    {
        "aurora",
        "cloudns",
        "cloudxns",
        "conoha",
        "constellix",
        "digitalocean",
        "dnsimple",
        "dnsmadeeasy",
        "dnspark",
        "dnspod",
        "easydns",
        "euserv",
        "exoscale",
        "gransy",
        "luadns",
        "memset",
        "mythicbeasts",
        "namecom",
        "namesilo",
        "oci",
        "onapp",
        "porkbun",
        "qcloud",
        "rackspace",
        "rage4",
        "regfish",
        "softlayer",
        "wedos",
        "zilore",
    }
)

T = TypeVar("T")

_OWN_KIND = frozenset({"cloudflare", "powerdns", "route53"})
_SHORTEST_SECRET = 4


class _TooLong(Exception):
    """The deadline has passed and the call may still be under way."""


class _Failed(Exception):
    """Lexicon or the service raised; cleaned of secrets."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One service of dns-lexicon's; its credentials are in lexicon's own variables, LEXICON_<SERVICE>_AUTH_…"""

    service: str
    zone: str
    timeout_s: float = 60

    @property
    def name(self) -> str:
        return f"lexicon ({self.service})"

    @property
    def capabilities(self) -> Capabilities:
        limits = limits_of("lexicon", self.service, ())
        return Capabilities(
            cas=False,
            ttl=True,
            min_ttl=limits.min_ttl if limits is not None and limits.min_ttl else None,
            says=f"{self.service} through dns-lexicon: compared just before and read back just after, but a change "
            "by somebody else in between is overwritten; not verified against the live service",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """What lexicon is asked to do."""
        return (
            f"lexicon {self.service}, zone {self.zone}",
            f"require {change.owner} {change.rdtype} is exactly {change.old or 'absent'}",
            f"update  {change.owner} {change.rdtype} to {change.new or 'absent'}",
        )

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The one address as the service lists it; refuses several."""
        self._expect_type(owner, rdtype)
        try:
            found = await self._in_thread(lambda: self._list(owner, 0))
        except (_TooLong, _Failed) as error:
            raise Unreachable(f"{owner} could not be read at {self.service}: {error}") from None
        return found[1] if found is not None else None

    async def check(self, change: Change) -> str:
        """Sign in and read the record; that it may also be written shows only then."""
        self._expect_single(change)
        seen = await self.read(change.owner, change.rdtype)
        if seen != change.old:
            raise self._conflict(change, seen)
        return (
            f"{self.service} let lexicon sign in, and {change.owner} is {seen or 'absent'} as expected "
            "(writing was not tried)"
        )

    async def apply(self, change: Change) -> None:
        """Update the record by its id; the record read back decides what happened."""
        self._expect_single(change)
        await swap(self.name, change, lambda: self.read(change.owner, change.rdtype), lambda: self._write(change))

    async def _write(self, change: Change) -> str:
        try:
            return await self._in_thread(lambda: self._update(change))
        except _TooLong as error:
            raise Lost(str(error)) from None
        except _Failed as error:
            return str(error)

    def _update(self, change: Change) -> str:
        with self._signed_in(change.new_ttl) as service:
            found = self._find(service, change.owner)
            if found is None or found[1] != change.old:
                raise self._conflict(change, found[1] if found is not None else None)
            said = service.update_record(found[0], change.rdtype, change.owner, change.new_values[0])
        return f"lexicon said {plain(str(said), 60)}"

    def _list(self, owner: str, ttl: int) -> tuple[Any, Rrset] | None:
        with self._signed_in(ttl) as service:
            return self._find(service, owner)

    def _find(self, service: Any, owner: str) -> tuple[Any, Rrset] | None:
        """The id and the record of the name's one address; raises ChangeRefused for several."""
        listed = service.list_records("A", owner)
        found = [each for each in listed if each["type"] == "A" and _bare(each["name"]) == owner]
        if not found:
            return None
        if len(found) > 1:
            raise ChangeRefused(
                f"{owner} has {len(found)} addresses at {self.service}: lexicon changes one record at a time, which "
                'leaves a moment with both. Use kind = "manual" or "command"'
            )
        address = str(ipaddress.IPv4Address(str(found[0]["content"])))
        return found[0]["id"], Rrset((address,), int(found[0]["ttl"]))

    @contextlib.contextmanager
    def _signed_in(self, ttl: int) -> Iterator[Any]:
        """The service's client with ``ttl`` in its settings; whatever it raises is cleaned.

        Lexicon's own Client would fetch the public suffix list to guess the zone; the zone is known here.
        """
        service_class, settings = self._load()
        settings.with_dict({"provider_name": self.service, "domain": self.zone, "ttl": ttl or 3600}).with_env()
        try:
            service = service_class(settings)
            service.authenticate()
            try:
                yield service
            finally:
                service.cleanup()
        except ProviderError:
            raise
        except Exception as error:  # whatever sixty services' code may raise
            raise self._meaning(error) from None

    def _load(self) -> tuple[Any, Any]:
        """The service's class and empty settings; raises ChangeRefused."""
        if self.service not in TRUSTED:
            raise ChangeRefused(self._untrusted())
        try:
            known = importlib.import_module("lexicon._private.discovery")
            settings: Any = importlib.import_module("lexicon.config").ConfigResolver()
        except ModuleNotFoundError:
            raise ChangeRefused("lexicon needs a library: pip install 'switchover[lexicon]'") from None
        if not known.find_providers().get(self.service):
            raise ChangeRefused(f"{self.service} needs a library: pip install 'dns-lexicon[{self.service}]'")
        module = known.load_provider_module(self.service)
        return module.Provider, settings

    def _untrusted(self) -> str:
        service = plain(self.service, 60)
        if self.service in _OWN_KIND:
            return f'lexicon\'s code for {service} is not used: take kind = "{service}" instead'
        return (
            f"lexicon's code for {service} is not used: it is unknown, or its update loses the TTL, deletes the "
            "record before it creates the new one, or touches more than the record. The way out: "
            'kind = "command" with a program of yours, or kind = "manual"'
        )

    def _meaning(self, error: Exception) -> ProviderError | _Failed:
        """The exception without secrets: HTTP errors repeat URLs, and some services take the key in the URL."""
        status = getattr(getattr(error, "response", None), "status_code", None)
        kind = type(error).__name__
        if status in (401, 403) or kind == "AuthenticationError":
            told = f"HTTP {status}" if status else self._without_secrets(str(error))
            return ChangeRefused(
                f"{self.service} did not let lexicon in ({told}): see LEXICON_{self.service.upper()}_AUTH_… "
                f"and whether that account keeps {self.zone}. Nothing has changed"
            )
        if status is not None:
            return _Failed(f"{self.service} answered HTTP {status}")
        if type(error).__module__.startswith(("requests", "urllib3")):
            return _Failed(f"no usable answer from {self.service} ({kind})")
        return _Failed(f"{kind}: {self._without_secrets(str(error))}")

    def _without_secrets(self, text: str) -> str:
        for name, value in os.environ.items():
            if name.startswith("LEXICON_") and len(value) >= _SHORTEST_SECRET:
                for form in (value, quote(value, safe=""), quote_plus(value)):
                    text = text.replace(form, "…")
        return plain(text, 200)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """The work in a thread that is left behind at the deadline: lexicon's requests cannot be called off."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: Exception | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(cast("T", result))

        def run() -> None:
            result, problem = None, None
            try:
                result = work()
            except Exception as error:  # handed over to whoever waits
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, result, problem)

        threading.Thread(target=run, name="lexicon", daemon=True).start()
        try:
            async with asyncio.timeout(self.timeout_s):
                return await done
        except TimeoutError:
            raise _TooLong(f"no answer from {self.service} within {self.timeout_s:g} s") from None

    def _expect_type(self, owner: str, rdtype: str) -> None:
        if rdtype != "A":
            raise ChangeRefused(f"through lexicon only A records are read and changed; {owner} {rdtype} is not one")

    def _expect_single(self, change: Change) -> None:
        self._expect_type(change.owner, change.rdtype)
        if len(change.old_values) != 1 or len(change.new_values) != 1:
            raise ChangeRefused(
                f"through lexicon one address becomes one other; {change.owner} is {change.old or 'absent'} and shall "
                f'be {change.new or "absent"}. Use kind = "manual" or "command"'
            )

    def _conflict(self, change: Change, seen: Rrset | None) -> ChangeConflict:
        return ChangeConflict(
            f"{change.owner} A is {seen or 'absent'} at {self.service}; the plan expects {change.old or 'absent'}, "
            f"to become {change.new or 'absent'}",
            seen,
        )


def _bare(name: str) -> str:
    return str(name).lower().rstrip(".").removeprefix("@.").removeprefix(".")
