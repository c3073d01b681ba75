"""Going back after users have written on the new host: counted, kept, and the old host opens exactly as before."""

from __future__ import annotations

from switchover.demo import texts
from switchover.plan.progress import Passed
from tests.e2e.test_crash import NON_DEFAULT
from tests.e2e.world import State, World

WRITES = (
    "INSERT INTO visits SELECT now(), '/new', n FROM generate_series(1, 3) n",
    "UPDATE customers SET name = 'renamed' WHERE id IN (1, 2)",
    "DELETE FROM sales WHERE sku = 'SKU-9'",
)


def settings_less_carried(state: State) -> str:
    """The new database's settings, less the one that it lacked and was given, which stays."""
    return str(state.settings["new"]).replace(", 'statement_timeout=99s'", "")


def test_a_rollback_states_the_rows_exactly_keeps_them_and_opens_the_source_as_before(world: World) -> None:
    world.prepare(old_settings=NON_DEFAULT)
    before = world.state()
    assert world.through("verify").code == 0
    for statement in WRITES:
        world.sql("new", statement)
    asked = world.command("rollback")
    assert asked.code == 3
    assert "public.visits: 3 inserted, 0 updated, 0 deleted" in asked.err
    ended = world.command("rollback", "--yes")
    assert ended.code == 0, ended.err
    progress = world.progress()
    assert progress.rolled_back
    assert progress.passed is Passed.NOT
    assert progress.rollback is not None
    stated = next(action.result["changes"] for action in progress.rollback.actions if action.id == "close-target")
    assert stated == [
        {"table": "public.customers", "inserted": 0, "updated": 2, "deleted": 0},
        {"table": "public.sales", "inserted": 0, "updated": 0, "deleted": 1},
        {"table": "public.visits", "inserted": 3, "updated": 0, "deleted": 0},
    ]
    after = world.state()
    assert before.settings["old"] == after.settings["old"]
    assert before.rows["old"] == after.rows["old"]
    assert settings_less_carried(before) == settings_less_carried(after)
    assert {address for _, address, _ in after.dns} == {texts.OLD}
    (kept,) = [name for name in after.databases["new"] if name.startswith("switchover_kept")]
    world.sql("new", f"ALTER DATABASE {kept} ALLOW_CONNECTIONS true CONNECTION LIMIT 5", "postgres")
    assert world.sql("new", "SELECT count(*) FROM visits WHERE page = '/new'", kept) == [(3,)]
    world.sql("old", "SET ROLE shop; INSERT INTO visits VALUES (now(), '/old-again', 1)")
    report = world.command("report").out
    assert "Rolled back" in report
    assert kept.replace("_", "\\_") in report or kept in report


def test_after_a_rollback_a_second_cutover_succeeds(world: World) -> None:
    world.prepare()
    assert world.through("cutover").code == 0
    world.sql("new", WRITES[0])
    assert world.command("rollback", "--yes").code == 0
    world.point(texts.OLD, 1)
    ended = world.through("finish")
    assert ended.code == 0, ended.err
    state = world.state()
    assert state.finished
    assert state.rows["old"] == state.rows["new"]


def test_with_nothing_done_there_is_nothing_to_go_back_from(world: World) -> None:
    world.reset()
    ended = world.command("rollback", "--yes")
    assert ended.code == 0
    assert "nothing to go back from" in ended.err
