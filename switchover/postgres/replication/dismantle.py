"""The end of a link: nothing of it stays on either side, also when one of them cannot be asked just now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.plan import names
from switchover.postgres.connect import connect, told
from switchover.postgres.errors import PostgresError
from switchover.postgres.guard import drop_fact
from switchover.postgres.replication.identity import restore_identities
from switchover.postgres.replication.marker import drop_marker_table
from switchover.postgres.replication.slot import drop_slot, read_slot
from switchover.postgres.replication.subscription import read_subscription, unsubscribe
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchover.postgres.connect import Database
    from switchover.postgres.replication.link import Link

_OTHERS = """
SELECT EXISTS (SELECT FROM pg_publication WHERE starts_with(pubname, %s)) OR EXISTS (
  SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
  WHERE d.datname = current_database() AND starts_with(s.subname, %s))
"""


@dataclass(frozen=True, slots=True)
class Dismantled:
    """What was removed, and what is still there because its side could not be asked or refused."""

    removed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def done(self) -> bool:
        return not self.left


async def remains(link: Link, app: str) -> tuple[str, ...]:
    """What there still is of a link on either side, except what serves every link of a database."""
    found = []
    with told(link.subscriber):
        async with await connect(link.subscriber, app) as session:
            if await read_subscription(session, link.name) is not None:
                found.append(f"subscription {link.name} on {link.subscriber.where}")
    with told(link.publisher):
        async with await connect(link.publisher, app) as session:
            if await read_slot(session, link.name) is not None:
                found.append(f"slot {link.name} on {link.publisher.where}")
            there = await session.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (link.name,))
            if await there.fetchone() is not None:
                found.append(f"publication {link.name} on {link.publisher.where}")
    return tuple(found)


async def dismantle(link: Link, app: str) -> Dismantled:
    """Remove the subscription first, so that nothing is applied any more, then the slot and the publication.

    Our table of markers goes, and replica identities are as before, on each side that no other link of ours uses.
    What cannot be removed is said, and removed when it is called again.
    """
    removed: list[str] = []
    left: list[str] = []

    async def attempt(what: str, work: Callable[[], Awaitable[str]]) -> None:
        try:
            said = await work()
        except PostgresError as error:
            left.append(f"{what}: {error}")
        else:
            removed.extend([said] if said else [])

    here, there = link.subscriber, link.publisher
    await attempt(f"subscription {link.name} on {here.where}", lambda: _end_subscription(link, app))
    await attempt(
        f"slot {link.name} on {there.where}, which keeps the write-ahead log until it is dropped",
        lambda: _end_slot(link, app),
    )
    await attempt(f"publication {link.name} on {there.where}", lambda: _end_publication(link, app))
    for db in (here, there):
        await attempt(f"marker table and replica identities on {db.where}", lambda db=db: _tidy(db, app))  # type: ignore[misc]
    return Dismantled(tuple(removed), tuple(left))


async def _end_subscription(link: Link, app: str) -> str:
    was = await unsubscribe(link, app)
    return f"subscription {link.name} on {link.subscriber.where}" if was else ""


async def _end_slot(link: Link, app: str) -> str:
    was = await drop_slot(link.publisher, app, link.name)
    return f"slot {link.name} on {link.publisher.where}" if was else ""


async def _end_publication(link: Link, app: str) -> str:
    with told(link.publisher):
        async with await connect(link.publisher, app) as session:
            found = await session.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (link.name,))
            was = await found.fetchone() is not None
            await session.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(link.name)))
    await drop_fact(link.publisher, app, f"published {link.name}")
    return f"publication {link.name} on {link.publisher.where}" if was else ""


async def _tidy(db: Database, app: str) -> str:
    """What serves every link of a database goes with the last of them."""
    with told(db):
        async with await connect(db, app) as session:
            if await (await session.execute(_OTHERS, (names.LINK, names.LINK))).fetchone() == (True,):
                return ""
            dropped = await drop_marker_table(session)
    restored = await restore_identities(db, app)
    parts = [*(["marker table"] if dropped else []), *([count(restored, "replica identity")] if restored else [])]
    return plain(f"{' and '.join(parts)} on {db.where}", 300) if parts else ""
