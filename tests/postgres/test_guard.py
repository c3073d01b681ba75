"""The lock and the memory on the server itself."""

from __future__ import annotations

import asyncio

import pytest

from switchover.postgres.connect import Database, connect
from switchover.postgres.errors import Occupied, Superseded, Unreachable
from switchover.postgres.guard import (
    RunRow,
    drop_fact,
    hold_advisory,
    read_fact,
    read_run,
    write_fact,
    write_run,
)
from tests.postgres.conftest import APP, Pair


def row(epoch: int, seq: int = 1) -> RunRow:
    return RunRow(epoch, seq, f"head{seq}", "me@here", "")


async def test_the_second_run_is_told_who_holds_the_plan(pair: Pair) -> None:
    other = f"{pair.plan_id}x"
    async with (
        await connect(pair.source.db, "switchover/first") as first,
        await connect(pair.source.db, "switchover/other") as beside,
    ):
        await hold_advisory(beside, other)
        await hold_advisory(first, pair.plan_id)
        async with await connect(pair.source.db, "switchover/second") as second:
            with pytest.raises(Occupied, match=f"pid {first.info.backend_pid}, switchover/first, from 127.0.0.1"):
                await hold_advisory(second, pair.plan_id)
            with pytest.raises(Occupied, match=f"pid {beside.info.backend_pid}, switchover/other"):
                await hold_advisory(second, other)


async def test_the_lock_goes_with_its_session(pair: Pair) -> None:
    async with await connect(pair.source.db, APP) as first:
        await hold_advisory(first, pair.plan_id)
        pid = first.info.backend_pid
        async with await connect(pair.source.db, APP) as second:
            pair.source.cluster.run(f"SELECT pg_terminate_backend({pid}, 5000)")
            await hold_advisory(second, pair.plan_id)


async def test_what_was_written_is_read_back(pair: Pair) -> None:
    assert await read_run(pair.target.db, APP, pair.plan_id) is None
    await write_run(pair.target.db, APP, pair.plan_id, row(1, 3))
    await write_run(pair.target.db, APP, pair.plan_id, row(1, 4))
    found = await read_run(pair.target.db, APP, pair.plan_id)
    assert found is not None
    assert (found.epoch, found.seq, found.head, found.who) == (1, 4, "head4", "me@here")
    assert await read_run(pair.target.db, APP, "another plan") is None


async def test_a_run_that_was_overtaken_stops(pair: Pair) -> None:
    await write_run(pair.target.db, APP, pair.plan_id, row(3, 9))
    with pytest.raises(Superseded, match="a newer run, epoch 3 by me@here, has taken over; this one stops"):
        await write_run(pair.target.db, APP, pair.plan_id, row(2, 10))
    found = await read_run(pair.target.db, APP, pair.plan_id)
    assert found is not None
    assert (found.epoch, found.seq) == (3, 9)


async def test_two_first_runs_do_not_trip_over_each_other(pair: Pair) -> None:
    """CREATE … IF NOT EXISTS alone fails on a unique index when two sessions make the same thing at once."""
    await asyncio.gather(*(write_run(pair.target.db, APP, f"plan {n}", row(1)) for n in range(8)))


async def test_facts_are_kept_in_the_database_and_travel_with_it(pair: Pair) -> None:
    db = pair.target.db
    assert await read_fact(db, APP, "k") is None
    await drop_fact(db, APP, "k")
    await write_fact(db, APP, "k", {"a": [1, None, "é"]})
    await write_fact(db, APP, "k", {"a": [2]})
    pair.target.cluster.run(f"ALTER DATABASE {pair.target.name} RENAME TO {pair.target.name}_renamed")
    renamed = db.named(f"{pair.target.name}_renamed")
    assert await read_fact(renamed, APP, "k") == {"a": [2]}
    await drop_fact(renamed, APP, "k")
    assert await read_fact(renamed, APP, "k") is None


async def test_a_database_that_is_not_there_remembers_nothing(pair: Pair) -> None:
    absent = pair.target.db.named("absent")
    assert await read_run(absent, APP, pair.plan_id) is None
    assert await read_fact(absent, APP, "k") is None


async def test_a_server_that_does_not_answer_is_not_taken_for_one_that_remembers_nothing(pair: Pair) -> None:
    with pytest.raises(Unreachable):
        await read_run(Database.parse("host=127.0.0.1 port=1 dbname=x"), APP, pair.plan_id)
    pair.target.cluster.run(f"ALTER DATABASE {pair.target.name} ALLOW_CONNECTIONS false")
    with pytest.raises(Unreachable):
        await read_fact(pair.target.db, APP, "k")
