"""A model of the world's caches on a simulated clock, to which the product's rules are put.

Servers change one after another, caches fill from any of them at any moment and pass answers on to other caches.
Every cache here obeys TTLs: that is what the safe instant promises for.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from switchover.dns.message import Endpoint, Rrset, State
from switchover.dns.propagation import Observation, Proof, Track, follow, safe_instant, t0

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2026, 12, 1, tzinfo=UTC)
OLD_IP = "192.0.2.10"
PROOF = Proof(rounds=3, spread=timedelta(seconds=60))


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


@dataclass(slots=True)
class Server:
    """One authoritative address: the TTL it serves from each moment on; silent while nobody answers."""

    endpoint: Endpoint
    changes: list[tuple[float, int]]
    """(second, TTL), ascending; the first is the old TTL at the beginning of time."""
    silences: list[tuple[float, float]]

    def ttl(self, second: float) -> int:
        return next(ttl for since, ttl in reversed(self.changes) if since <= second)

    def is_silent(self, second: float) -> bool:
        return any(start <= second < end for start, end in self.silences)

    @property
    def settled(self) -> float:
        """From when on it serves what it will serve for ever."""
        return self.changes[-1][0]


@dataclass(slots=True)
class Cache:
    """An obedient cache; ``above`` is the cache it asks, or none, and then any server."""

    above: Cache | None
    rounds_up: bool
    ttl: int = 0
    """As it was got."""
    got: float = float("-inf")

    def left(self, second: float) -> float:
        return self.got + self.ttl - second

    def ask(self, second: float, server: Server) -> float:
        """The TTL it answers with, filled anew where what it held has run out."""
        if self.left(second) <= 0:
            told = self.above.ask(second, server) if self.above is not None else float(server.ttl(second))
            # Whole seconds are all that the wire carries.
            self.ttl, self.got = (int(-(-told // 1)) if self.rounds_up else int(told)), second
        return self.left(second)


@dataclass(slots=True)
class World:
    """One run: what will happen, from one seed."""

    seed: int
    dice: random.Random = field(init=False)
    old_ttl: int = field(init=False)
    new_ttl: int = field(init=False)
    servers: list[Server] = field(init=False)
    caches: list[Cache] = field(init=False)
    interval_s: float = field(init=False)
    loss: float = field(init=False)

    def __post_init__(self) -> None:
        dice = self.dice = random.Random(self.seed)
        self.new_ttl = dice.choice((1, 5, 30, 60, 300))
        self.old_ttl = self.new_ttl + dice.choice((5, 60, 300, 3600, 14400, 86400))
        self.interval_s = dice.choice((1.0, 5.0, 60.0))
        self.loss = dice.choice((0.0, 0.05, 0.15))
        self.servers = [self._server(number) for number in range(dice.randint(1, 12))]
        self.caches = []
        for _ in range(200):
            above = dice.choice(self.caches) if self.caches and dice.random() < 0.5 else None
            deep = above is not None and above.above is not None and above.above.above is not None
            above = None if deep else above
            # Two seconds are allowed for rounding: one cache of a chain that rounds up, not each of them.
            self.caches.append(Cache(above, above is None and dice.random() < 0.3))

    def _server(self, number: int) -> Server:
        dice = self.dice
        lag = dice.choice((0.0, dice.uniform(0, 2), dice.uniform(0, 60), dice.uniform(0, 7200)))
        changes = [(float("-inf"), self.old_ttl), (lag, self.new_ttl)]
        if dice.random() < 0.2:  # a server of two minds, or one restored from a backup
            fall = lag + dice.uniform(1, 600)
            changes += [(fall, self.old_ttl), (fall + dice.uniform(1, 600), self.new_ttl)]
        start = dice.uniform(0, 3600)
        silences = [(start, start + dice.uniform(1, 900))] if dice.random() < 0.3 else []
        return Server(Endpoint(f"192.0.2.{number + 1}"), changes, silences)

    @property
    def settled(self) -> float:
        """The true moment from which nobody hands out the old TTL."""
        return max(server.settled for server in self.servers)


Rule: TypeAlias = "Callable[[dict[Endpoint, Track], Proof], datetime | None]"


@dataclass(frozen=True, slots=True)
class Watched:
    """What an observer comes to: T0, and when that was known; the last first-good probe that it rests on."""

    t0: datetime | None
    known: float
    probed: dict[Endpoint, list[float]]


def observe(world: World, until: float, rule: Rule = t0) -> Watched:
    """Probe as the product's watch does, on the simulated clock; the rules are the product's."""
    dice = random.Random(world.seed + 1)
    wanted = Rrset((OLD_IP,), world.new_ttl)
    tracks: dict[Endpoint, Track] = {}
    probed: dict[Endpoint, list[float]] = {server.endpoint: [] for server in world.servers}
    second = 0.0
    while second < until:
        for server in world.servers:
            seen = second + dice.uniform(0.001, 0.2)
            state, ttl, values = State.TIMEOUT, None, ()
            if not server.is_silent(second) and dice.random() >= world.loss:
                state, ttl, values = State.OK, server.ttl(second), (OLD_IP,)
                probed[server.endpoint].append(second)
            observation = Observation(server.endpoint, at(seen), state, ttl, values)
            tracks[server.endpoint] = follow(tracks.get(server.endpoint), observation, wanted)
        found = rule(tracks, PROOF)
        if found is not None:
            return Watched(found, second, probed)
        second += world.interval_s * dice.uniform(0.8, 1.2)
    return Watched(None, second, probed)


def latest_old_answer(world: World, until: float) -> float:
    """Let every cache be asked at random moments; the last second at which one still held an old TTL.

    An answer is old where it is kept longer than anything got now would be.
    """
    dice = random.Random(world.seed + 2)
    moments = [(dice.uniform(0, until), number) for number in range(len(world.caches)) for _ in range(60)]
    # Right before each change the caches are at their worst: filled with the old TTL at the last moment.
    for server in world.servers:
        for since, _ in server.changes[1:]:
            moments += [(max(0.0, since - 0.001), number) for number in range(len(world.caches))]
    heapq.heapify(moments)
    latest = float("-inf")
    while moments:
        second, number = heapq.heappop(moments)
        serving = [server for server in world.servers if not server.is_silent(second)] or world.servers
        # The slowest server is the worst to ask.
        server = max(serving, key=lambda each: each.ttl(second)) if dice.random() < 0.7 else dice.choice(serving)
        cache = world.caches[number]
        cache.ask(second, server)
        if cache.ttl > world.new_ttl + 1:
            latest = max(latest, cache.got + cache.ttl)
    return latest


def check(world: World, rule: Rule = t0) -> str | None:
    """Why the safe instant is wrong in this world; empty when it is right, None where nobody could know."""
    until = world.settled + 3600
    watched = observe(world, until, rule)
    if watched.t0 is None:
        return "no T0 although every server has settled for an hour"
    safe = (safe_instant(watched.t0, world.old_ttl) - START).total_seconds()
    if _nobody_could_know(world, watched):
        return None
    latest = latest_old_answer(world, safe + 10)
    if latest > safe:
        return f"a cache holds the old TTL until {latest:.3f}, safe was {safe:.3f}"
    known = (watched.t0 - START).total_seconds()
    if safe > known + world.old_ttl + 2.001:
        return f"safe {safe:.3f} is later than {known:.3f} + {world.old_ttl} + 2"
    slack = max(_wait_for_good_probe(world, watched, server) for server in world.servers)
    if safe > world.settled + world.old_ttl + 2.001 + slack:
        return f"safe {safe:.3f} is later than the old expiry {world.settled + world.old_ttl:.3f} + 2 + {slack:.3f}"
    return ""


def _nobody_could_know(world: World, watched: Watched) -> bool:
    """A server falls back after the proof, when the product would withdraw it, or between two probes."""
    after = watched.known < world.settled and all(
        server.ttl(watched.known) == world.new_ttl for server in world.servers
    )
    unseen = any(
        len(server.changes) > 2
        and not any(server.changes[2][0] <= second < server.changes[3][0] for second in watched.probed[server.endpoint])
        for server in world.servers
    )
    return after or unseen


def _wait_for_good_probe(world: World, watched: Watched, server: Server) -> float:
    """How long after the last change the observer first heard this server again: what polling and loss cost."""
    first = next((second for second in watched.probed[server.endpoint] if second >= server.settled), server.settled)
    return max(0.0, first + 0.2 - world.settled)
