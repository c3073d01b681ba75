"""More places to be killed at with a live copy than every run of the tests has time for.

pytest -o addopts= -s tests/campaign/test_replicate_kills.py
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switchover.demo.lab import Lab
from tests.e2e import test_replicate_kills as kills
from tests.e2e.world import State, World

MADE = [
    "after:kill:replicate/publish/intent",
    "before:kill:replicate/stream-live/done",
    "before:kill:replicate/compare-live/done",
    "before:kill:replicate//complete",
]
MOVED = [
    "after:kill:cutover/fence-source/intent",
    "before:kill:cutover/sequences/done",
    "before:kill:cutover/set-address shop.test/done",
    "after:kill:cutover/follow-back/intent",
]
UNDONE = [
    "before:kill:cutover/fence-source/done",
    "before:kill:cutover/drain/done",
]
BACK = [
    "before:kill:rollback/fence-target/done",
    "before:kill:rollback/open-source/done",
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab() as lab:
        world = World(lab)
        world.shrink()
        world.copy, world.method = "stream", "replicate"
        yield world


@pytest.fixture(scope="module")
def undisturbed(world: World) -> State:
    world.prepare()
    ended = world.through()
    assert ended.code == 0, ended.err
    return world.state()


@pytest.mark.parametrize("fault", MADE)
def test_made(world: World, undisturbed: State, fault: str) -> None:
    kills.test_killed_while_it_is_made_and_run_again_it_ends_the_same(world, undisturbed, fault)


@pytest.mark.parametrize("fault", MOVED)
def test_moved(world: World, undisturbed: State, fault: str) -> None:
    kills.test_killed_from_the_cutover_on_and_run_again_it_ends_the_same(world, undisturbed, fault)


@pytest.mark.parametrize("fault", UNDONE)
def test_undone(world: World, fault: str) -> None:
    kills.test_killed_and_undone_the_old_host_is_as_before_and_the_copy_follows(world, fault)


@pytest.mark.parametrize("fault", BACK)
def test_back(world: World, fault: str) -> None:
    kills.test_killed_on_the_way_back_and_run_again_every_row_comes_along(world, fault)
