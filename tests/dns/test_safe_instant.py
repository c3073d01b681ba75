"""No obedient cache holds the old TTL after the safe instant, and the safe instant is no later than it must be."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from switchover.dns.propagation import Proof, Track
from tests.dns.caches import Server, World, check, observe

if TYPE_CHECKING:
    from switchover.dns.message import Endpoint


@pytest.mark.parametrize("seed", range(20))
def test_the_safe_instant_is_right(seed: int) -> None:
    assert not check(World(seed))


def first_address_rule(tracks: dict[Endpoint, Track], proof: Proof) -> datetime | None:
    """Wrong: content with the first address."""
    firsts = [track.first.at for track in tracks.values() if track.first is not None and track.proves(proof)]
    return min(firsts, default=None)


def early_rule(tracks: dict[Endpoint, Track], proof: Proof) -> datetime | None:
    """Wrong: an hour before the proof."""
    from switchover.dns.propagation import t0

    found = t0(tracks, proof)
    return found - timedelta(hours=1) if found is not None else None


def late_rule(tracks: dict[Endpoint, Track], proof: Proof) -> datetime | None:
    """Wrong: the moment of the proof, not that of the first good answer."""
    from switchover.dns.propagation import t0

    return max(track.last.at for track in tracks.values()) if t0(tracks, proof) is not None else None


@pytest.mark.parametrize("rule", [first_address_rule, early_rule, late_rule])
def test_the_oracle_notices_a_wrong_rule(rule: object) -> None:
    assert [seed for seed in range(20) if check(World(seed), rule)]  # type: ignore[arg-type]


def test_a_server_that_never_changes_gives_no_t0() -> None:
    world = World(3)
    first = world.servers[0]
    world.servers[0] = Server(first.endpoint, [(float("-inf"), world.old_ttl)], [])
    assert observe(world, 2 * 3600).t0 is None
