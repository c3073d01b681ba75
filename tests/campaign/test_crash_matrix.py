"""Every journal entry of a switchover, before it and after it: killed there and run again, or rolled back.

pytest -o addopts= -s tests/campaign
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from switchover.demo.lab import Lab
from switchover.plan.outline import OPEN_TARGET
from tests.e2e.test_crash import NON_DEFAULT, assert_as
from tests.e2e.world import State, World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab() as lab:
        world = World(lab)
        world.shrink()
        yield world


def open_window(world: World) -> None:
    """Wait until the prepared plan's window is open, so that one run goes all the way."""
    from switchover.plan.file import load

    window = load(world.plan).spec.window
    assert window is not None
    time.sleep(max(0.0, (window.opens - datetime.now(UTC)).total_seconds() + 0.1))


def appended(world: World, step: str) -> tuple[int, int, int, State]:
    """Entries of one undisturbed run through ``step``: how many, which is the target's opening, and the end."""
    before = len(world.entries())
    ended = world.through(step)
    assert ended.code == 0, ended.err
    entries = world.entries()[before:]
    opening = next(
        (number for number, entry in enumerate(entries, 1) if entry.action == OPEN_TARGET and entry.what == "done"), 0
    )
    return len(entries), opening, before, world.state()


def test_killed_around_every_entry_from_the_cutover_on(world: World) -> None:
    world.prepare()
    open_window(world)
    count, _, _, expected = appended(world, "finish")
    for number in range(1, count + 1):
        for when in ("before", "after"):
            world.prepare()
            open_window(world)
            killed = world.killed("finish", f"{when}:kill:{number}")
            ended = world.through()
            print(f"cutover {when} {number} of {count}: killed {killed}, exit {ended.code}", flush=True)
            assert ended.code == 0, ended.err
            assert_as(expected, world.state())


def test_killed_around_every_entry_and_rolled_back(world: World) -> None:
    world.prepare()
    open_window(world)
    _, opening, _, _ = appended(world, "cutover")
    for number in range(1, opening + 1):
        for when in ("before", "after"):
            world.prepare(old_settings=NON_DEFAULT)
            open_window(world)
            before = world.state()
            world.killed("cutover", f"{when}:kill:{number}")
            ended = world.command("rollback", "--yes")
            after = world.state()
            print(f"undo {when} {number} of {opening}: exit {ended.code}", flush=True)
            assert ended.code == 0, ended.err
            assert before.settings == after.settings
            assert before.rows == after.rows
            assert before.databases == after.databases
            assert before.dns == after.dns


def test_killed_around_every_entry_before_the_cutover(world: World) -> None:
    world.reset()
    count, _, _, _ = appended(world, "window")
    expected = None
    for number in range(1, count + 1):
        for when in ("before", "after"):
            world.reset()
            world.killed("window", f"{when}:kill:{number}")
            ended = world.through("window")
            print(f"preparation {when} {number} of {count}: exit {ended.code}", flush=True)
            assert ended.code == 0, ended.err
            found = world.state()
            expected = expected or found
            assert (expected.rows, expected.settings, expected.databases) == (
                found.rows,
                found.settings,
                found.databases,
            )
            assert expected.dns == found.dns


@pytest.fixture(autouse=True)
def _said() -> None:
    """Long campaigns say how far they are."""
    print(f"\n{datetime.now(UTC):%H:%M:%S}Z", flush=True)
