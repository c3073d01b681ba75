"""Whole switchovers with a live copy: there, there and back, killed, out of time, changed, given up."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from switchover.demo import texts
from switchover.demo.account import account
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


def assert_as(expected: State, found: State) -> None:
    assert expected.rows == found.rows
    assert expected.settings == found.settings
    assert expected.databases == found.databases
    assert expected.dns == found.dns
    assert found.finished


@pytest.mark.parametrize(
    "fault",
    [
        "after:kill:replicate/publish/intent",
        "before:kill:replicate/make-slot/done",
        "before:kill:replicate/stream-live/done",
        "before:kill:replicate/compare-live/done",
        "before:kill:replicate/subscribe/done",
        "before:kill:replicate/follow/done",
        "before:kill:replicate//complete",
    ],
)
def test_killed_while_it_is_made_and_run_again_it_ends_the_same(live: World, undisturbed: State, fault: str) -> None:
    live.reset()
    assert live.killed("replicate", fault)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert_as(undisturbed, live.state())
    assert left(live, "old") == left(live, "new") == []


@pytest.mark.parametrize(
    "fault",
    [
        "after:kill:cutover/fence-source/intent",
        "before:kill:cutover/drain/done",
        "before:kill:cutover/sequences/done",
        "before:kill:cutover/prepare-back/done",
        "before:kill:cutover/open-target/done",
        "before:kill:cutover/set-address shop.test/done",
        "after:kill:cutover/follow-back/intent",
        "before:kill:cutover/follow-back/done",
        "before:kill:finish/end-links/done",
    ],
)
def test_killed_from_the_cutover_on_and_run_again_it_ends_the_same(
    live: World, undisturbed: State, fault: str
) -> None:
    live.prepare()
    assert live.killed("finish", fault)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert_as(undisturbed, live.state())
    assert left(live, "old") == left(live, "new") == []


@pytest.mark.parametrize(
    "fault",
    [
        "before:kill:cutover/fence-source/done",
        "before:kill:cutover/drain/done",
        "before:kill:cutover/prepare-back/done",
        "after:kill:cutover/open-target/intent",
    ],
)
def test_killed_and_undone_the_old_host_is_as_before_and_the_copy_follows(live: World, fault: str) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    assert live.killed("cutover", fault)
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    after = live.state()
    assert (after.settings, after.rows["old"], after.dns) == (before.settings, before.rows["old"], before.dns)
    write(live, "old", 1)
    ended = live.through()
    assert ended.code == 0, ended.err
    state = live.state()
    assert state.rows["old"] == state.rows["new"]
    assert left(live, "old") == left(live, "new") == []


@pytest.mark.parametrize(
    "fault",
    [
        "before:kill:rollback/fence-target/done",
        "before:kill:rollback/prepare-ahead/done",
        "before:kill:rollback/names-back/done",
        "before:kill:rollback/open-source/done",
        "before:kill:rollback/follow-ahead/done",
    ],
)
def test_killed_on_the_way_back_and_run_again_every_row_comes_along(live: World, fault: str) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    assert live.through("cutover").code == 0
    write(live, "new", 500)
    written = live.rows("new")
    assert live.command("rollback", "--yes", fault=fault).code == -9
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    after = live.state()
    assert after.rows["old"] == written
    assert after.settings == before.settings
    live.point(texts.OLD, 1)
    write(live, "old", 600)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    assert left(live, "old") == left(live, "new") == []


def test_when_the_budget_is_used_up_it_undoes_itself_and_is_tried_again(live: World) -> None:
    live.replicate = 'budget = "5s"\ncompare = "1s"\n'
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    stall = live.lab.folder / "stall.py"
    pid = live.sql("old", "SELECT active_pid FROM pg_replication_slots WHERE active")[0][0]
    stall.write_text(f"import os, signal; os.kill({pid}, signal.SIGSTOP)")
    try:
        ended = live.through("cutover", fault=f"before:{stall}:cutover/fence-source/done")
    finally:
        os.kill(int(str(pid)), signal.SIGCONT)
    assert ended.code == 1
    assert "not drained within" in ended.err
    assert f"walsender pid {pid}" in ended.err
    after = live.state()
    assert (after.settings, after.rows["old"], after.dns) == (before.settings, before.rows["old"], before.dns)
    assert live.progress().passed is Passed.NOT
    write(live, "old", 1)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    first, second = pauses(live)
    assert 3 < first["paused_s"] < 9
    assert "not drained within" in first["undone"]
    assert (second["attempt"], second["undone"]) == (2, "")
    assert left(live, "old") == left(live, "new") == []


def test_a_change_of_the_schema_after_the_copy_is_refused_by_name(live: World) -> None:
    live.prepare()
    before = live.state()
    live.sql("old", "SET ROLE shop; CREATE INDEX late ON visits (ms)")
    ended = live.through("cutover")
    assert ended.code == 1
    assert "copy-differs" in ended.err
    assert "public.late" in ended.err
    live.sql("old", "DROP INDEX late; ALTER TABLE products ADD COLUMN colour text; CREATE TABLE newcomer (n int)")
    ended = live.through("cutover")
    assert ended.code == 1
    assert "table public.newcomer is new" in ended.err
    assert "table public.products is now" in ended.err
    after = live.state()
    assert (after.settings, after.dns) == (before.settings, before.dns)
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    assert live.sql("new", "SELECT count(*) FROM newcomer") == [(0,)]


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_live_copy_that_is_given_up_leaves_nothing_also_when_a_server_is_away(live: World, side: str) -> None:
    live.prepare()
    before = left(live, "old")
    assert before != []
    with live.away(side):
        ended = live.command("rollback", "--yes")
        assert ended.code == 4, ended.err
        assert "still there" in ended.err
        if side == "new":  # a slot that nobody reads would fill the disk
            assert left(live, "old") == []
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert left(live, "old") == left(live, "new") == []
    assert not [name for name in live.databases("new") if name.startswith("switchover_")]


def test_it_goes_on_after_either_server_was_restarted(live: World) -> None:
    live.prepare()
    for side in ("old", "new"):
        with live.away(side):
            pass
        write(live, "old", {"old": 1, "new": 1000}[side])
    ended = live.through("verify")
    assert ended.code == 0, ended.err
    for side in ("old", "new"):
        with live.away(side):
            pass
        write(live, "new", {"old": 2000, "new": 3000}[side])
    written = live.rows("new")
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert live.rows("old") == written


def test_users_who_order_all_the_time_lose_nothing_there_and_back(live: World) -> None:
    live.prepare()
    for name in ("acknowledged.log", "refused.log"):
        (live.lab.folder / name).unlink(missing_ok=True)
    live.lab.start_client()
    try:
        time.sleep(1)
        ended = live.through("verify")
        assert ended.code == 0, ended.err
        time.sleep(2)
        there = account(live.lab, "new")
        ended = live.command("rollback", "--yes")
        assert ended.code == 0, ended.err
        time.sleep(3)
    finally:
        live.lab.stop_client()
    assert there.by_new > 0
    found = account(live.lab, "old")
    assert found.holds, found.says()
    assert found.by_new > 0


def test_what_the_copy_lacks_is_found_before_it_follows(live: World) -> None:
    live.reset()
    spoil = live.lab.folder / "spoil.py"
    statement = "UPDATE products SET price = price + 0.01 WHERE sku = 'SKU-7'"
    assert live.through("lower-ttl").code == 0
    copy = f"service=shop_new dbname=switchover_copy_{live.progress().plan_id[:12]}"
    spoil.write_text(f"import psycopg\nwith psycopg.connect('{copy}') as c: c.execute(\"{statement}\")\n")
    ended = live.through("replicate", fault=f"after:{spoil}:replicate/stream-live/done")
    assert ended.code == 1
    assert "public.products" in ended.err
    assert left(live, "old") == left(live, "new") == []
    assert not [name for name in live.databases("new") if name.startswith("switchover_")]
    ended = live.through("replicate")
    assert ended.code == 0, ended.err
    shown = json.loads(live.command("lag", "--json").out)
    assert (shown["slot"], shown["apply_errors"]) == ("reserved", 0)
    assert shown["worker"] is not None


def test_a_row_in_the_way_is_said_and_it_goes_on_once_it_is_gone(live: World) -> None:
    live.prepare()
    copy = f"switchover_copy_{live.progress().plan_id[:12]}"
    live.sql("new", "INSERT INTO products VALUES ('SKU-X', 'written into the copy', 1, 1)", copy)
    live.sql("old", "SET ROLE shop; INSERT INTO products VALUES ('SKU-X', 'from the source', 2, 2)")
    deadline = time.monotonic() + 30
    while "apply-fails" not in (said := live.command("lag")).out:
        assert time.monotonic() < deadline, said.out
        time.sleep(0.5)
    assert said.code == 1
    assert "remove the row that is in the way" in said.out
    assert "apply-fails" in live.command("check").out
    ended = live.through("cutover")
    assert ended.code == 1
    assert "apply-fails" in ended.err
    live.sql("new", "DELETE FROM products WHERE sku = 'SKU-X'", copy)
    while live.command("lag").code != 0:
        assert time.monotonic() < deadline + 30
        time.sleep(0.5)
    ended = live.through("cutover")
    assert ended.code == 0, ended.err
    assert live.sql("new", "SELECT title FROM products WHERE sku = 'SKU-X'") == [("from the source",)]


def test_a_slot_that_waits_too_long_names_who_holds_it_up_and_leaves_nothing(live: World) -> None:
    live.replicate = 'patience = "3s"\n'
    live.reset()
    assert live.through("lower-ttl").code == 0
    with live.lab.connect("old") as busy:
        busy.autocommit = False
        busy.execute("UPDATE products SET stock = stock WHERE sku = 'SKU-1'")
        ended = live.through("replicate")
        assert ended.code == 1
        assert "no slot within 3 s, held up by pid" in ended.err
        assert "UPDATE products" in ended.err
        busy.rollback()
    assert left(live, "old") == []


def test_servers_that_cannot_reach_one_another_are_said_before_anything_begins(live: World) -> None:
    live.reset()
    text = live.plan.read_text()
    way = f'source = "host=127.0.0.1 port={live.lab.ports.old}'
    assert way in text
    live.plan.write_text(text.replace(way, 'source = "host=127.0.0.1 port=1'))
    said = live.command("check")
    assert said.code == 1
    assert "target-unreached" in said.out
    assert live.through("rehearsal").code == 1
    assert left(live, "old") == left(live, "new") == []


def test_the_way_back_is_closed_only_by_who_asks_for_it(live: World) -> None:
    live.prepare()
    ended = live.command("run", "--yes")
    assert ended.code == 3, ended.err
    assert "the way back closes" in ended.err
    assert live.progress().hold is not None
    assert left(live, "new") != []
    assert "`switchover lag`" in live.command("status").out
    ended = live.command("run", "--through", "finish", "--yes")
    assert ended.code == 0, ended.err
    assert left(live, "old") == left(live, "new") == []


def test_the_method_is_not_changed_over_a_live_copy(live: World) -> None:
    live.prepare()
    text = live.plan.read_text()
    table = text[text.index("[replicate]") : text.index("[dns]")]
    live.plan.write_text(text.replace(table, "").replace('method = "replicate"', 'method = "dump"'))
    ended = live.through("cutover")
    assert ended.code == 1
    assert "there is still a live copy" in ended.err
    text = live.plan.read_text().replace('method = "dump"', 'method = "replicate"')
    live.plan.write_text(text.replace("[dns]", f"{table}[dns]", 1))
    assert live.command("rollback", "--yes").code == 0
    assert left(live, "old") == left(live, "new") == []


def test_a_copy_by_way_of_files_follows_as_well(live: World) -> None:
    live.copy = "dump"
    live.prepare()
    write(live, "old", 1)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    assert left(live, "old") == left(live, "new") == []
