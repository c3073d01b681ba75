"""What may go wrong with a link, brought about for real: each is named, and none is taken for a drain."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from switchover.postgres.errors import NotDrained, ReplicationFailed
from switchover.postgres.replication.drain import drain
from switchover.postgres.replication.lag import Trail, look
from switchover.postgres.replication.published import drift, publish
from switchover.postgres.replication.slot import find_slot
from switchover.postgres.replication.subscription import disable
from switchover.postgres.replication.trouble import troubles
from tests.postgres.conftest import APP, Pair
from tests.postgres.replicating import ahead, drained, follow, quiet, remove_all, until

TABLES = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE loose (n int, v text)"


@pytest.fixture
def pair(pair: Pair) -> Iterator[Pair]:
    pair.both(TABLES)
    yield pair
    remove_all(pair)


async def test_a_stalled_walsender_is_not_taken_for_a_drain_and_is_named(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    await drained(link)
    before = await until(link, lambda now: now.publisher.sender is not None)
    assert before.publisher.sender is not None
    pid = before.publisher.sender.pid
    os.kill(pid, signal.SIGSTOP)
    said: list[str] = []
    try:
        pair.source.run("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 1000) n")
        with pytest.raises(NotDrained, match=rf"walsender pid {pid} .* has not moved since the drain began"):
            await drain(link, APP, deadline_s=2, say=said.append)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert any(str(pid) in each for each in said)
    await drained(link)
    assert pair.target.run("SELECT count(*) FROM t") == [(1000,)]


async def test_a_stalled_apply_worker_is_not_taken_for_a_drain_and_is_named(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    await drained(link)
    now = await look(link, APP)
    assert now.subscriber.subscription is not None
    pid = now.subscriber.subscription.worker
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        pair.source.run("INSERT INTO t VALUES (1, 'x')")
        with pytest.raises(NotDrained, match=rf"everything was sent, but pid {pid} .* has not flushed"):
            await drain(link, APP, deadline_s=1, say=quiet)
    finally:
        os.kill(pid, signal.SIGCONT)
    await drained(link)


async def test_a_link_that_is_not_enabled_is_refused_at_once(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    await disable(link, APP)
    with pytest.raises(NotDrained, match="not enabled"):
        await drain(link, APP, deadline_s=60, say=quiet)
    assert [each.id for each in troubles(await look(link, APP))] == ["not-enabled"]


async def test_a_conflict_stops_applying_and_is_said_with_its_kind(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    await drained(link)
    before = await look(link, APP)
    pair.target.run("INSERT INTO t VALUES (1, 'someone was here')")
    pair.source.run("INSERT INTO t VALUES (1, 'the source')")
    now = await until(link, lambda now: now.subscriber.apply_errors > 0)
    found = {each.id: each for each in troubles(now, before=before)}
    assert found["apply-fails"].severity == "block"
    assert "insert_exists" in found["apply-fails"].evidence
    with pytest.raises(NotDrained, match="applying has failed"):
        await drain(link, APP, deadline_s=1, say=quiet)
    pair.target.run("DELETE FROM t")
    await drained(link)
    assert pair.target.run("SELECT v FROM t") == [("the source",)]
    assert troubles(await look(link, APP), before=now) == ()


async def test_a_change_that_found_no_row_is_said_though_nothing_stops(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    pair.source.run("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    await drained(link)
    pair.target.run("DELETE FROM t")
    pair.source.run("UPDATE t SET v = 'z' WHERE id = 1; DELETE FROM t WHERE id = 2")
    now = await until(link, lambda now: len(now.subscriber.conflicts) == 2)
    (found,) = troubles(now)
    assert (found.id, found.severity) == ("changes-left-out", "block")
    assert "update missing 1" in found.evidence
    with pytest.raises(NotDrained, match="left out"):
        await drain(link, APP, deadline_s=5, say=quiet)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("CREATE TABLE new (id int PRIMARY KEY)", "table public.new is new"),
        ("ALTER TABLE t ADD COLUMN more int", "table public.t is now"),
        ("ALTER TABLE t ALTER COLUMN v TYPE varchar(9)", "table public.t is now"),
        ("DROP TABLE t", 'table "public"."t" is gone'),
        ("ALTER TABLE loose RENAME TO other", "table public.other is new"),
        ("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)", "table public.t was made anew"),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "table public.t is now none"),
        ("ALTER PUBLICATION {name} DROP TABLE t", "taken from the publication"),
        ("DROP PUBLICATION {name}", "the publication is not there"),
    ],
)
async def test_a_change_of_the_tables_is_seen_and_nothing_is_drained(pair: Pair, change: str, says: str) -> None:
    link = ahead(pair)
    await follow(link)
    assert await drift(link, APP) == ()
    pair.source.run(change.format(name=link.name))
    found = await drift(link, APP)
    assert says in "; ".join(found)
    now = await look(link, APP)
    assert "tables-changed" in {each.id for each in troubles(now, drift=found)}
    with pytest.raises(NotDrained):
        await drain(link, APP, deadline_s=2, say=quiet)


async def test_a_new_table_is_not_quietly_added_once_the_copy_has_begun(pair: Pair) -> None:
    link = ahead(pair)
    await publish(link, APP)
    pair.source.run("CREATE TABLE early (id int PRIMARY KEY)")
    assert "early" in {each.name for each in (await publish(link, APP)).tables}
    pair.target.run("CREATE TABLE early (id int PRIMARY KEY)")
    await follow(link)
    pair.source.run("CREATE TABLE late (id int PRIMARY KEY)")
    with pytest.raises(ReplicationFailed, match=r"public\.late; begin it anew"):
        await publish(link, APP)


async def test_a_slot_that_has_lost_changes_is_named(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    await drained(link)
    await disable(link, APP)
    cluster = pair.source.cluster
    cluster.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    try:
        cluster.run("SELECT pg_reload_conf()")
        for _ in range(4):
            pair.source.run("INSERT INTO t VALUES (0, '') ON CONFLICT (id) DO UPDATE SET v = excluded.v")
            cluster.run("SELECT pg_switch_wal()")
        cluster.run("CHECKPOINT")
        slot = await find_slot(link, APP)
        assert slot is not None
        assert slot.lost
        (found, *_) = troubles(await look(link, APP))
        assert (found.id, found.severity) == ("slot-lost", "block")
        with pytest.raises(NotDrained, match="has lost changes"):
            await drain(link, APP, deadline_s=5, say=quiet)
    finally:
        cluster.run("ALTER SYSTEM RESET max_slot_wal_keep_size")
        cluster.run("SELECT pg_reload_conf()")


async def test_a_slot_that_is_gone_is_named(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    await disable(link, APP)
    pair.source.cluster.run(f"SELECT pg_drop_replication_slot('{link.name}')")
    assert "slot-gone" in {each.id for each in troubles(await look(link, APP))}
    with pytest.raises(NotDrained, match="no slot"):
        await drain(link, APP, deadline_s=5, say=quiet)


async def test_large_objects_that_came_since_are_said(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    before = (await look(link, APP)).publisher.objects
    pair.source.run("SELECT lo_from_bytea(0, 'x')")
    found = troubles(await look(link, APP), objects=before)
    assert "large-objects-changed" in {each.id for each in found}


async def test_other_writers_of_the_server_make_the_drain_no_less_but_are_said(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    pair.source.run("INSERT INTO t VALUES (1, 'x')")
    assert (await drained(link)).quiet
    assert pair.target.run("SELECT id FROM t") == [(1,)]


def test_the_trail_says_how_many_seconds_the_subscriber_is_behind() -> None:
    trail = Trail()
    for at, position in ((0.0, 100), (1.0, 200), (2.0, 300), (3.0, 300)):
        trail.add(at, position)
    assert trail.seconds_behind(300, 3.5) == 0.0
    assert trail.seconds_behind(250, 3.5) == 1.5
    assert trail.seconds_behind(50, 3.5) == 3.5
