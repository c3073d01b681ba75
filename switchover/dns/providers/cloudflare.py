"""Cloudflare: one PATCH of the one record, which leaves its proxy setting, comment and tags alone.

Not verified against the live service; the tests speak to a stand-in. By Cloudflare's documents a PUT without
``proxied`` switches the proxy off and shows the origin to all, so it is never used; a batch is one transaction of the
database but is not served at once, so sets of several values are refused.

``ttl: 1`` is Cloudflare's word for automatic, which is served as 300 seconds: it is read as 300, and a TTL that is put
back later is written as 300, not as automatic.
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

if TYPE_CHECKING:
    from switchover.dns.keys import Secret
    from switchover.dns.message import Rrset

AUTOMATIC, AUTOMATIC_S = 1, 300
_LEAST_S = 30
"""For Enterprise zones; for all others 60, which Cloudflare itself enforces."""
_MOST_PAGES = 100
_READ = {
    400: "it did not understand the request, most often because the key file holds something else than one of its API "
    "tokens (the Global API Key is none)",
    401: "the token is not valid: make one at dash.cloudflare.com/profile/api-tokens with Zone Read and DNS Edit",
    403: "the token is not valid or may not do this: it needs Zone Read and DNS Edit for this zone, from this address",
}
_WRITE = {403: "the token may read the record but not change it: it needs DNS Edit for this zone"}


@dataclass(frozen=True, slots=True)
class Cloudflare:
    """A zone of the account that the token belongs to."""

    zone: str
    token: Secret
    url: str = "https://api.cloudflare.com/client/v4"
    timeout_s: float = 15
    """Of each call."""

    @property
    def name(self) -> str:
        return "cloudflare"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            cas=False,
            ttl=True,
            min_ttl=60,
            says="Cloudflare changes one unproxied address at a time, compared just before and read back just after, "
            "but a change by somebody else in between is overwritten: that gap is not atomic; an automatic TTL counts "
            "as 300; not verified against the live service",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """The PATCH, a line each."""
        at = f"{change.owner} {change.rdtype}"
        return (
            f"patch   the record of {at} in zone {self.zone} at Cloudflare",
            f"require {at} is exactly {change.old or 'absent'} and not proxied, compared just before",
            f"set     {change.new or 'absent'}; proxy, comment and tags stay as they are",
            "then    read back what has become of it",
        )

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record as the zone has it, an automatic TTL as 300; refuses a proxied one."""
        return rrset_of(await self._find(owner, rdtype))

    async def check(self, change: Change) -> str:
        """Read the record with the token; that the token may also write shows only then."""
        _expect_ttl(change)
        found = await self._find(change.owner, change.rdtype)
        expect_old(self.name, change, rrset_of(found))
        the_one(self.name, change, found)
        return (
            f"Cloudflare accepts the token for {self.zone}, and {change.owner} {change.rdtype} is {change.old} as "
            "expected and not proxied (writing was not tried)"
        )

    async def apply(self, change: Change) -> None:
        """Patch the one record; the record read back decides what happened."""

        async def write(entry: Entry) -> str:
            _expect_ttl(change)
            body = {"type": change.rdtype, "name": change.owner, "content": change.new_values[0], "ttl": change.new_ttl}
            return await send(self._api, "PATCH", entry.path, body, _WRITE)

        await swap_entry(self.name, change, lambda: self._find(change.owner, change.rdtype), write)

    async def _find(self, owner: str, rdtype: str) -> tuple[Entry, ...]:
        expect_address(self.name, owner, rdtype)
        path = f"/zones/{quote(await self._zone_id(), safe='')}/dns_records"
        records = await self._list(path, {"name": owner})
        with understanding(self._api):
            here = [each for each in records if str(each["name"]).lower().rstrip(".") == owner]
            expect_no_alias(self.name, owner, rdtype, {str(each["type"]) for each in here})
            mine = [each for each in here if each["type"] == rdtype]
            if any(each.get("proxied") for each in mine):
                raise ChangeRefused(_proxied(owner, rdtype))
            return tuple(_entry(path, each) for each in mine)

    async def _zone_id(self) -> str:
        zones = await self._list("/zones", {"name": self.zone})
        with understanding(self._api):
            named = [each for each in zones if str(each["name"]).lower() == self.zone]
            if len(named) > 1:
                named = [each for each in named if each["status"] == "active"]
            if len(named) == 1:
                return str(named[0]["id"])
        raise ChangeRefused(
            f"the token shows {'several zones' if len(zones) > 1 else 'no zone'} {self.zone} at Cloudflare: it must be "
            "a token of the account that keeps the zone, with Zone Read for it; or name the zone in the plan: zone = …"
        )

    async def _list(self, path: str, query: dict[str, str]) -> list[Any]:
        """All pages of a list; the query only shortens it, callers pick what they want themselves."""
        listed: list[Any] = []
        for page in range(1, _MOST_PAGES + 1):
            document = await get(self._api, path, _READ, {**query, "per_page": "50", "page": str(page)})
            with understanding(self._api):
                listed += document["result"]
                if page >= (document.get("result_info") or {}).get("total_pages", 1):
                    return listed
        raise ChangeRefused(f"Cloudflare lists more than {_MOST_PAGES} pages of {path}; nothing has changed")

    @property
    def _api(self) -> Api:
        return Api("Cloudflare", self.url, self.token, timeout_s=self.timeout_s)


def _entry(path: str, each: Any) -> Entry:
    ttl = seconds(each["ttl"])
    place = f"{path}/{quote(str(each['id']), safe='')}"
    return Entry(place, address(each["content"]), AUTOMATIC_S if ttl == AUTOMATIC else ttl)


def _expect_ttl(change: Change) -> None:
    """Refuse what would be read as automatic, or never be kept."""
    if change.new_values and change.new_ttl < _LEAST_S:
        raise ChangeRefused(
            f"Cloudflare keeps no TTL below 60 s (Enterprise zones: {_LEAST_S}); {change.new_ttl} was asked for. "
            "Nothing has changed; set low_ttl = 60"
        )


def _proxied(owner: str, rdtype: str) -> str:
    return (
        f"{owner} {rdtype} is proxied by Cloudflare (orange cloud): the public answer is Cloudflare's own address with "
        "an automatic TTL, and stays the same when the address behind it changes. So there is no TTL to lower and "
        "nothing to see in the DNS: change the address of the origin there, it takes effect within seconds. Nothing "
        "has changed"
    )
