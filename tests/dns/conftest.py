"""A small net of real servers: parent, primary, two secondaries of different make, a resolver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from switchover.dns.message import Endpoint
from tests.servers.dns import Key, KnotPrimary, KnotSecondary, NsdSecondary, NsdStatic, Unbound, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARENT = """\
$ORIGIN test.
$TTL 3600
@ SOA ns0 hostmaster 1 1800 900 604800 60
@ NS ns0
ns0 A 127.0.0.10
example NS ns1.example
example NS ns2.example
example NS ns3.example
ns1.example A 127.0.0.11
ns2.example A 127.0.0.12
ns3.example A 127.0.0.13
"""
ZONE = """\
$ORIGIN example.test.
$TTL 3600
@ SOA ns1 hostmaster 1 2 1 86400 30
@ NS ns1
@ NS ns2
@ NS ns3
ns1 A 127.0.0.11
ns2 A 127.0.0.12
ns3 A 127.0.0.13
@ 20 A 192.0.2.10
@ 20 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.10
@ MX 10 mail
@ TXT "v=spf1 ip4:192.0.2.10 -all"
mail A 192.0.2.10
www 20 A 192.0.2.10
six 20 A 192.0.2.10
six 20 AAAA 2001:db8::10
app 300 CNAME www
multi 20 A 192.0.2.10
multi 20 A 192.0.2.11
*.wild 20 A 192.0.2.10
"""
OLD, NEW = "192.0.2.10", "198.51.100.20"


@dataclass(slots=True)
class Net:
    """The servers and the port they share."""

    port: int
    key: Key
    parent: NsdStatic
    primary: KnotPrimary
    knot: KnotSecondary
    nsd: NsdSecondary
    resolver: Unbound

    def at(self, ip: str) -> Endpoint:
        return Endpoint(ip, self.port)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    port, key = free_port(), Key()
    zone = "example.test."
    first = Endpoint("127.0.0.11", port)
    made = Net(
        port=port,
        key=key,
        parent=NsdStatic(tmp_path / "parent", Endpoint("127.0.0.10", port), {"test.": PARENT}),
        primary=KnotPrimary(tmp_path / "primary", first, zone, ZONE, key, ("127.0.0.12", "127.0.0.13")),
        knot=KnotSecondary(tmp_path / "knot", Endpoint("127.0.0.12", port), zone, first, key),
        nsd=NsdSecondary(tmp_path / "nsd", Endpoint("127.0.0.13", port), zone, first, key),
        resolver=Unbound(
            tmp_path / "resolver",
            Endpoint("127.0.0.21", port),
            {"test.": ["127.0.0.10"], "example.test.": ["127.0.0.11", "127.0.0.12", "127.0.0.13"]},
        ),
    )
    others = (made.parent, made.knot, made.nsd, made.resolver)
    try:
        made.primary.start()
        for server in others:
            server.launch()
        for server in others:
            server.await_ready()
        yield made
    finally:
        made.primary.stop()
        for server in others:
            server.stop()
