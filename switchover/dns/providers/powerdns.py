"""PowerDNS's own HTTP API: one PATCH replaces the record set in one transaction of its database.

Measured on 4.7: the API does not compare, so that is done here, before and after. A set's comments stay, its disabled
values go, so such a set is refused; asked for one name the API hides them, so before a change the whole zone is read.
The zone's serial stays as it is unless the zone has SOA-EDIT-API: secondaries that go by the serial then never see the
change, which is why every authoritative server is watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from switchover.dns.message import Rrset
from switchover.dns.providers import Capabilities, Change, ChangeRefused
from switchover.dns.providers.http_api import (
    Api,
    address,
    expect_no_alias,
    expect_old,
    get,
    seconds,
    send,
    understanding,
)
from switchover.dns.providers.swap import swap
from switchover.words import plain

if TYPE_CHECKING:
    from switchover.dns.keys import Secret

_COPIES = frozenset({"slave", "secondary", "consumer"})
"""Kinds of zones that are copies: the next transfer would undo the change."""
_ADDRESSES = ("A", "AAAA")


@dataclass(frozen=True, slots=True)
class PowerDns:
    """The server whose database holds the zone."""

    url: str
    """With or without ``/api/v1``."""
    zone: str
    token: Secret
    """``api-key`` of its configuration."""
    timeout_s: float = 15
    """Of each call."""

    @property
    def name(self) -> str:
        return "powerdns"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            cas=False,
            ttl=True,
            min_ttl=None,
            says=f"PowerDNS at {self._api.where} changes the whole record set at once; it is compared just before and "
            "read back just after, but a change by somebody else in between is overwritten: that gap is not atomic",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """The PATCH, a line each."""
        at = f"{change.owner} {change.rdtype}"
        return (
            f"patch   zone {self.zone} at {self._api.where}",
            f"require {at} is exactly {change.old or 'absent'}, compared just before",
            f"replace {at} with {change.new}" if change.new else f"delete  {at}",
            "then    read back what has become of it",
        )

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record as the database has it."""
        return await self._read(owner, rdtype, {"rrset_name": f"{owner}."})  # before 4.7 the whole zone comes anyway

    async def check(self, change: Change) -> str:
        """Read the record with the key; PowerDNS knows no keys that may read and not write."""
        expect_old(self.name, change, await self._read(change.owner, change.rdtype))
        return (
            f"PowerDNS at {self._api.where} accepts the key, and {change.owner} {change.rdtype} is "
            f"{change.old or 'absent'} as expected (writing was not tried)"
        )

    async def apply(self, change: Change) -> None:
        """Replace the set; the record read back decides what happened."""
        await swap(self.name, change, lambda: self._read(change.owner, change.rdtype), lambda: self._write(change))

    async def _read(self, owner: str, rdtype: str, query: dict[str, str] | None = None) -> Rrset | None:
        """Without a query out of the whole zone: only there values show that are disabled, which a change deletes."""
        document = await get(self._api, self._path, self._meanings, query)
        with understanding(self._api):
            if str(document["kind"]).lower() in _COPIES:
                raise ChangeRefused(
                    f"{self.zone} is only a copy at {self._api.where} (kind {plain(str(document['kind']), 20)}), which "
                    "the next transfer overwrites: name the server that is its primary"
                )
            sets = {str(each["type"]): each for each in document["rrsets"] if each["name"].lower() == f"{owner}."}
            types = {kind for kind, each in sets.items() if kind == rdtype or _answers(each, kind, rdtype)}
        expect_no_alias(self.name, owner, rdtype, types)
        return self._rrset(owner, rdtype, sets[rdtype]) if rdtype in sets else None

    async def _write(self, change: Change) -> str:
        rrset: dict[str, Any] = {"name": f"{change.owner}.", "type": change.rdtype, "changetype": "DELETE"}
        if change.new is not None:
            records = [{"content": value, "disabled": False} for value in change.new.values]
            rrset |= {"changetype": "REPLACE", "ttl": change.new_ttl, "records": records}
        return await send(self._api, "PATCH", self._path, {"rrsets": [rrset]}, self._meanings)

    def _rrset(self, owner: str, rdtype: str, each: Any) -> Rrset | None:
        with understanding(self._api):
            if any(record["disabled"] for record in each["records"]):
                raise ChangeRefused(
                    f"{owner} {rdtype} has disabled values in PowerDNS, which a change of the set would delete: "
                    "delete or enable them there first"
                )
            contents = [str(record["content"]) for record in each["records"]]
            values = [address(text) if rdtype in _ADDRESSES else plain(text, 1100) for text in contents]
            return Rrset(tuple(values), seconds(each["ttl"])) if values else None

    @property
    def _api(self) -> Api:
        url = self.url.rstrip("/").removesuffix("/api/v1")
        return Api("PowerDNS", url, self.token, "X-API-Key", "", self.timeout_s)

    @property
    def _path(self) -> str:
        """The zone's place; its id is the name with ``=XX`` for unusual characters."""
        zone_id = "".join(char if char.isalnum() or char in ".-" else f"={ord(char):02X}" for char in self.zone)
        return f"/api/v1/servers/localhost/zones/{zone_id}."

    @property
    def _meanings(self) -> dict[int, str]:
        return {
            401: "the key file does not hold the api-key of its configuration",
            403: "it lets this machine or key do nothing; see api-key and webserver-allow-from of its configuration",
            404: f"it keeps no zone {self.zone}, or its API is off (api=yes): compare with pdnsutil list-all-zones",
        }


def _answers(each: Any, kind: str, rdtype: str) -> bool:
    """Whether a set of another kind answers in the record's place; a LUA record names the type that it makes."""
    contents = [str(record["content"]) for record in each["records"] if not record["disabled"]]
    match kind:
        case "CNAME":
            return bool(contents)
        case "ALIAS":
            return bool(contents) and rdtype in _ADDRESSES
        case "LUA":
            return any(text.startswith(f"{rdtype} ") for text in contents)
        case _:
            return False
