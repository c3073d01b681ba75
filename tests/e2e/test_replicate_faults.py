"""What may go wrong with a live copy: out of time, changed, spoiled, held up, unreachable, given up."""

from __future__ import annotations

import json
import time

import pytest

from switchover.plan.progress import Passed
from tests.e2e.live import left, lose_changes, pauses, stalled_at, write
from tests.e2e.test_crash import NON_DEFAULT
from tests.e2e.world import World


def test_when_the_budget_is_used_up_it_undoes_itself_and_is_tried_again(live: World) -> None:
    live.replicate = 'budget = "5s"\ncompare = "1s"\n'
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    with stalled_at(live, "old", "cutover/fence-source/done") as (fault, pid):
        ended = live.through("cutover", fault=fault)
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


def test_a_rollback_whose_budget_is_used_up_undoes_itself_and_users_go_on_on_the_new_host(live: World) -> None:
    live.replicate = 'budget = "5s"\ncompare = "1s"\n'
    live.prepare(old_settings=NON_DEFAULT)
    first = live.state()
    assert live.through("verify").code == 0
    write(live, "new", 1)
    before = live.state()
    with stalled_at(live, "new", "rollback/fence-target/done") as (fault, pid):
        ended = live.command("rollback", "--yes", fault=fault)
    assert ended.code == 1
    assert "not drained within" in ended.err
    assert f"walsender pid {pid}" in ended.err
    after = live.state()
    assert (after.settings, after.rows["new"], after.dns) == (before.settings, before.rows["new"], before.dns)
    write(live, "new", 500)
    written = live.rows("new")
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert live.rows("old") == written
    assert live.state().settings["old"] == first.settings["old"]


def test_a_slot_that_was_lost_is_refused_by_name_and_writes_are_not_paused(live: World) -> None:
    live.prepare()
    before = live.state()
    lose_changes(live, "old")
    ended = live.through("cutover")
    assert ended.code == 1
    assert "has lost changes: wal_removed" in ended.err
    assert "give the live copy up with `switchover rollback`, and make it anew" in ended.err
    assert pauses(live) == []
    after = live.state()
    assert (after.settings, after.rows["old"], after.dns) == (before.settings, before.rows["old"], before.dns)
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert left(live, "old") == left(live, "new") == []


def test_a_way_back_that_was_lost_is_refused_by_name_and_users_go_on_on_the_new_host(live: World) -> None:
    live.prepare()
    assert live.through("verify").code == 0
    before = live.state()
    lose_changes(live, "new")
    said = live.command("lag")
    assert said.code == 1
    assert "has lost changes: " in said.out
    assert "stay on the new host, and end the way back with `switchover run --through finish`" in said.out
    ended = live.command("rollback", "--yes")
    assert ended.code == 1
    assert "has lost changes: " in ended.err
    assert "stay on the new host" in ended.err
    after = live.state()
    assert (after.settings, after.rows["new"], after.dns) == (before.settings, before.rows["new"], before.dns)
    write(live, "new", 1)
    ended = live.through("finish")
    assert ended.code == 0, ended.err
    assert left(live, "old") == left(live, "new") == []


def struck(live: World, which: str, name: str, statements: str) -> str:
    """A fault's script that loses a server, or ends some of its sessions."""
    script = live.lab.folder / f"{name}.py"
    cluster = live.lab.old if which == "old" else live.lab.new
    if statements:
        service = f"service=shop_{which} dbname=postgres"
        text = f'import psycopg\nwith psycopg.connect("{service}") as session: session.execute("{statements}")'
    else:
        postmaster = (cluster.data / "postmaster.pid").read_text().split()[0]
        text = f"import os, signal; os.kill({postmaster}, signal.SIGQUIT)"
    script.write_text(text + "\n")
    return str(script)


@pytest.mark.parametrize("where", ["after:{}:cutover/fence-source/done", "before:{}:cutover/prepare-back/intent"])
def test_the_new_server_lost_while_writes_are_paused_lets_users_in_again_at_once(live: World, where: str) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    ended = live.through("cutover", fault=where.format(struck(live, "new", "lost", "")))
    try:
        assert ended.code == 1, ended.err
        assert ended.err.startswith("cutover: ")
        assert "Everything was put back as it was" in ended.err
        assert live.settings("old") == before.settings["old"]
        write(live, "old", 1)
    finally:
        with live.away("new"):
            pass
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    assert left(live, "old") == left(live, "new") == []


def test_killed_with_the_new_server_away_users_are_let_in_without_it(live: World) -> None:
    live.prepare(old_settings=NON_DEFAULT)
    before = live.state()
    assert live.killed("cutover", "before:kill:cutover/prepare-back/done")
    with live.away("new"):
        ended = live.command("rollback", "--yes")
        assert ended.code == 0, ended.err
        assert live.settings("old") == before.settings["old"]
    write(live, "old", 1)
    ended = live.through()
    assert ended.code == 0, ended.err
    assert live.rows("old") == live.rows("new")
    assert left(live, "old") == left(live, "new") == []


def test_a_way_back_whose_fence_has_fallen_is_not_taken(live: World) -> None:
    live.prepare()
    assert live.through("cutover").code == 0
    write(live, "new", 500)
    ends = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'ShareLock' AND locktype = 'relation'"
    fault = struck(live, "new", "fallen", ends)
    ended = live.command("rollback", "--yes", fault=f"after:{fault}:rollback/prepare-ahead/done")
    assert ended.code == 1, ended.err
    assert "the fence's locks are gone" in ended.err
    write(live, "new", 700)
    written = live.rows("new")
    ended = live.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    assert live.rows("old") == written


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
