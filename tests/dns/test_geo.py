"""Steering by place: one name, many answers, from a PowerDNS that computes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.dns.authority import find_authority
from switchover.dns.geo import depends_on_place
from tests.dns.conftest import ZONE
from tests.servers.powerdns import PowerDnsPrimary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.dns.conftest import Net

STEERED = """;if netmask({'193.0.0.0/8'}) then return '192.0.2.10' else return '192.0.2.11' end"""


class Steering(PowerDnsPrimary):
    """Computes answers from the asker's network."""

    def configure(self) -> Sequence[str]:
        arguments = super().configure()
        with (self.folder / "pdns.conf").open("a") as config:
            config.write("enable-lua-records=yes\nedns-subnet-processing=yes\n")
        return arguments


async def test_an_answer_that_depends_on_the_place_is_found(net: Net, tmp_path: Path) -> None:
    net.primary.stop()
    text = ZONE.replace("www 20 A 192.0.2.10", f'www 20 IN LUA A "{STEERED}"')
    with Steering(tmp_path / "pdns", net.primary.endpoint, "example.test.", text, net.port + 1):
        authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
        (found,) = await depends_on_place(authority)
    assert (found.id, found.severity) == ("geo", "error")
    assert "Europe: 192.0.2.10; Asia: 192.0.2.11" in found.evidence


async def test_a_server_that_knows_no_places_says_the_same_to_all(net: Net) -> None:
    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    assert await depends_on_place(authority) == ()
