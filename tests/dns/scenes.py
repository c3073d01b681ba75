"""The small net of real servers, brought into the states that are met in the wild."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from switchover.dns.ask import ask
from switchover.dns.keys import read_key
from switchover.dns.leftovers import Move
from switchover.dns.message import Endpoint, Rrset, State
from switchover.dns.providers import Change, ProviderError
from switchover.dns.providers.rfc2136 import Rfc2136
from switchover.dns.resolvers import PublicResolver
from switchover.dns.survey import Survey, Surveyor, Wanted
from switchover.dns.watch import WatchResult, watch
from tests.dns.conftest import NEW, OLD, PARENT, ZONE
from tests.servers.dns import NsdStatic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.dns.conftest import Net
    from tests.servers.dns import Server

LOW = 2
"""The low TTL of every scene."""


@dataclass(slots=True)
class Scene:
    """A scene's hold on its servers, and what it is about."""

    net: Net
    folder: Path
    stack: AsyncExitStack
    name: str = "www.example.test"
    move: Move = field(default_factory=lambda: Move((), OLD, NEW))
    accept: tuple[str, ...] = ()
    resolvers: tuple[PublicResolver, ...] = ()
    lower: Callable[[Scene], Awaitable[None]] | None = None
    """How the TTL is lowered; by a signed update of the primary where nothing else is said."""
    owner: str = ""
    zone: str = "example.test"
    server: Endpoint | None = None

    def at(self, ip: str) -> Endpoint:
        return self.net.at(ip)

    def start(self, server: Server) -> Server:
        """Start one more server, or one in another's place; it ends with the scene."""
        return self.stack.enter_context(server)

    def parent(self, *swap: tuple[str, str]) -> None:
        """Let the parent say something else."""
        self.net.parent.stop()
        text = PARENT
        for old, new in swap:
            assert old in text, old
            text = text.replace(old, new)
        self.net.parent.zones = {"test.": text}
        self.net.parent.start()

    def stub(self, zone: str, ip: str) -> None:
        """Let the resolver know where a zone lives: a referral names no port."""
        self.net.resolver.stop()
        self.net.resolver.stubs = {**self.net.resolver.stubs, zone: [ip]}
        self.net.resolver.start()

    async def edit(self, *swap: tuple[str, str]) -> None:
        """Let the zone say something else, and wait until every secondary has it."""
        text = ZONE.replace("hostmaster 1 ", "hostmaster 9 ")
        for old, new in swap:
            assert old in text, old
            text = text.replace(old, new)
        self.net.primary.stop()
        self.net.primary.text = text
        (self.net.primary.folder / "db").rename(self.folder / f"db-{time.monotonic_ns()}")
        self.net.primary.start()
        await self.until_serial(9)

    async def until_serial(self, serial: int, ips: Sequence[str] = ("127.0.0.11", "127.0.0.12", "127.0.0.13")) -> None:
        """Wait until these addresses have the zone."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            answers = await asyncio.gather(*(ask(self.at(ip), "example.test", "SOA") for ip in ips))
            if {answer.serial for answer in answers} == {serial}:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"no transfer of serial {serial}: {[str(answer) for answer in answers]}")

    def stuck(self, ip: str, *swap: tuple[str, str]) -> NsdStatic:
        """A server at the address that nobody updates, with the zone as it was, or otherwise wrong."""
        text = ZONE
        for old, new in swap:
            assert old in text, old
            text = text.replace(old, new)
        return NsdStatic(self.folder / f"stuck-{ip}", self.at(ip), {"example.test.": text})

    @property
    def provider(self) -> Rfc2136:
        path = self.folder / "scene.key"
        key = read_key(path if path.exists() else self.net.key.write(path))
        server = self.server or self.net.primary.endpoint
        return Rfc2136(server=str(server), zone=self.zone, key=key, port=self.net.port, timeout_s=8)

    async def swap(self, old: tuple[str, ...], new: tuple[str, ...], old_ttl: int = 20, ttl: int = LOW) -> None:
        """Change the record by a signed update."""
        owner = self.owner or self.name
        await self.provider.apply(Change(self.zone, owner, "A", old, old_ttl, new, ttl))


@dataclass(slots=True)
class Outcome:
    """What a scene came to."""

    survey: Survey
    refused: str
    watched: WatchResult

    @property
    def troubles(self) -> dict[str, str]:
        """Every finding that is no mere information: its name and severity."""
        return {each.name: each.severity for each in self.survey.findings if each.severity != "info"}

    @property
    def missing(self) -> str:
        """Who lacks the proof, and why."""
        return "; ".join(f"{each.endpoint.ip} {each.reason}" for each in self.watched.missing)


async def play(scene: Scene, *, deadline_s: float = 6.0) -> Outcome:
    """Survey the name, lower its TTL, and watch for the proof: what an operator goes through."""
    move = replace(scene.move, names=(scene.name,))
    resolvers = scene.resolvers or (PublicResolver("lab", (scene.net.resolver.endpoint,)),)
    surveyor = Surveyor(
        scene.name,
        resolver=scene.net.resolver.endpoint,
        port=scene.net.port,
        resolvers=resolvers,
        wanted=Wanted(move, LOW, accept=scene.accept),
    )
    survey = await surveyor.look()
    refused = ""
    try:
        if scene.lower is not None:
            await scene.lower(scene)
        else:
            await scene.swap((scene.move.old,), (scene.move.old,))
    except ProviderError as error:
        refused = f"{type(error).__name__}: {error}"
    wanted = Rrset((scene.move.old,), LOW)
    watched = await watch(survey.authority, wanted, rounds=2, spread_s=0.3, deadline_s=deadline_s, interval_s=0.25)
    return Outcome(survey, refused, watched)


async def warm(endpoint: Endpoint, *names: str) -> None:
    """Let a resolver fill its cache."""
    for name in names:
        assert (await ask(endpoint, name, "A", recursion=True)).state is State.OK
