"""Whole switchovers with a live copy: there, there and back, killed, out of time, changed, given up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from switchover.demo import texts
from switchover.plan.decide import step_of, way_back
from switchover.plan.outline import StepName
from switchover.plan.progress import Passed
from tests.e2e.test_crash import NON_DEFAULT
from tests.e2e.world import State, World

LEFT = (
    "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication "
    "UNION ALL SELECT subname FROM pg_subscription UNION ALL SELECT roname FROM pg_replication_origin "
    "UNION ALL SELECT 'identity of ' || relname FROM pg_class WHERE relkind = 'r' AND relreplident = 'f' "
    "UNION ALL SELECT 'markers' FROM pg_class WHERE relname = 'marker'"
)


@pytest.fixture
def live(world: World) -> Iterator[World]:
    """The plans of this test replicate, and copy by streaming."""
    world.copy, world.method = "stream", "replicate"
    yield world
    world.copy, world.method, world.replicate = "dump", "dump", ""


@pytest.fixture(scope="session")
def undisturbed(world: World) -> State:
    """How a switchover with a live copy ends that nothing has disturbed."""
    world.copy, world.method = "stream", "replicate"
    world.prepare()
    ended = world.through()
    state = world.state()
    world.copy, world.method = "dump", "dump"
    assert ended.code == 0, ended.err
    return state


def write(world: World, which: str, first: int) -> None:
    """Rows of every kind on one side, as its application would write them: with and without a key, and sequences."""
    world.sql(
        which,
        "SET ROLE shop; "
        f"INSERT INTO customers (name, email) SELECT 'n' || n, 'e{first}-' || n || '@shop.test' "
        "FROM generate_series(1, 20) n; "
        f"INSERT INTO orders (token, customer, sku) SELECT 't{first}-' || n, n, 'SKU-' || n "
        "FROM generate_series(1, 20) n; "
        f"INSERT INTO visits SELECT now(), '/{first}', n FROM generate_series(1, 20) n; "
        "UPDATE visits SET ms = ms + 1 WHERE ms < 5; DELETE FROM visits WHERE ms = 7; "
        "UPDATE products SET stock = stock + 1; DELETE FROM orders WHERE id % 17 = 3",
    )


def left(world: World, which: str) -> list[tuple[object, ...]]:
    return world.sql(which, LEFT)


def pauses(world: World) -> list[dict[str, Any]]:
    said: dict[str, Any] = json.loads(world.command("report", "--format", "json").out)
    return list(said["pauses"])


def facts(world: World, step: StepName, action: str) -> dict[str, Any]:
    found = next(each for each in step_of(world.progress(), step).actions if each.id == action)
    return {**found.result, **found.proof}


def test_a_live_copy_moves_everything_and_leaves_nothing(undisturbed: State, world: World) -> None:
    assert undisturbed.finished
    assert undisturbed.rows["old"] == undisturbed.rows["new"]
    assert [name for name in undisturbed.databases["new"] if name.startswith("switchover")] == []
    assert undisturbed.settings["new"][0] == 42
    assert left(world, "old") == left(world, "new") == []
    (pause,) = pauses(world)
    assert pause["undone"] == ""
    assert pause["paused_s"] < 5
    assert pause["reached_s"] > pause["paused_s"]
    assert f"**{pause['paused_s']:.2f} s**" in world.command("report").out


def test_there_and_back_twice_every_row_is_on_both_sides(live: World) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    for round in (1, 2):
        write(live, "old", 1000 * round)
        ended = live.through("verify")
        assert ended.code == 0, ended.err
        assert way_back(live.progress()).kind == "rollback"
        write(live, "new", 1000 * round + 500)
        written = live.rows("new")
        ended = live.command("rollback", "--yes")
        assert ended.code == 0, ended.err
        progress = live.progress()
        assert progress.rolled_back
        assert progress.passed is Passed.NOT
        after = live.state()
        assert after.rows["old"] == written
        assert after.settings == before.settings
        assert {address for _, address, _ in after.dns} == {texts.OLD}
        live.point(texts.OLD, 1)
    live.sql("old", "SET ROLE shop; INSERT INTO visits VALUES (now(), '/old-again', 1)")
    assert len(pauses(live)) == 4
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert left(live, "old") == left(live, "new") == []
    assert not [name for name in live.databases("new") if name.startswith("switchover_")]
