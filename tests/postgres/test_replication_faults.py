"""What may go wrong with a link, brought about for real: each is named, and none is taken for a drain."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchover.postgres.errors import NotDrained, ReplicationFailed
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.drain import drain
from switchover.postgres.replication.lag import KEPT, Trail, look
from switchover.postgres.replication.link import Link
from switchover.postgres.replication.published import drift, publish
from switchover.postgres.replication.slot import find_slot
from switchover.postgres.replication.subscription import disable
from switchover.postgres.replication.trouble import troubles
from tests.postgres.conftest import APP, Pair, clean, make_pair
from tests.postgres.disks import grown, moved_to, small_disk
from tests.postgres.replicating import ahead, back, drained, follow, quiet, remove_all, until
from tests.servers.postgres import Cluster

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


async def test_a_conflict_stops_applying_and_is_said_with_its_kind_and_a_failure_that_is_none_is_not_taken_for_one(
    pair: Pair,
) -> None:
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
    assert found["apply-fails"].fix.startswith("remove the row that is in the way")
    with pytest.raises(NotDrained, match="applying has failed"):
        await drain(link, APP, deadline_s=1, say=quiet)
    pair.target.run("DELETE FROM t")
    await drained(link)
    assert pair.target.run("SELECT v FROM t") == [("the source",)]
    after = await look(link, APP)
    assert troubles(after, before=now) == ()
    pair.target.run("ALTER TABLE t ADD CHECK (id < 5)")
    pair.source.run("INSERT INTO t VALUES (7, 'more than the copy takes')")
    now = await until(link, lambda now: now.subscriber.apply_errors > after.subscriber.apply_errors)
    for earlier in (after, None):
        other = {each.id: each for each in troubles(now, before=earlier)}["apply-fails"]
        assert "someone wrote" not in other.why
        assert "server log names the reason" in other.evidence
        assert "make room on a full disk" in other.fix


async def test_where_conflicts_are_not_counted_every_reason_is_left_open(pair: Pair) -> None:
    link = back(pair)
    await follow(link)
    pair.source.run("INSERT INTO t VALUES (1, 'someone was here')")
    pair.target.run("INSERT INTO t VALUES (1, 'the publisher')")
    found = {each.id: each for each in troubles(await until(link, lambda now: now.subscriber.apply_errors > 0))}
    assert "someone wrote" not in found["apply-fails"].why
    assert "a row that is in the way" in found["apply-fails"].fix


async def test_a_full_disk_while_applying_is_said_and_it_goes_on_once_there_is_room(
    servers_folder: Path, old_server: Cluster
) -> None:
    new = Cluster(servers_folder / "full", 18, conf="wal_retrieve_retry_interval = 200ms\n").start()
    full = make_pair(old_server, new)
    try:
        with small_disk(servers_folder / "full-disk", 24) as disk:
            moved_to(disk, full.target)
            full.both(TABLES)
            link = ahead(full)
            await follow(link)
            await drained(link)
            before = await look(link, APP)
            full.source.run("INSERT INTO t SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 30000) n")
            with pytest.raises(
                NotDrained, match=r"applying has failed .* the subscriber's server log names the reason"
            ):
                await drain(link, APP, deadline_s=3, say=quiet)
            found = {each.id: each for each in troubles(await look(link, APP), before=before)}["apply-fails"]
            assert "No space left on device" in new.log
            assert "someone wrote" not in found.why
            assert "make room on a full disk" in found.fix
            grown(disk, 200)
            await drained(link)
            rows = "SELECT count(*), sum(hashtext(v)) FROM t"
            assert full.target.run(rows) == full.source.run(rows)
            assert (await dismantle(link, APP)).done
            clean(full)
            new.run("DROP TABLESPACE small")
    finally:
        new.stop()


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


@pytest.mark.parametrize(
    ("direction", "to_do"),
    [(ahead, "give the live copy up with `switchover rollback`"), (back, "stay on the new host")],
    ids=["ahead", "back"],
)
async def test_a_slot_that_has_lost_changes_is_named_with_what_to_do_in_its_direction(
    pair: Pair, direction: Callable[[Pair], Link], to_do: str
) -> None:
    link = direction(pair)
    await follow(link)
    await drained(link)
    await disable(link, APP)
    publisher = pair.source if direction is ahead else pair.target
    cluster = publisher.cluster
    cluster.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    try:
        cluster.run("SELECT pg_reload_conf()")
        for _ in range(4):
            publisher.run("INSERT INTO t VALUES (0, '') ON CONFLICT (id) DO UPDATE SET v = excluded.v")
            cluster.run("SELECT pg_switch_wal()")
        cluster.run("CHECKPOINT")
        slot = await find_slot(link, APP)
        assert slot is not None
        assert slot.lost
        (found, *_) = troubles(await look(link, APP))
        assert (found.id, found.severity) == ("slot-lost", "block")
        assert found.fix.startswith(to_do)
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


def test_the_trail_says_how_many_seconds_the_subscriber_is_behind_and_knows_nothing_of_before() -> None:
    trail = Trail()
    for at, position in ((0.0, 100), (1.0, 200), (2.0, 300), (3.0, 300)):
        trail.add(at, position)
    assert trail.seconds_behind(300, 3.5) == 0.0
    assert trail.seconds_behind(250, 3.5) == 1.5
    assert trail.seconds_behind(100, 3.5) == 2.5
    assert trail.seconds_behind(50, 3.5) is None


def test_a_long_trail_still_knows_of_its_beginning() -> None:
    trail = Trail()
    for at in range(5 * KEPT):
        trail.add(float(at), 100 + at)
    assert trail.seconds_behind(100, 5.0 * KEPT) is not None
    assert trail.seconds_behind(99 + 5 * KEPT - 10, 5.0 * KEPT) == 10.0
    assert len(trail.samples) <= KEPT


async def test_a_single_look_at_a_stopped_subscriber_does_not_say_that_it_is_current(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    await drained(link)
    watched, once = Trail(), Trail()
    watched.add(0.0, (await until(link, lambda now: now.bytes == 0)).publisher.position)
    await disable(link, APP)
    pair.source.run("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 1000) n")
    now = await look(link, APP)
    assert now.publisher.slot is not None
    assert now.publisher.slot.confirmed is not None
    for trail in (watched, once):
        trail.add(9.0, now.publisher.position)
    assert once.seconds_behind(now.publisher.slot.confirmed, 12.0) is None
    assert watched.seconds_behind(now.publisher.slot.confirmed, 12.0) == 3.0
