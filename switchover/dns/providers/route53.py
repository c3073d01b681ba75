"""Amazon Route 53: one batch that deletes exactly the old record and creates the new one, all or nothing.

Not verified against the live service; the tests speak to moto. By AWS's documents a DELETE must name every value and
the TTL as they are, a batch is made whole or not at all, and a change is served by every server once it is INSYNC.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from switchover.dns.message import Rrset
from switchover.dns.providers import (
    Capabilities,
    Change,
    ChangeConflict,
    ChangeRefused,
    Unreachable,
)
from switchover.dns.providers.swap import Lost, swap
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_LET_IN = {
    "AccessDenied": "may not do this; it needs route53:ListHostedZonesByName, route53:ListResourceRecordSets, "
    "route53:ChangeResourceRecordSets and route53:GetChange",
    "AccessDeniedException": "may not do this; see its policy",
    "InvalidClientTokenId": "is not known to AWS",
    "UnrecognizedClientException": "is not known to AWS",
    "SignatureDoesNotMatch": "has another secret at AWS, or this machine's clock is wrong",
    "InvalidSignatureException": "has another secret at AWS, or this machine's clock is wrong",
    "ExpiredToken": "has expired; get new credentials",
    "ExpiredTokenException": "has expired; get new credentials",
    "RequestExpired": "was refused because this machine's clock is wrong",
}
_SIMPLE = frozenset({"Name", "Type", "TTL", "ResourceRecords"})
_INSYNC_S, _POLL_S = 120.0, 3.0


class _Refused(Exception):
    """AWS answered with an error of the request's; ``code`` is its name."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


@dataclass(frozen=True)
class Route53:
    """A public hosted zone of the account that AWS's own settings (environment, profile, role) lead to."""

    zone: str
    url: str | None = None
    """Another endpoint, for tests."""

    @property
    def name(self) -> str:
        return "route53"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            cas=True,
            ttl=True,
            min_ttl=None,
            says="Route 53 itself refuses if value or TTL have changed; not verified against the live service",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """The batch, a line each."""
        lines = [f"batch   public hosted zone {self.zone} at Route 53, all or nothing"]
        for action, rrset in (("delete", change.old), ("create", change.new)):
            if rrset is not None:
                lines.extend(f"{action}  {change.owner} {rrset.ttl} {change.rdtype} {value}" for value in rrset.values)
        return (*lines, "wait    until Route 53 says INSYNC, two minutes at most")

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record as the hosted zone has it; refuses alias, weighted and other routed records."""
        return await asyncio.to_thread(self._read, owner, rdtype)

    async def check(self, change: Change) -> str:
        """Read the record, then send a batch that cannot be made: it deletes a record that is not there."""
        seen = await self.read(change.owner, change.rdtype)
        if seen != change.old:
            raise ChangeConflict(
                f"{change.owner} {change.rdtype} is {seen or 'absent'} at Route 53; the plan expects "
                f"{change.old or 'absent'}, to become {change.new or 'absent'}",
                seen,
            )
        proved = await asyncio.to_thread(self._try_out, change)
        return f"Route 53 {proved}, and the record is {change.old or 'absent'} as expected"

    async def apply(self, change: Change) -> None:
        """Swap old for new in one batch; the record read back decides what happened."""
        await swap(self.name, change, lambda: self.read(change.owner, change.rdtype), lambda: self._write(change))

    async def _write(self, change: Change) -> str:
        try:
            change_id = await asyncio.to_thread(self._send, _batch(change))
        except _Refused as error:
            return f"{error.code}: {error}"
        return await self._await_sync(change_id)

    async def _await_sync(self, change_id: str) -> str:
        """Wait until Route 53 says that every server has it; not reached is no error, the servers are watched."""
        with contextlib.suppress(TimeoutError, ChangeRefused, _Refused, Lost):
            async with asyncio.timeout(_INSYNC_S):
                for _ in range(round(_INSYNC_S / _POLL_S)):
                    if await asyncio.to_thread(self._status, change_id) == "INSYNC":
                        return "INSYNC"
                    await asyncio.sleep(_POLL_S)
        return "accepted, not yet INSYNC"

    def _status(self, change_id: str) -> str:
        with _answers(self._reader):
            return str(self._reader.get_change(Id=change_id)["ChangeInfo"]["Status"])

    def _send(self, batch: list[dict[str, Any]]) -> str:
        zone_id = self._zone_id
        with _answers(self._writer):
            said = self._writer.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": batch})
            return str(said["ChangeInfo"]["Id"])

    def _try_out(self, change: Change) -> str:
        """What a batch that must fail proves: AWS refuses whoever may not write before it looks at the batch."""
        nowhere = {"A": "192.0.2.255", "AAAA": "2001:db8:ffff::ffff"}.get(change.rdtype)
        if nowhere is None or change.old_values == (nowhere,):
            return f"lets {change.owner} be read (that it may be written was not tried)"
        try:
            self._send([_entry("DELETE", change, Rrset((nowhere,), change.old_ttl))])
        except _Refused as error:
            if error.code == "InvalidChangeBatch":
                return f"lets {change.owner} be changed"
            raise ChangeRefused(f"Route 53 refused the trial batch ({error.code}): {error}") from None
        except Lost as error:
            raise Unreachable(f"Route 53 did not answer the trial batch: {error}") from None
        raise ChangeRefused(f"Route 53 took the deletion of {nowhere} from {change.owner}, which is not there")

    def _read(self, owner: str, rdtype: str) -> Rrset | None:
        try:
            sets = list(self._sets(owner))
        except _Refused as error:
            raise Unreachable(f"Route 53 did not show {owner} ({error.code}): {error}") from None
        except Lost as error:
            raise Unreachable(f"Route 53 could not be asked for {owner} {rdtype}: {error}") from None
        found = [each for each in sets if each["Type"] == rdtype]
        for each in found:
            _refuse_routed(owner, rdtype, each)
        if found:
            return Rrset(tuple(str(each["Value"]) for each in found[0]["ResourceRecords"]), int(found[0]["TTL"]))
        if any(each["Type"] == "CNAME" for each in sets):
            raise ChangeConflict(f"{owner} is a CNAME at Route 53; the plan expects {rdtype} records", None)
        return None

    def _sets(self, owner: str) -> Iterator[dict[str, Any]]:
        """Every record set of the name; the listing starts there and goes on through the zone."""
        zone_id, start = self._zone_id, {"StartRecordName": f"{owner}."}
        while True:
            with _answers(self._reader):
                page = self._reader.list_resource_record_sets(HostedZoneId=zone_id, MaxItems="100", **start)
            for each in page["ResourceRecordSets"]:
                if _same(each["Name"], owner):
                    yield each
            if not page.get("IsTruncated") or not _same(page["NextRecordName"], owner):
                return
            start = {"StartRecordName": page["NextRecordName"], "StartRecordType": page["NextRecordType"]}
            if "NextRecordIdentifier" in page:
                start["StartRecordIdentifier"] = page["NextRecordIdentifier"]

    @cached_property
    def _zone_id(self) -> str:
        """The one public hosted zone of this name; raises ChangeRefused."""
        try:
            named = list(self._zones())
        except _Refused as error:
            raise Unreachable(f"Route 53 did not list its zones ({error.code}): {error}") from None
        except Lost as error:
            raise Unreachable(f"Route 53 could not be asked for its zones: {error}") from None
        public = [str(zone["Id"]) for zone in named if not zone.get("Config", {}).get("PrivateZone")]
        if len(public) == 1:
            return public[0]
        if public:
            raise ChangeRefused(
                f"the account has {len(public)} public hosted zones {self.zone} "
                f"({', '.join(plain(each, 60) for each in public)}): which one is delegated to is not known here. "
                'Delete those that are not, or use kind = "command"'
            )
        private = " (a private one there is, which the Internet does not see)" if named else ""
        raise ChangeRefused(
            f"the account has no public hosted zone {self.zone}{private}: are these the credentials of the account "
            "that keeps it? Or name the zone in the plan: zone = …"
        )

    def _zones(self) -> Iterator[dict[str, Any]]:
        """Every hosted zone of the name; the listing starts there."""
        start = {"DNSName": f"{self.zone}."}
        while True:
            with _answers(self._reader):
                page = self._reader.list_hosted_zones_by_name(MaxItems="100", **start)
            for each in page["HostedZones"]:
                if _same(each["Name"], self.zone):
                    yield each
            if not page.get("IsTruncated") or not _same(page["NextDNSName"], self.zone):
                return
            start = {"DNSName": page["NextDNSName"], "HostedZoneId": page["NextHostedZoneId"]}

    @cached_property
    def _reader(self) -> Any:
        return self._client(attempts=3)

    @cached_property
    def _writer(self) -> Any:
        return self._client(attempts=1)

    def _client(self, attempts: int) -> Any:
        try:
            from boto3.session import Session  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
        except ImportError:
            raise ChangeRefused("Route 53 needs a library: pip install 'switchover[route53]'") from None
        retries = {"mode": "standard", "total_max_attempts": attempts}
        try:
            session = Session()
            region = session.region_name or "us-east-1"  # Route 53 has none, but boto may ask
            config = Config(connect_timeout=5, read_timeout=10, retries=retries)
            return session.client("route53", region_name=region, endpoint_url=self.url, config=config)
        except (BotoCoreError, ValueError) as error:  # a profile or region that is not there
            raise ChangeRefused(f"AWS's settings cannot be used: {plain(str(error), 200)}") from None


@contextlib.contextmanager
def _answers(client: Any) -> Iterator[None]:
    """Turn boto's exceptions into ours: ChangeRefused, Unreachable (never sent), _Refused, Lost."""
    from botocore import exceptions as boto  # type: ignore[import-untyped]

    try:
        yield
    except boto.ClientError as error:
        raise _meaning(error.response) from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.SSOError):
        raise ChangeRefused(
            "no usable AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError) as error:
        raise Unreachable(
            f"Route 53 cannot be reached at {plain(client.meta.endpoint_url, 100)} ({type(error).__name__}); "
            "nothing was sent"
        ) from None
    except boto.HTTPClientError as error:
        raise Lost(f"the answer was lost ({type(error).__name__})") from None
    except boto.BotoCoreError as error:
        raise Lost(f"the answer could not be used ({type(error).__name__})") from None


def _meaning(response: dict[str, Any]) -> Exception:
    code = plain(str(response.get("Error", {}).get("Code", "")), 60)
    said = plain(str(response.get("Error", {}).get("Message", "")), 300)
    if code in _NOT_LET_IN:  # without AWS's own words: they may repeat the signed request
        return ChangeRefused(f"Route 53 refused ({code}): this key {_NOT_LET_IN[code]}. Nothing has changed")
    if response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return Lost(f"Route 53 failed ({code}: {said})")
    return _Refused(code, said)


def _refuse_routed(owner: str, rdtype: str, each: dict[str, Any]) -> None:
    """Refuse a record set that is more than values and a TTL."""
    more = sorted(set(each) - _SIMPLE)
    if not more:
        return
    if "AliasTarget" in more:
        target = plain(str(each["AliasTarget"].get("DNSName", "")), 253).rstrip(".")
        why = f"is an alias of {target}: it has no address and no TTL of its own"
    elif "SetIdentifier" in more:
        why = "is one of several that are routed by weight, place or health (it has a SetIdentifier)"
    else:
        why = f"has more than values and a TTL ({', '.join(plain(key, 40) for key in more)})"
    raise ChangeRefused(
        f"{owner} {rdtype} at Route 53 {why}; it is left alone. Make it a simple record first, or change it by hand: "
        'kind = "manual"'
    )


def _batch(change: Change) -> list[dict[str, Any]]:
    old = [_entry("DELETE", change, change.old)] if change.old is not None else []
    new = [_entry("CREATE", change, change.new)] if change.new is not None else []
    return old + new


def _entry(action: str, change: Change, rrset: Rrset) -> dict[str, Any]:
    return {
        "Action": action,
        "ResourceRecordSet": {
            "Name": f"{change.owner}.",
            "Type": change.rdtype,
            "TTL": rrset.ttl,
            "ResourceRecords": [{"Value": value} for value in rrset.values],
        },
    }


def _same(name: str, wanted: str) -> bool:
    return name.rstrip(".").lower() == wanted
