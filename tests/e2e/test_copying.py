"""How the rows move, and what the preflight says: through whole switchovers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from tests.e2e.breaking import SLOW, assert_as_before, assert_goes_through, broken, cut, reasons
from tests.e2e.world import State, World


@pytest.fixture
def streaming(world: World) -> Iterator[World]:
    """The plans of this test stream."""
    world.copy = "stream"
    yield world
    world.copy = "dump"


@pytest.fixture
def free(world: World) -> Iterator[World]:
    """The plans of this test leave open how to copy."""
    world.copy = None
    yield world
    world.copy = "dump"


@pytest.fixture(scope="session")
def undisturbed(world: World) -> State:
    """How a switchover by streaming ends that nothing has disturbed."""
    world.copy = "stream"
    world.prepare()
    ended = world.through()
    world.copy = "dump"
    assert ended.code == 0, ended.err
    return world.state()


def facts(world: World, step: StepName) -> dict[str, Any]:
    return dict(step_of(world.progress(), step).facts)


def actions(world: World, step: StepName) -> set[str]:
    return {action.id for action in step_of(world.progress(), step).actions}


def test_a_stream_moves_everything_and_leaves_no_file(undisturbed: State, world: World) -> None:
    assert undisturbed.finished
    assert undisturbed.rows["old"] == undisturbed.rows["new"]
    assert [name for name in undisturbed.databases["new"] if name.startswith("switchover")] == []
    assert undisturbed.settings["new"][0] == 42


def test_left_open_both_ways_are_rehearsed_and_the_faster_one_is_taken(free: World) -> None:
    free.prepare()
    rehearsed = facts(free, StepName.REHEARSAL)
    took = {way: sum(seconds.values()) for way, seconds in rehearsed["ways"].items()}
    assert took.keys() == {"dump", "stream"}
    assert rehearsed["way"] == min(took, key=lambda way: took[way])
    ended = free.through()
    assert ended.code == 0, ended.err
    used = {"stream": {"stream-final"}, "dump": {"dump-final", "restore-final"}}[rehearsed["way"]]
    assert {each for each in actions(free, StepName.CUTOVER) if each.endswith("-final")} == used | {"compare-final"}
    report = json.loads(free.command("report", "--format", "json").out)
    low, high = report["forecast_s"]
    assert 0 < low < high


def test_killed_while_it_rehearses_and_run_again_it_ends_the_same(streaming: World, undisturbed: State) -> None:
    streaming.reset()
    assert streaming.killed("window", "after:kill:rehearsal/stream-rehearsal/intent")
    ended = streaming.through()
    assert ended.code == 0, ended.err
    assert streaming.state() == undisturbed


@pytest.mark.parametrize("fault", ["after:kill:cutover/stream-final/intent", "before:kill:cutover/stream-final/done"])
def test_killed_in_the_cutover_and_run_again_it_ends_the_same(streaming: World, undisturbed: State, fault: str) -> None:
    streaming.prepare()
    assert streaming.killed("finish", fault)
    ended = streaming.through()
    assert ended.code == 0, ended.err
    assert streaming.state() == undisturbed


def test_killed_and_undone_the_target_is_as_before(streaming: World) -> None:
    streaming.prepare()
    before = streaming.state()
    assert streaming.killed("finish", "before:kill:cutover/stream-final/done")
    ended = streaming.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    after = streaming.state()
    assert (after.databases, after.settings, after.dns) == (before.databases, before.settings, before.dns)


BREAKS: dict[str, tuple[Callable[[World], AbstractContextManager[None]], int, str]] = {
    "the source is lost": (lambda world: world.away("old"), 4, "pg_dump"),
    "the source's sessions end": (lambda world: cut(world, "old"), 1, "pg_dump"),
    "the target is lost": (lambda world: world.away("new"), 1, "pg_restore"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_broken_in_the_midst_of_a_stream_it_is_undone_and_goes_through_later(
    streaming: World, undisturbed: State, what: str
) -> None:
    """A source that is away cannot be put back: that is done once it is there again."""
    breaks, code, program = BREAKS[what]
    streaming.prepare()
    streaming.sql("old", SLOW)
    before = streaming.state()
    ended = broken(streaming, breaks(streaming))
    assert ended.code == code, ended.err
    found = reasons(streaming)
    assert re.search(f"small tables: {program} ended with 1: .*(closed|terminat)", found), found
    if code == 4:
        back = streaming.command("rollback", "--yes")
        assert back.code == 0, back.err
    assert_as_before(streaming, before)
    assert_goes_through(streaming, undisturbed)


def test_a_role_that_the_target_lacks_is_made_also_after_a_kill(streaming: World) -> None:
    streaming.reset()
    streaming.sql("old", "CREATE ROLE reporting LOGIN PASSWORD 'seen only here'")
    streaming.sql("old", "GRANT SELECT ON orders TO reporting")
    try:
        assert streaming.killed("window", "before:kill:rehearsal/copy-globals/done")
        ended = streaming.through()
        assert ended.code == 0, ended.err
        assert streaming.sql("new", "SELECT has_table_privilege('reporting', 'orders', 'SELECT')") == [(True,)]
        hashes = [
            streaming.sql(side, "SELECT rolpassword FROM pg_authid WHERE rolname = 'reporting'")
            for side in ("old", "new")
        ]
        assert hashes[0] == hashes[1]
        assert "SCRAM-SHA" not in streaming.plan.read_text()
        assert "reporting" in streaming.command("report").out
    finally:
        for side in ("old", "new"):
            streaming.sql(side, "SET TRANSACTION READ WRITE; DROP OWNED BY reporting; DROP ROLE reporting")


def test_what_has_changed_since_the_rehearsal_is_said_at_the_cutover(streaming: World) -> None:
    streaming.prepare()
    streaming.sql("old", "ALTER TABLE customers ADD COLUMN note text; CREATE SEQUENCE late AS smallint")
    streaming.sql("old", "SELECT setval('late', 32000)")
    ended = streaming.through()
    assert ended.code == 0, ended.err
    found = {each["id"]: each["evidence"] for each in facts(streaming, StepName.CUTOVER)["preflight"]}
    assert "column public.customers.note" in found["schema-changed"]
    assert "new sequences-near-end" in streaming.plan.read_text()
    remarks = json.loads(streaming.command("report", "--format", "json").out)["remarks"]
    assert {"schema-changed", "sequences-near-end"} <= {each["id"] for each in remarks}


def test_what_blocks_stops_the_cutover_before_it_touches_anything(streaming: World) -> None:
    streaming.prepare()
    text = streaming.plan.read_text()
    accept = '[database.accept]\ninvalid-indexes = "it is known and will be gone"\n\n[dns]'
    streaming.plan.write_text(text.replace("[dns]", accept, 1))
    streaming.sql("old", "CREATE INDEX broken ON visits (ms)")
    streaming.sql("old", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass")
    before = streaming.state()
    ended = streaming.through()
    assert ended.code == 1
    assert "invalid-indexes: indexes of the source are not valid: public.broken" in ended.err
    assert "what blocks cannot be accepted: invalid-indexes" in ended.err
    assert streaming.state() == before
    said = streaming.command("check")
    assert "do:  REINDEX INDEX CONCURRENTLY public.broken" in said.out
    assert "why: pg_dump leaves them out" in said.out
    streaming.sql("old", "REINDEX INDEX public.broken")
    ended = streaming.through()
    assert ended.code == 0, ended.err


def test_an_accepted_warning_is_repeated_with_its_reason_in_the_report(streaming: World) -> None:
    streaming.reset()
    reason = "the lab is thrown away tonight"
    text = streaming.plan.read_text()
    streaming.plan.write_text(text.replace("[dns]", f'[database.accept]\ntarget-unsafe = "{reason}"\n\n[dns]', 1))
    streaming.sql("new", "ALTER SYSTEM SET full_page_writes = off", "postgres")
    streaming.sql("new", "SELECT pg_reload_conf()", "postgres")
    try:
        assert streaming.through("rehearsal").code == 0
    finally:
        streaming.sql("new", "ALTER SYSTEM RESET full_page_writes", "postgres")
        streaming.sql("new", "SELECT pg_reload_conf()", "postgres")
    said = streaming.command("report").out
    assert f"preflight target-unsafe accepted: {reason}" in said
    found = json.loads(streaming.command("check", "--json").out)["findings"]
    assert {"id", "severity", "evidence", "fix", "why"} == set(found[0])
