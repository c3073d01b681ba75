"""DigitalOcean: one PATCH of the one record.

Not verified against the live service; the tests speak to a stand-in. By DigitalOcean's documents records have names
relative to the domain (``@`` for the domain itself), the listing is filtered by full names and comes in pages, and a
PATCH changes only what it names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from switchover.dns.providers import Capabilities, Change, ChangeRefused
from switchover.dns.providers.http_api import (
    Api,
    Entry,
    address,
    expect_address,
    expect_no_alias,
    expect_old,
    get,
    rrset_of,
    seconds,
    send,
    swap_entry,
    the_one,
    understanding,
)
from switchover.dns.providers.manual import relative

if TYPE_CHECKING:
    from switchover.dns.keys import Secret
    from switchover.dns.message import Rrset

_LEAST_S = 30
_MOST_PAGES = 100
_WRITE = {403: "the token may read the record but not change it: it needs the scope domain:update"}


@dataclass(frozen=True, slots=True)
class DigitalOcean:
    """A domain of the account or team that the token belongs to."""

    zone: str
    token: Secret
    url: str = "https://api.digitalocean.com/v2"
    timeout_s: float = 15
    """Of each call."""

    @property
    def name(self) -> str:
        return "digitalocean"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            cas=False,
            ttl=True,
            min_ttl=_LEAST_S,
            says="DigitalOcean changes one address at a time, compared just before and read back just after, but a "
            "change by somebody else in between is overwritten: that gap is not atomic; not verified against the live "
            "service",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """The PATCH, a line each."""
        at = f"{change.owner} {change.rdtype}"
        return (
            f"patch   the record {relative(change.owner, self.zone)} {change.rdtype} of {self.zone} at DigitalOcean",
            f"require {at} is exactly {change.old or 'absent'}, compared just before",
            f"set     {change.new or 'absent'}",
            "then    read back what has become of it",
        )

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record as the domain has it."""
        return rrset_of(await self._find(owner, rdtype))

    async def check(self, change: Change) -> str:
        """Read the record with the token; that the token may also write shows only then."""
        _expect_ttl(change)
        found = await self._find(change.owner, change.rdtype)
        expect_old(self.name, change, rrset_of(found))
        the_one(self.name, change, found)
        return (
            f"DigitalOcean accepts the token for {self.zone}, and {change.owner} {change.rdtype} is {change.old} as "
            "expected (writing was not tried)"
        )

    async def apply(self, change: Change) -> None:
        """Patch the one record; the record read back decides what happened."""

        async def write(entry: Entry) -> str:
            _expect_ttl(change)
            body = {"type": change.rdtype, "data": change.new_values[0], "ttl": change.new_ttl}
            return await send(self._api, "PATCH", entry.path, body, _WRITE)

        await swap_entry(self.name, change, lambda: self._find(change.owner, change.rdtype), write)

    async def _find(self, owner: str, rdtype: str) -> tuple[Entry, ...]:
        expect_address(self.name, owner, rdtype)
        path = f"/domains/{quote(self.zone, safe='')}/records"
        records = await self._list(path, owner)
        host = relative(owner, self.zone)
        with understanding(self._api):
            here = [each for each in records if str(each["name"]).lower() == host]
            expect_no_alias(self.name, owner, rdtype, {str(each["type"]) for each in here})
            return tuple(
                Entry(f"{path}/{int(each['id'])}", address(each["data"]), seconds(each["ttl"]))
                for each in here
                if each["type"] == rdtype
            )

    async def _list(self, path: str, owner: str) -> list[Any]:
        """All pages; the next one is asked for by number, for a link might lead the token elsewhere."""
        listed: list[Any] = []
        for page in range(1, _MOST_PAGES + 1):
            query = {"name": owner, "per_page": "100", "page": str(page)}
            document = await get(self._api, path, self._meanings, query)
            with understanding(self._api):
                listed += document["domain_records"]
                if not ((document.get("links") or {}).get("pages") or {}).get("next"):
                    return listed
        raise ChangeRefused(f"DigitalOcean lists more than {_MOST_PAGES} pages of records; nothing has changed")

    @property
    def _api(self) -> Api:
        return Api("DigitalOcean", self.url, self.token, timeout_s=self.timeout_s)

    @property
    def _meanings(self) -> dict[int, str]:
        return {
            401: "the token is not valid: make one at cloud.digitalocean.com/account/api/tokens with domain:read and "
            "domain:update",
            403: "the token may not read domains: it needs the scopes domain:read and domain:update",
            404: f"its account or team has no domain {self.zone}: is it a token of the one that keeps it? Or name the "
            "zone in the plan: zone = …",
        }


def _expect_ttl(change: Change) -> None:
    if change.new_values and change.new_ttl < _LEAST_S:
        raise ChangeRefused(
            f"DigitalOcean keeps no TTL below {_LEAST_S} s; {change.new_ttl} was asked for. Nothing has changed; "
            f"set low_ttl = {_LEAST_S}"
        )
