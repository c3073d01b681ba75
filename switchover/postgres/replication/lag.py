"""How far the subscriber is behind, and how each part of a link is: looked at from both sides, judged elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from switchover.postgres.connect import connect, told
from switchover.postgres.replication.published import Published, read_published
from switchover.postgres.replication.slot import Slot, read_slot
from switchover.postgres.replication.subscription import Subscription, read_subscription
from switchover.postgres.together import both

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.replication.link import Link

KEPT = 2000
"""Samples of the publisher's position that are remembered; of more, the older ones lie wider apart."""

_POSITION = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8"
_SENDER = """
SELECT r.pid, coalesce(r.state, ''), pg_wal_lsn_diff(r.sent_lsn, '0/0')::int8,
  pg_wal_lsn_diff(r.flush_lsn, '0/0')::int8
FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = %s
"""
_OBJECTS = "SELECT count(*), coalesce(max(oid::int8), 0) FROM pg_largeobject_metadata"
_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname), r.srsubstate::text FROM pg_subscription_rel r
JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.srsubid = %s
"""
_ERRORS = "SELECT to_jsonb(s) FROM pg_stat_subscription_stats s WHERE s.subid = %s"
"""As JSON: PostgreSQL 18 also counts conflicts, each kind in a column of its own."""
_ERRORS_SINCE = 150000


@dataclass(frozen=True, slots=True)
class Sender:
    """The walsender that reads the slot; positions are bytes of the write-ahead log."""

    pid: int
    state: str
    sent: int | None
    flushed: int | None


@dataclass(frozen=True, slots=True)
class LargeObjects:
    """Replication does not carry them; a change of their bytes alone is not seen by this."""

    count: int
    highest: int


@dataclass(frozen=True, slots=True)
class PublisherSide:
    """What the publisher knows."""

    position: int
    """The end of its write-ahead log at this moment."""
    slot: Slot | None
    sender: Sender | None
    published: Published
    objects: LargeObjects


@dataclass(frozen=True, slots=True)
class SubscriberSide:
    """What the subscriber knows."""

    subscription: Subscription | None
    tables: tuple[tuple[str, str], ...]
    """Each table with its state; ``r`` is ready (pg_subscription_rel)."""
    apply_errors: int
    """Since its statistics began; they are counted from PostgreSQL 15 on."""
    conflicts: tuple[tuple[str, int], ...]
    """By kind, those that there were; told from PostgreSQL 18 on."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Both sides of a link, and how far the one is behind the other."""

    link: Link
    publisher: PublisherSide
    subscriber: SubscriberSide

    @property
    def bytes(self) -> int | None:
        """What the publisher has written and the subscriber does not have on its disk; None when nobody knows."""
        slot = self.publisher.slot
        return None if slot is None or slot.confirmed is None else max(0, self.publisher.position - slot.confirmed)


@dataclass(slots=True)
class Trail:
    """Where the publisher was when: from it follows how many seconds the subscriber is behind."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def add(self, at: float, position: int) -> None:
        if len(self.samples) >= KEPT:
            del self.samples[1::2]
        self.samples.append((at, position))

    def seconds_behind(self, confirmed: int, now: float) -> float | None:
        """How long ago the publisher stood where the subscriber is; None when that was before the trail began."""
        passed = next((number for number, (_, position) in enumerate(self.samples) if position > confirmed), None)
        if passed is None:
            return 0.0
        return None if passed == 0 else max(0.0, now - self.samples[passed][0])


async def look(link: Link, app: str) -> Lag:
    """Look at both sides at once, by sessions of their own."""

    async def there() -> PublisherSide:
        with told(link.publisher):
            async with await connect(link.publisher, app) as session:
                return await look_at_publisher(session, link)

    async def here() -> SubscriberSide:
        with told(link.subscriber):
            async with await connect(link.subscriber, app) as session:
                return await look_at_subscriber(session, link)

    return Lag(link, *await both(there(), here()))


async def large_objects(db: Database, app: str) -> LargeObjects:
    """The large objects of one database."""
    with told(db):
        async with await connect(db, app) as session:
            return LargeObjects(*await _row(session, _OBJECTS))


async def look_at_publisher(session: AsyncConnection, link: Link) -> PublisherSide:
    """What the publisher knows, by a session there is."""
    slot = await read_slot(session, link.name)
    sender = await (await session.execute(_SENDER, (link.name,))).fetchone()
    published = await read_published(session, link.name)
    objects = LargeObjects(*await _row(session, _OBJECTS))
    # Last, so that the subscriber is never said to be less far behind than it is.
    position = await read_position(session)
    return PublisherSide(position, slot, Sender(*sender) if sender else None, published, objects)


async def read_position(session: AsyncConnection) -> int:
    """The end of what the server has written of its log."""
    position: int = (await _row(session, _POSITION))[0]
    return position


async def look_at_subscriber(session: AsyncConnection, link: Link) -> SubscriberSide:
    """What the subscriber knows, by a session there is."""
    subscription = await read_subscription(session, link.name)
    if subscription is None:
        return SubscriberSide(None, (), 0, ())
    tables = await (await session.execute(_TABLES, (subscription.oid,))).fetchall()
    counted: dict[str, Any] = {}
    if session.info.server_version >= _ERRORS_SINCE:
        row = await (await session.execute(_ERRORS, (subscription.oid,))).fetchone()
        counted = row[0] if row is not None else {}
    conflicts = sorted((name, number) for name, number in counted.items() if name.startswith("confl_") and number)
    return SubscriberSide(
        subscription, tuple(sorted(map(tuple, tables))), int(counted.get("apply_error_count") or 0), tuple(conflicts)
    )


async def _row(session: AsyncConnection, query: str) -> tuple[Any, ...]:
    row = await (await session.execute(query.encode())).fetchone()
    assert row is not None  # these have one row
    return tuple(row)
