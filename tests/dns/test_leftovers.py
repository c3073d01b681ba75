"""What a change of the A record would leave behind, on a real zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from switchover.dns.authority import find_authority
from switchover.dns.leftovers import leftovers
from tests.dns.conftest import NEW, OLD

if TYPE_CHECKING:
    from tests.dns.conftest import Net


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("www.example.test", {}),
        ("six.example.test", {"aaaa": "error"}),
        ("app.example.test", {"cname": "info"}),
        ("multi.example.test", {"several-a": "warn"}),
        ("example.test", {"svcb-hint": "error"}),
        ("a.wild.example.test", {"wildcard": "warn"}),
    ],
)
async def test_each_record_that_leads_to_the_old_host_is_found(net: Net, name: str, expected: dict[str, str]) -> None:
    authority = await find_authority(name, resolver=net.resolver.endpoint, port=net.port)
    found = await leftovers(authority, name, OLD, NEW)
    assert {**expected, "mx": "info", "spf": "info"} == {finding.id: finding.severity for finding in found}
    assert all(finding.evidence and finding.fix for finding in found)


async def test_when_nobody_answers_that_is_a_finding_and_not_silence(net: Net) -> None:
    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    for server in (net.primary, net.knot, net.nsd):
        server.stop()
    assert [finding.id for finding in await leftovers(authority, "www.example.test", OLD, NEW)] == ["not-looked"]
