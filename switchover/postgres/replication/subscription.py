"""The subscription: the subscriber follows a slot that was made for it, from a copy that was made under its snapshot.

https://www.postgresql.org/docs/current/sql-createsubscription.html
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.replication.identity import carry_note
from switchover.postgres.replication.link import conninfo
from switchover.postgres.replication.marker import make_marker_table
from switchover.postgres.replication.unlogged import unlogged
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.replication.link import Link

STOP_PATIENCE_S = 30.0
LOOK_EVERY_S = 0.005
ORIGIN_SINCE = 160000
"""The first subscriber that can ask for what was written at the publisher itself, without what came there so."""

_SUBSCRIPTION = """
SELECT s.oid::int8, s.subenabled, s.subslotname, pg_get_userbyid(s.subowner),
  (SELECT w.pid FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.pid IS NOT NULL
   ORDER BY w.relid IS NOT NULL LIMIT 1)
FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database() AND s.subname = %s
"""
_CREATE = """
CREATE SUBSCRIPTION {name} CONNECTION {conninfo} PUBLICATION {publication} WITH (
  connect = true, create_slot = false, copy_data = false, enabled = false, slot_name = {slot}{more})
"""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription as the subscriber has it."""

    oid: int
    enabled: bool
    slot: str | None
    owner: str
    worker: int | None
    """The pid of what applies; None while nothing does."""

    @property
    def origin(self) -> str:
        """Under which name the subscriber remembers how far it is."""
        return f"pg_{self.oid}"


class _TriedAndUndone(Exception):
    """Leaves a transaction whose only end was to see whether it would work."""


async def read_subscription(session: AsyncConnection, name: str) -> Subscription | None:
    """The subscription of that name in this database; None when there is none."""
    row = await (await session.execute(_SUBSCRIPTION, (name,))).fetchone()
    return Subscription(*row) if row is not None else None


async def find_subscription(link: Link, app: str) -> Subscription | None:
    """The link's subscription; None when there is none."""
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session:
            return await read_subscription(session, link.name)


async def make_ready(db: Database, app: str) -> None:
    """Make an empty subscriber fit to be copied into: a dump brings the publication, which lists our marker table."""
    with told(db):
        async with await connect(db, app) as session:
            await make_marker_table(session)


async def subscribe(link: Link, app: str) -> None:
    """Make the subscription, not enabled, unless it is there.

    A publication of that name on the subscriber came along with the copy, and is dropped. Raises
    ReplicationFailed when the subscriber cannot reach the publisher.
    """
    text = await conninfo(link, app)
    await carry_note(link.publisher, link.subscriber, app)
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session:
            if await read_subscription(session, link.name) is not None:
                return
            await make_marker_table(session)
            await session.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(link.name)))
            try:
                async with unlogged(session):
                    await session.execute(_creation(link, session, link.name, text, slot=link.name))
            except psycopg.OperationalError as error:
                if _reached(error):
                    raise
                raise ReplicationFailed(_unreached(link, error)) from None


async def try_reach(link: Link, app: str) -> str:
    """Why the subscriber's server cannot reach the publisher, or may not subscribe; empty when it can.

    A subscription without a slot is made and rolled back, for only the subscriber itself can say.
    """
    text = await conninfo(link, app)
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session:
            try:
                async with unlogged(session):
                    await session.execute(_creation(link, session, f"{link.name}_try", text, slot=None))
                    raise _TriedAndUndone
            except _TriedAndUndone:
                return ""
            except psycopg.DatabaseError as error:
                if error.sqlstate is None:
                    raise
                return plain(str(error.diag.message_primary), 300) if _reached(error) else _unreached(link, error)


async def redirect(link: Link, app: str) -> None:
    """Let the subscription connect anew with what the link says now: another name, host or password."""
    text = await conninfo(link, app)
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session, unlogged(session):
            change = sql.SQL("ALTER SUBSCRIPTION {} CONNECTION {}")
            await session.execute(change.format(sql.Identifier(link.name), sql.Literal(text)))


async def enable(link: Link, app: str) -> None:
    """Let it apply, unless it does. Raises ReplicationFailed when there is none."""
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session:
            there = await read_subscription(session, link.name)
            if there is None:
                raise ReplicationFailed(f"{link.subscriber.where}: there is no subscription {link.name}")
            if not there.enabled:
                await session.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(link.name)))


async def disable(link: Link, app: str) -> None:
    """Let it apply no more, and wait until nothing does. One that is not there is no error."""
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session:
            there = await read_subscription(session, link.name)
            if there is not None and there.enabled:
                await session.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(link.name)))
            deadline = asyncio.get_running_loop().time() + STOP_PATIENCE_S
            while there is not None and there.worker is not None:
                if asyncio.get_running_loop().time() > deadline:
                    raise ReplicationFailed(f"{link.subscriber.where}: pid {there.worker} does not stop applying")
                await asyncio.sleep(LOOK_EVERY_S)
                there = await read_subscription(session, link.name)


async def unsubscribe(link: Link, app: str) -> bool:
    """Drop the subscription, and its origin with it, without asking the publisher, whose slot stays.

    Whether there was one.
    """
    await disable(link, app)
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session:
            there = await read_subscription(session, link.name)
            if there is None:
                return False
            name = sql.Identifier(link.name)
            if there.slot is not None:
                await session.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
            await session.execute(sql.SQL("DROP SUBSCRIPTION IF EXISTS {}").format(name))
            return True


def _creation(link: Link, session: AsyncConnection, name: str, text: str, *, slot: str | None) -> sql.Composed:
    more = ", origin = none" if session.info.server_version >= ORIGIN_SINCE else ""
    return sql.SQL(_CREATE).format(
        name=sql.Identifier(name),
        conninfo=sql.Literal(text),
        publication=sql.Identifier(link.name),
        slot=sql.Identifier(slot) if slot is not None else sql.SQL("NONE"),
        more=sql.SQL(more),
    )


def _reached(error: psycopg.Error) -> bool:
    """Whether the server has said something else than that it could not connect (class 08 of its error codes)."""
    return not (error.sqlstate or "").startswith("08")


def _unreached(link: Link, error: psycopg.Error) -> str:
    said = error.diag.message_primary or "no reason given"
    says = plain(" ".join(said.rpartition("to the publisher: ")[2].split()), 300)
    return f"the server of {link.subscriber.where} cannot reach {link.through.where}: {says}"
