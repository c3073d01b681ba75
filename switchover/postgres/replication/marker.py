"""Rows of our own that travel with the others: one that is seen on the other side has brought all before it along."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.guard import LOCK_CLASS
from switchover.words import duration

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.postgres.replication.link import Link

SCHEMA, TABLE = "switchover", "marker"
LOOK_EVERY_S = 0.05

_IS_THERE = "SELECT to_regclass('switchover.marker') IS NOT NULL"
_MAKE = (
    "CREATE SCHEMA IF NOT EXISTS switchover",
    "CREATE TABLE IF NOT EXISTS switchover.marker "
    "(id uuid PRIMARY KEY, link text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())",
)


async def make_marker_table(session: AsyncConnection) -> None:
    """Make the table of marker rows unless it is there."""
    if await (await session.execute(_IS_THERE)).fetchone() == (True,):
        return
    async with session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK_CLASS,))
        for statement in _MAKE:
            await session.execute(statement.encode())


async def write_marker(session: AsyncConnection, link: Link) -> uuid.UUID:
    """Commit a row, and with it everything that others have committed before: to disk, not to any standby.

    A commit that did not wait for its flush is flushed with ours, for the log is written in order
    (https://www.postgresql.org/docs/current/wal-async-commit.html).
    """
    marker = uuid.uuid4()
    async with session.transaction():
        await session.execute("SET LOCAL synchronous_commit = local")
        await session.execute("INSERT INTO switchover.marker (id, link) VALUES (%s, %s)", (marker, link.name))
    return marker


async def has_marker(session: AsyncConnection, marker: uuid.UUID) -> bool:
    """Whether the row has arrived."""
    found = await session.execute("SELECT 1 FROM switchover.marker WHERE id = %s", (marker,))
    return await found.fetchone() is not None


async def send_marker(link: Link, app: str, *, deadline_s: float) -> None:
    """Write a row and wait until it is seen on the other side, which proves that the link carries rows.

    Raises ReplicationFailed when it has not arrived within ``deadline_s`` seconds.
    """
    with told(link.publisher):
        async with await connect(link.publisher, app) as there:
            marker = await write_marker(there, link)
    deadline = asyncio.get_running_loop().time() + deadline_s
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as here:
            while not await has_marker(here, marker):
                if asyncio.get_running_loop().time() > deadline:
                    raise ReplicationFailed(
                        f"a row written on {link.publisher.where} has not come to {link.subscriber.where} within "
                        f"{duration(deadline_s)}; `switchover lag` and the log of its server say why"
                    )
                await asyncio.sleep(LOOK_EVERY_S)


async def drop_marker_table(session: AsyncConnection) -> bool:
    """Drop the table unless it is gone; whether it was there."""
    there = await (await session.execute(_IS_THERE)).fetchone() == (True,)
    if there:
        await session.execute("DROP TABLE IF EXISTS switchover.marker")
    return there
