"""The safe instant in hundreds of simulated worlds, and with real caches in real seconds."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from switchover.dns.ask import ask
from switchover.dns.authority import find_authority
from switchover.dns.message import Endpoint, Rrset
from switchover.dns.propagation import safe_instant
from switchover.dns.providers import Change
from switchover.dns.watch import watch
from tests.dns.caches import World, check
from tests.dns.conftest import OLD, Net, net
from tests.dns.scenes import Scene
from tests.servers.dns import Unbound

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["net"]

WORLDS = 400
REAL = {f"real{number}": ttl for number, ttl in enumerate((6, 7, 8, 9, 10))}
"""Five names, each with its old TTL in seconds."""
NEW_TTL = 2


def test_in_no_simulated_world_a_cache_outlives_the_safe_instant() -> None:
    found = {seed: check(World(seed)) for seed in range(WORLDS)}
    judged = [why for why in found.values() if why is not None]
    print(f"{WORLDS} worlds, {WORLDS * 200} caches; {len(judged)} judged, the others fell back unseen")
    assert {seed: why for seed, why in found.items() if why} == {}
    assert len(judged) >= 200


async def test_with_real_caches_in_real_seconds_nothing_old_is_served_after_it(net: Net, tmp_path: Path) -> None:
    """Five names at once; three resolvers that are asked at random moments, so that they fill at random moments."""
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        lines = "".join(f"{name} {ttl} A {OLD}\n" for name, ttl in REAL.items())
        await scene.edit(("www 20 A", f"{lines}www 20 A"))
        caches = [net.resolver.endpoint]
        for ip in ("127.0.0.22", "127.0.0.23"):
            stubs = {"test.": ["127.0.0.10"], "example.test.": ["127.0.0.11", "127.0.0.12", "127.0.0.13"]}
            caches.append(scene.start(Unbound(tmp_path / ip, net.at(ip), stubs)).endpoint)
        margins = await asyncio.gather(*(one(scene, name, ttl, caches) for name, ttl in REAL.items()))
    for name, margin in zip(REAL, margins, strict=True):
        print(f"{name}: the last old answer ran out {margin.total_seconds():.2f} s before the safe instant")
    assert all(margin >= timedelta() for margin in margins)


async def one(scene: Scene, name: str, old_ttl: int, caches: list[Endpoint]) -> timedelta:
    """Lower one name's TTL while its caches are asked; how long before the safe instant the last old one ran out."""
    owner = f"{name}.example.test"
    last_old: list[datetime] = []
    asking = [asyncio.ensure_future(keep_asking(cache, owner, last_old)) for cache in caches]
    await asyncio.sleep(random.Random(name).uniform(0, 3))
    authority = await find_authority(owner, resolver=scene.net.resolver.endpoint, port=scene.net.port)
    await scene.provider.apply(Change("example.test", owner, "A", (OLD,), old_ttl, (OLD,), NEW_TTL))
    watched = await watch(authority, Rrset((OLD,), NEW_TTL), rounds=3, spread_s=1, deadline_s=30, interval_s=0.3)
    assert watched.t0 is not None
    safe = safe_instant(watched.t0, old_ttl)
    await asyncio.sleep((safe - datetime.now(UTC)).total_seconds() + 3)
    for task in asking:
        task.cancel()
    assert last_old, "no cache ever held the old TTL"
    return safe - max(last_old)


async def keep_asking(cache: Endpoint, owner: str, last_old: list[datetime]) -> None:
    """Note until when each answer with more than the new TTL left may be kept."""
    dice = random.Random(f"{cache}{owner}")
    while True:
        answer = await ask(cache, owner, "A", recursion=True)
        if answer.ttl is not None and answer.ttl > NEW_TTL:
            last_old.append(answer.at)
        await asyncio.sleep(dice.uniform(0.1, 0.6))
