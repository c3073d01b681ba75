"""How a record is changed: one interface, whoever keeps the zone.

ProviderError
 ├ ChangeRefused       nothing has changed; why, and what to do
 │  ├ Unreachable      … because nobody could be asked
 │  └ ChangeConflict   … because the record is not what the plan saw: ``seen`` is what it is
 ├ ChangeUnknown       the change may or may not have been made
 └ NeedsEdit           a person must make it: ``instructions``

The truth is always what the authoritative servers serve, never what a provider replied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from switchover.dns.message import Rrset

if TYPE_CHECKING:
    from pathlib import Path

    from switchover.dns.message import Endpoint
    from switchover.plan.spec import ProviderSpec


class ProviderError(Exception):
    """The base of what a provider raises."""


class ChangeRefused(ProviderError):
    """The change was not made; the message says why and what to do."""


class Unreachable(ChangeRefused):
    """The provider could not be asked; nothing was sent."""


class ChangeConflict(ChangeRefused):
    """The record is not what the plan saw, so it was left alone."""

    def __init__(self, message: str, seen: Rrset | None) -> None:
        super().__init__(message)
        self.seen = seen


class ChangeUnknown(ProviderError):
    """The change was sent and what became of it could not be read back."""


class NeedsEdit(ProviderError):
    """A person must make the change; ``instructions`` say exactly which."""

    def __init__(self, instructions: tuple[str, ...]) -> None:
        super().__init__("the record must be changed by hand: " + " · ".join(instructions))
        self.instructions = instructions


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can promise."""

    cas: bool
    """Compare-and-swap: the server itself refuses the change if the record is no longer the old one."""
    ttl: bool
    """Whether the TTL is set by the change."""
    min_ttl: int | None
    """The lowest TTL it keeps, where that is known."""
    says: str
    """The same in a sentence."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record set, as it must be before and as it shall be after; names without the last dot."""

    zone: str
    owner: str
    rdtype: str
    old_values: tuple[str, ...]
    """Empty: there is no such record yet."""
    old_ttl: int
    new_values: tuple[str, ...]
    """Empty: the record goes away."""
    new_ttl: int

    @property
    def old(self) -> Rrset | None:
        """The record before."""
        return Rrset(self.old_values, self.old_ttl) if self.old_values else None

    @property
    def new(self) -> Rrset | None:
        """The record after."""
        return Rrset(self.new_values, self.new_ttl) if self.new_values else None


class Provider(Protocol):
    """Whoever can change records of a zone. Every call has its own deadline and raises ProviderError only."""

    @property
    def name(self) -> str: ...
    @property
    def capabilities(self) -> Capabilities: ...

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record as its keeper has it now; None if there is none, Unreachable if that is not known."""

    async def check(self, change: Change) -> str:
        """Prove, without changing anything, that ``apply`` would be let in and find the old record.

        Returns what was proved; raises ChangeRefused (ChangeConflict, Unreachable) with the explanation.
        """

    async def apply(self, change: Change) -> None:
        """Make the change; returns only when the keeper shows it. Applying what is already so is no error."""

    def describe(self, change: Change) -> tuple[str, ...]:
        """The exact update, a line each, for the preview."""


def make_provider(spec: ProviderSpec, folder: Path, zone: str, port: int, resolver: Endpoint | None = None) -> Provider:
    """The provider the plan names; ``zone`` as discovered, key files in ``folder``. Raises ChangeRefused.

    Each kind is imported only where it is used: no plan pays for another's library.
    """
    from switchover.dns.keys import KeyUnreadable

    try:
        return _make(spec, folder, spec.zone or zone, port, resolver)
    except KeyUnreadable as error:
        raise ChangeRefused(str(error)) from None


def _make(spec: ProviderSpec, folder: Path, zone: str, port: int, resolver: Endpoint | None) -> Provider:
    from switchover.dns.keys import read_key, read_token

    key_file, server = folder / (spec.key_file or ""), spec.server or ""
    match spec.kind:
        case "manual":
            from switchover.dns.providers.manual import Manual

            return Manual(port, resolver)
        case "rfc2136":
            from switchover.dns.providers.rfc2136 import Rfc2136

            return Rfc2136(server=server, zone=zone, key=read_key(key_file), port=port)
        case "powerdns":
            from switchover.dns.providers.powerdns import PowerDns

            return PowerDns(url=server, zone=zone, token=read_token(key_file))
        case "cloudflare":
            from switchover.dns.providers.cloudflare import Cloudflare

            return Cloudflare(zone=zone, token=read_token(key_file))
        case "digitalocean":
            from switchover.dns.providers.digitalocean import DigitalOcean

            return DigitalOcean(zone=zone, token=read_token(key_file))
        case "route53":
            from switchover.dns.providers.route53 import Route53

            return Route53(zone=zone)
        case "command":
            from switchover.dns.providers.command import Command

            return Command(command=spec.command or (), zone=zone, folder=folder)
        case "lexicon":
            from switchover.dns.providers.lexicon import Lexicon

            return Lexicon(service=spec.service or "", zone=zone)
