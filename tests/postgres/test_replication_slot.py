"""The making of a slot: who holds it up is named, nothing half-made stays, and what was broken off is made again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.slot import find_slot, make_bare_slot, make_slot
from switchover.postgres.replication.subscription import enable, find_subscription, subscribe
from tests.postgres.conftest import APP, Pair
from tests.postgres.replicating import ahead, drained, eventually, follow, quiet, remove_all

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text)"
KILLED = """
import asyncio, sys
from switchover.postgres.connect import Database
from switchover.postgres.replication.link import forward
from switchover.postgres.replication.slot import make_slot

async def main():
    source, target, plan = sys.argv[1:4]
    link = forward(Database.parse(source), Database.parse(target), plan)
    await make_slot(link, "switchover/test/killed", deadline_s=60, say=lambda says: print("waits", says, flush=True))
    print("made", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def pair(pair: Pair) -> Iterator[Pair]:
    pair.both(TABLE)
    yield pair
    remove_all(pair)


@contextmanager
def killed_at(pair: Pair, word: str) -> Iterator[None]:
    """A run in a process of its own that has said so; it is killed after the body."""
    argv = [sys.executable, "-c", KILLED, pair.source.cluster.conninfo(pair.source.name)]
    argv += [pair.target.cluster.conninfo(pair.target.name), pair.plan_id]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(word), line
        yield
        process.kill()


def slots(pair: Pair) -> list[tuple[object, ...]]:
    return pair.source.cluster.run(f"SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ '{pair.tag}'")


@pytest.mark.parametrize("bare", [False, True])
async def test_an_open_transaction_that_holds_up_the_slot_is_named_and_no_slot_stays(pair: Pair, bare: bool) -> None:
    link = ahead(pair)
    await publish(link, APP)
    said: list[str] = []
    with pair.source.cluster.connect(pair.source.name, application_name="night batch") as batch:
        batch.execute("BEGIN; INSERT INTO t VALUES (1, 'open')")
        pid = batch.info.backend_pid
        make = make_bare_slot if bare else make_slot
        with pytest.raises(ReplicationFailed, match=rf"held up by pid {pid} postgres \(night batch\).*INSERT INTO t"):
            await make(link, APP, deadline_s=1, say=said.append)
        assert slots(pair) == []
        assert len([each for each in said if f"pid {pid}" in each]) == 1
        batch.execute("COMMIT")
    await follow(link)
    await drained(link)


async def test_a_prepared_transaction_that_holds_up_the_slot_is_named(pair: Pair) -> None:
    link = ahead(pair)
    await publish(link, APP)
    pair.source.run(f"BEGIN; INSERT INTO t VALUES (1, 'open'); PREPARE TRANSACTION 'kept {pair.tag}'")
    try:
        with pytest.raises(ReplicationFailed, match=f"prepared transaction postgres in .*kept {pair.tag}"):
            await make_slot(link, APP, deadline_s=1, say=quiet)
        assert slots(pair) == []
    finally:
        pair.source.run(f"ROLLBACK PREPARED 'kept {pair.tag}'")


async def test_a_run_killed_while_the_slot_waits_leaves_none(pair: Pair) -> None:
    await publish(ahead(pair), APP)
    with pair.source.cluster.connect(pair.source.name) as batch:
        batch.execute("BEGIN; INSERT INTO t VALUES (1, 'open')")
        with killed_at(pair, "waits"):
            assert len(slots(pair)) == 1
        await eventually(lambda: slots(pair) == [])


async def test_a_run_killed_between_slot_and_subscription_runs_again(pair: Pair) -> None:
    link = ahead(pair)
    await publish(link, APP)
    with killed_at(pair, "made"):
        pass
    slot = await find_slot(link, APP)
    assert slot is not None
    pair.source.run("INSERT INTO t VALUES (1, 'after the first slot')")
    held = await make_slot(link, APP, deadline_s=20, say=quiet)
    again = await find_slot(link, APP)
    assert again is not None
    assert again.begins(held.stamp)
    assert not slot.begins(held.stamp)
    pair.target.run("INSERT INTO t VALUES (1, 'after the first slot')")  # the copy under the new snapshot
    for _ in range(2):
        await subscribe(link, APP)
        await enable(link, APP)
    pair.source.run("INSERT INTO t VALUES (2, 'applied')")
    await held.release()
    await drained(link)
    assert pair.target.run("SELECT id FROM t ORDER BY 1") == [(1,), (2,)]


async def test_a_slot_that_is_followed_is_not_dropped_to_make_another(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = ahead(pair)
    await follow(link)
    await drained(link)
    monkeypatch.setattr("switchover.postgres.replication.slot.GONE_PATIENCE_S", 1.0)
    with pytest.raises(ReplicationFailed, match="in use by pid"):
        await make_slot(link, APP, deadline_s=5, say=quiet)
    pair.source.run("INSERT INTO t VALUES (1, 'still followed')")
    await drained(link)
    assert pair.target.run("SELECT id FROM t") == [(1,)]


async def test_everything_may_be_run_again_while_it_follows(pair: Pair) -> None:
    link = ahead(pair)
    await follow(link)
    before = await find_subscription(link, APP)
    assert before is not None
    await publish(link, APP)
    await make_bare_slot(link, APP, deadline_s=5, say=quiet)
    await subscribe(link, APP)
    await enable(link, APP)
    after = await find_subscription(link, APP)
    assert after is not None
    assert after.oid == before.oid


async def test_a_cancelled_making_leaves_no_slot(pair: Pair) -> None:
    link = ahead(pair)
    await publish(link, APP)
    waits = asyncio.Event()
    with pair.source.cluster.connect(pair.source.name) as batch:
        batch.execute("BEGIN; INSERT INTO t VALUES (1, 'open')")
        making = asyncio.ensure_future(make_slot(link, APP, deadline_s=60, say=lambda _: waits.set()))
        await waits.wait()
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert slots(pair) == []
