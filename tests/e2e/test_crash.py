"""Killed at any point and run again, a switchover ends as if nothing had happened; so does its undo."""

from __future__ import annotations

import pytest

from tests.e2e.world import State, World

NON_DEFAULT = (
    "CONNECTION LIMIT 50",
    "SET work_mem = '8MB'",
    "SET default_transaction_read_only = off",
    "SET statement_timeout = '99s'",
)

BEFORE_CUTOVER = [
    "after:kill:readiness//gates",
    "before:kill:rehearsal/dump-rehearsal/done",
    "after:kill:rehearsal/restore-rehearsal/intent",
    "before:kill:lower-ttl/set-ttl shop.test/done",
    "after:kill:window/write-notice/intent",
]
FROM_CUTOVER_ON = [
    "after:kill:cutover/fence-source/intent",
    "before:kill:cutover/fence-source/done",
    "after:kill:cutover/restore-final/intent",
    "before:kill:cutover/compare-final/done",
    "before:kill:cutover/open-target/done",
    "before:kill:cutover/set-address shop.test/done",
    "before:kill:cutover//complete",
    "after:kill:verify/soak/intent",
    "before:kill:finish/drop-scratch/done",
]
UNDONE = [
    "after:kill:cutover/maintenance-on/intent",
    "after:kill:cutover/fence-source/intent",
    "before:kill:cutover/fence-source/done",
    "before:kill:cutover/restore-final/done",
    "before:kill:cutover/open-target/done",
]


def assert_as(expected: State, found: State) -> None:
    assert expected.rows == found.rows
    assert expected.settings == found.settings
    assert expected.databases == found.databases
    assert expected.dns == found.dns
    assert found.finished


def test_an_undisturbed_switchover_moves_everything_and_leaves_nothing(world: World, undisturbed: State) -> None:
    assert undisturbed.finished
    assert undisturbed.rows["old"] == undisturbed.rows["new"]
    assert [name for name in undisturbed.databases["new"] if name.startswith("switchover")] == []
    assert undisturbed.settings["new"][0] == 42
    assert "work_mem=9MB" in str(undisturbed.settings["new"])
    assert "statement_timeout=77s" in str(undisturbed.settings["new"])
    assert "default_transaction_read_only=on" in str(undisturbed.settings["old"])


@pytest.mark.parametrize("fault", BEFORE_CUTOVER)
def test_killed_before_the_cutover_and_run_again_it_ends_the_same(world: World, undisturbed: State, fault: str) -> None:
    world.reset()
    assert world.killed("window", fault)
    ended = world.through()
    assert ended.code == 0, ended.err
    assert_as(undisturbed, world.state())


@pytest.mark.parametrize("fault", FROM_CUTOVER_ON)
def test_killed_from_the_cutover_on_and_run_again_it_ends_the_same(
    world: World, undisturbed: State, fault: str
) -> None:
    world.prepare()
    assert world.killed("finish", fault)
    ended = world.through()
    assert ended.code == 0, ended.err
    assert_as(undisturbed, world.state())


@pytest.mark.parametrize("fault", UNDONE)
def test_killed_and_rolled_back_the_source_is_exactly_as_before(world: World, fault: str) -> None:
    world.prepare(old_settings=NON_DEFAULT)
    before = world.state()
    assert world.killed("cutover", fault)
    ended = world.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    after = world.state()
    assert before.settings == after.settings
    assert before.rows == after.rows
    assert before.databases == after.databases
    assert before.dns == after.dns
    world.sql("old", "SET ROLE shop; INSERT INTO visits VALUES (now(), '/after', 1)")


@pytest.mark.parametrize(
    "fault",
    [
        "after:kill:cutover/restore-final/undo",
        "before:kill:cutover/fence-source/undone",
        "after:kill:cutover/maintenance-on/undo",
        "before:kill:cutover//undone",
    ],
)
def test_killed_while_it_undoes_and_rolled_back_again_the_source_is_exactly_as_before(world: World, fault: str) -> None:
    world.prepare(old_settings=NON_DEFAULT)
    before = world.state()
    assert world.killed("cutover", "before:kill:cutover/compare-final/done")
    assert world.command("rollback", "--yes", fault=fault).code == -9
    ended = world.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    after = world.state()
    assert (before.settings, before.rows, before.databases) == (after.settings, after.rows, after.databases)
    assert before.dns == after.dns
    assert not world.lab.maintenance.exists()
