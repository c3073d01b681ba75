"""What providers put before their name servers, and what networks do to packets."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from tests.servers.dns import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from switchover.dns.message import Endpoint


@dataclass
class Dnsdist(Server):
    """dnsdist before other servers: shares the load between them, and caches where told."""

    backends: Sequence[Endpoint]
    zone: str
    cache: bool = False
    rules: Sequence[str] = ()
    """More lines of its configuration."""

    program: ClassVar[str] = "dnsdist"
    package: ClassVar[str] = "dnsdist"

    def configure(self) -> Sequence[str]:
        lines = [
            f'setLocal("{self.endpoint.ip}:{self.endpoint.port}")',
            'setACL("127.0.0.0/8")',
            'setSecurityPollSuffix("")',
            "setServerPolicy(roundrobin)",
            *(f'newServer{{address="{each.ip}:{each.port}", healthCheckMode="up"}}' for each in self.backends),
        ]
        lines += self.rules
        if self.cache:
            lines += ["cache = newPacketCache(1000, {maxTTL=86400, minTTL=0})", 'getPool(""):setCache(cache)']
        config = self.folder / "dnsdist.conf"
        config.write_text("\n".join(lines) + "\n")
        return ["--supervised", "--disable-syslog", "-C", str(config)]

    def probe(self) -> tuple[str, bool]:
        return self.zone, False


@dataclass(slots=True)
class Line(asyncio.DatagramProtocol):
    """Carries packets to a server, slowly or not all of them."""

    server: Endpoint
    lose: float
    delay_s: float
    dice: random.Random = field(default_factory=lambda: random.Random(3))
    lost: int = 0
    transport: asyncio.DatagramTransport | None = None
    far: set[asyncio.DatagramTransport] = field(default_factory=set)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._is_lost():
            return
        loop = asyncio.get_running_loop()
        loop.call_later(self.delay_s, lambda: loop.create_task(self._forward(data, addr)))

    def _is_lost(self) -> bool:
        gone = self.dice.random() < self.lose
        self.lost += gone
        return gone

    async def _forward(self, data: bytes, back_to: tuple[str, int]) -> None:
        line = self

        class Far(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                if not line._is_lost() and line.transport is not None:
                    line.transport.sendto(data, back_to)

        there = (self.server.ip, self.server.port)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Far, remote_addr=there)
        self.far.add(transport)
        transport.sendto(data)


@asynccontextmanager
async def line(at: Endpoint, server: Endpoint, *, lose: float = 0.0, delay_s: float = 0.0) -> AsyncIterator[Line]:
    """A line to ``server`` that listens at ``at``; what it loses is the same in every run."""
    made = Line(server, lose, delay_s)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, local_addr=(at.ip, at.port))
    try:
        yield made
    finally:
        transport.close()
        for each in made.far:
            each.close()
