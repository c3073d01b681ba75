"""One lab for the whole session of end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchover.demo.lab import Lab
from tests.e2e.world import State, World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with Lab() as lab:
        world = World(lab)
        world.shrink()
        yield world


@pytest.fixture(scope="session")
def undisturbed(world: World) -> State:
    """How a switchover ends that nothing has disturbed."""
    world.prepare()
    ended = world.through()
    assert ended.code == 0, ended.err
    return world.state()


@pytest.fixture
def live(world: World) -> Iterator[World]:
    """The plans of this test replicate, and copy by streaming."""
    world.copy, world.method = "stream", "replicate"
    yield world
    world.copy, world.method, world.replicate = "dump", "dump", ""
