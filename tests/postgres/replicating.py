"""Links between the two servers of a test: made, waited for and removed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from switchover.plan import names
from switchover.postgres.connect import Database
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.drain import Drained, drain
from switchover.postgres.replication.lag import Lag, look
from switchover.postgres.replication.link import Link, backward, forward
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.slot import make_slot
from switchover.postgres.replication.subscription import enable, subscribe
from tests.postgres.conftest import APP, Pair, Side

PATIENCE_S = 30.0


def quiet(_: str) -> None:
    """Hear a line and keep it to oneself."""


def ahead(pair: Pair, target: Database | None = None) -> Link:
    return forward(pair.source.db, target or pair.target.db, pair.plan_id)


def back(pair: Pair, target: Database | None = None) -> Link:
    return backward(pair.source.db, target or pair.target.db, pair.plan_id)


async def follow(link: Link) -> None:
    """From two equal sides to one that follows the other."""
    await publish(link, APP)
    held = await make_slot(link, APP, deadline_s=20, say=quiet)
    await held.release()
    await subscribe(link, APP)
    await enable(link, APP)


async def drained(link: Link) -> Drained:
    return await drain(link, APP, deadline_s=PATIENCE_S, say=quiet)


async def until(link: Link, holds: Callable[[Lag], bool]) -> Lag:
    """Look until it is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds(now := await look(link, APP)):
            await asyncio.sleep(0.05)
    return now


async def eventually(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Ask until it is so."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            said = holds()
            if said if isinstance(said, bool) else await said:
                return
            await asyncio.sleep(0.02)


def left_of(side: Side) -> list[tuple[object, ...]]:
    """Everything of ours that a link may leave on a side."""
    return side.run(
        "SELECT 'slot', slot_name::text FROM pg_replication_slots WHERE database = current_database() "
        "UNION ALL SELECT 'publication', pubname FROM pg_publication WHERE starts_with(pubname, 'switchover_') "
        "UNION ALL SELECT 'subscription', subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
        "WHERE d.datname = current_database() "
        "UNION ALL SELECT 'origin', roname FROM pg_replication_origin WHERE roname LIKE 'pg\\_%' "
        "AND substr(roname, 4) NOT IN (SELECT oid::text FROM pg_subscription) "
        "UNION ALL SELECT 'marker', relname FROM pg_class WHERE relname = 'marker'"
    )


@contextmanager
def writing(side: Side, *statements: str) -> Iterator[list[int]]:
    """A writer that goes through the statements over and over; how many it has had acknowledged."""
    stop, done = threading.Event(), [0]

    def write() -> None:
        with side.cluster.connect(side.name) as session:
            while not stop.is_set():
                for statement in statements:
                    session.execute(statement.format(n=done[0]).encode())
                done[0] += 1

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def remove_all(pair: Pair) -> None:
    """End the links of a pair, so that its databases can be dropped."""

    async def remove() -> None:
        there = {str(row[0]) for row in pair.target.cluster.run("SELECT datname FROM pg_database")}
        for name in there & {pair.target.name, f"copy_{pair.tag}", names.copy_name(pair.plan_id)}:
            target = pair.target.db.named(name)
            for link in (ahead(pair, target), back(pair, target)):
                done = await dismantle(link, APP)
                assert done.left == ()

    asyncio.run(remove())
