"""What a change of the A record would leave behind, on a real zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from switchover.dns.authority import find_authority
from switchover.dns.leftovers import Move, leftovers
from switchover.dns.unmoved import unmoved
from tests.dns.conftest import NEW, OLD, PARENT
from tests.servers.dns import NsdStatic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.dns.conftest import Net


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("www.example.test", {"moves-along app.example.test": "info", "stays example.test": "warn"}),
        ("six.example.test", {"aaaa": "error", "stays example.test": "info", "stays www.example.test": "info"}),
        ("app.example.test", {"cname": "info", "stays example.test": "warn"}),
        ("multi.example.test", {"several-a": "error", "stays example.test": "info", "stays www.example.test": "info"}),
        ("example.test", {"svcb-hint": "error", "stays www.example.test": "warn"}),
        ("a.wild.example.test", {"wildcard": "warn", "stays example.test": "info", "stays www.example.test": "info"}),
    ],
)
async def test_each_record_that_leads_to_the_old_host_is_found(net: Net, name: str, expected: dict[str, str]) -> None:
    authority = await find_authority(name, resolver=net.resolver.endpoint, port=net.port)
    found = await leftovers(authority, Move((name,), OLD, NEW))
    always = {"mx mail.example.test": "info", "spf": "info"}
    assert {**expected, **always} == {finding.name: finding.severity for finding in found}
    assert all(finding.evidence and finding.fix for finding in found)


class Giveaway(NsdStatic):
    """Gives its zone to anyone."""

    def configure(self) -> Sequence[str]:
        arguments = super().configure()
        with (self.folder / "nsd.conf").open("a") as config:
            config.write("\tprovide-xfr: 0.0.0.0/0 NOKEY\n")
        return arguments


async def test_a_zone_given_to_anyone_is_read_whole(net: Net) -> None:
    """A name that nobody would guess is found."""
    net.parent.stop()
    zone = PARENT.replace("@ NS ns0", "@ NS ns0\nwinter-sale A 192.0.2.10\nshop A 192.0.2.10")
    with Giveaway(net.parent.folder, net.parent.endpoint, {"test.": zone}):
        authority = await find_authority("shop.test", resolver=net.resolver.endpoint, port=net.port)
        found = await unmoved(authority, net.parent.endpoint, ["shop.test"], OLD)
    assert [finding.name for finding in found] == ["stays winter-sale.test"]


async def test_when_nobody_answers_that_is_a_finding_and_not_silence(net: Net) -> None:
    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    for server in (net.primary, net.knot, net.nsd):
        server.stop()
    assert [finding.id for finding in await leftovers(authority, Move(("www.example.test",), OLD, NEW))] == [
        "not-looked"
    ]
