"""The slot: from its making on the publisher keeps every change, and the snapshot of that moment is the copy's start.

Making one waits for every transaction that is writing anywhere on the server, for hours if one is open so long
(https://www.postgresql.org/docs/current/logicaldecoding-explanation.html). So it is made under a deadline, and who
holds it up is named. The server drops one that is not finished.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from switchover.postgres.connect import connect, connect_replicating, told
from switchover.postgres.errors import ReplicationFailed
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database
    from switchover.postgres.replication.link import Link

LOOK_EVERY_S = 0.2
GONE_PATIENCE_S = 15.0
_DEAD = ("lost",)

_SLOT = """
SELECT to_jsonb(s), pg_wal_lsn_diff(s.restart_lsn, '0/0')::int8, pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0')::int8,
  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
    s.restart_lsn)::int8
FROM pg_replication_slots s WHERE s.slot_name = %s
"""
"""As JSON, because each major version has columns that the one before did not know."""

_HOLDING = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.datname, ''), coalesce(a.application_name, ''),
  extract(epoch FROM clock_timestamp() - a.xact_start)::float8, coalesce(a.query, '')
FROM pg_stat_activity a, (SELECT pg_blocking_pids(%(pid)s) AS pids) AS b
WHERE a.pid = ANY (b.pids) OR (a.backend_xid IS NOT NULL AND cardinality(b.pids) > 0 AND a.pid <> %(pid)s
  AND a.xact_start < (SELECT w.query_start FROM pg_stat_activity w WHERE w.pid = %(pid)s))
ORDER BY NOT a.pid = ANY (b.pids), a.xact_start LIMIT 8
"""
"""The one it waits for now, and those whose turn comes: all that were writing when it began."""

_PREPARED = (
    "SELECT gid, owner, database, extract(epoch FROM clock_timestamp() - prepared)::float8 FROM pg_prepared_xacts"
)
_MAKE = "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {}"
_EXPORT = {True: "(SNAPSHOT 'export')", False: "EXPORT_SNAPSHOT"}
"""The words of 15 on, and those before."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as the publisher has it; positions are bytes of the write-ahead log."""

    name: str
    database: str
    plugin: str
    active_pid: int | None
    restart: int | None
    confirmed: int | None
    """Up to here the subscriber has everything on its disk."""
    held_bytes: int | None
    """What the publisher keeps on disk for it."""
    wal_status: str
    """``reserved``, ``extended``, ``unreserved`` (about to be lost) or ``lost``."""
    safe_bytes: int | None
    """What may still be written before it is in danger; None without max_slot_wal_keep_size."""
    why_lost: str

    @property
    def lost(self) -> bool:
        """Whether changes are missing from it for good."""
        return self.wal_status in _DEAD or bool(self.why_lost)

    def begins(self, stamp: str) -> bool:
        """Whether this is the very slot whose snapshot a copy of this stamp was made under, and nothing is missing."""
        return not self.lost and self.confirmed is not None and stamp == stamped(self.name, self.confirmed)


@dataclass(frozen=True, slots=True)
class Blocker:
    """A transaction that the making of a slot waits for."""

    pid: int | None
    """None for a prepared one, which no session has."""
    user: str
    database: str
    application_name: str
    age_s: float | None
    query: str

    def __str__(self) -> str:
        who = f"pid {self.pid}" if self.pid is not None else "prepared transaction"
        age = "" if self.age_s is None else f" since {self.age_s:.0f} s"
        name = f" ({self.application_name})" if self.application_name else ""
        return f"{who} {self.user}{name} in {self.database}{age}: {self.query}"


@dataclass(frozen=True, slots=True)
class HeldSlot:
    """A slot just made; its snapshot lives as long as its session, and until that says anything more."""

    name: str
    start: int
    """Where its changes begin: all before are in the snapshot."""
    snapshot: str
    session: AsyncConnection

    @property
    def stamp(self) -> str:
        """Names this very slot, for the copy made under its snapshot to bear."""
        return stamped(self.name, self.start)

    async def release(self) -> None:
        """Let the snapshot go; the slot stays."""
        await self.session.close()


def stamped(name: str, start: int) -> str:
    """What a copy made under a slot's snapshot bears."""
    return f"{name} {lsn(start)}"


def lsn(position: int) -> str:
    """A position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


async def read_slot(session: AsyncConnection, name: str) -> Slot | None:
    """The slot of that name as it is now; None when there is none."""
    row = await (await session.execute(_SLOT, (name,))).fetchone()
    if row is None:
        return None
    said: dict[str, Any] = row[0]
    why = said.get("invalidation_reason") or ("wal_removed" if said.get("wal_status") == "lost" else "")
    if not why and said.get("conflicting"):
        why = "conflicting"
    return Slot(
        name=name,
        database=plain(said.get("database") or "", 100),
        plugin=said.get("plugin") or "",
        active_pid=said.get("active_pid"),
        restart=row[1],
        confirmed=row[2],
        held_bytes=row[3],
        wal_status=said.get("wal_status") or "",
        safe_bytes=said.get("safe_wal_size"),
        why_lost=why,
    )


async def find_slot(link: Link, app: str) -> Slot | None:
    """The link's slot; None when there is none."""
    with told(link.publisher):
        async with await connect(link.publisher, app) as session:
            return await read_slot(session, link.name)


async def make_slot(link: Link, app: str, *, deadline_s: float, say: Callable[[str], None]) -> HeldSlot:
    """Make the slot and hold its snapshot for a copy. One that is there is dropped first: its snapshot is gone.

    Whether a copy made under that one may go on is for the caller to ask first, by ``Slot.begins``. Raises
    ReplicationFailed when someone follows that one, and naming who holds the new one up when ``deadline_s`` seconds
    have passed; there is no slot then.
    """
    await drop_slot(link.publisher, app, link.name, end_user=False)
    session = await connect_replicating(link.publisher, app)
    try:
        words = _EXPORT[session.info.server_version >= 150000]
        made = sql.SQL(_MAKE).format(sql.Identifier(link.name), sql.SQL(words))
        row = await _patiently(link, app, session, made, deadline_s, say)
    except BaseException:
        await session.close()
        raise
    high, low = str(row[1]).split("/")
    return HeldSlot(link.name, (int(high, 16) << 32) + int(low, 16), str(row[2]), session)


async def make_bare_slot(link: Link, app: str, *, deadline_s: float, say: Callable[[str], None]) -> None:
    """Make the slot unless it is there, without a snapshot: for two sides that are equal already.

    Raises ReplicationFailed as ``make_slot`` does, and when the one that is there has lost changes.
    """
    there = await find_slot(link, app)
    if there is not None and there.lost:
        raise ReplicationFailed(f"{link.publisher.where}: slot {link.name} has lost changes ({there.why_lost})")
    if there is not None:
        return
    with told(link.publisher):
        async with await connect(link.publisher, app) as session:
            made = sql.SQL("SELECT pg_create_logical_replication_slot({}, 'pgoutput')").format(sql.Literal(link.name))
            await _patiently(link, app, session, made, deadline_s, say)


async def drop_slot(db: Database, app: str, name: str, *, end_user: bool = True) -> bool:
    """Drop the slot of that name, after ending the walsender that uses it if that is wished; whether there was one.

    Raises ReplicationFailed when it stays in use.
    """
    deadline = asyncio.get_running_loop().time() + GONE_PATIENCE_S
    found = False
    with told(db):
        async with await connect(db, app) as session:
            while (slot := await read_slot(session, name)) is not None:
                found = True
                if asyncio.get_running_loop().time() > deadline:
                    raise ReplicationFailed(f"{db.where}: slot {name} is in use by pid {slot.active_pid}, and stays so")
                try:
                    if slot.active_pid is None:
                        await session.execute("SELECT pg_drop_replication_slot(%s)", (name,))
                        continue
                    if end_user:
                        await session.execute("SELECT pg_terminate_backend(%s)", (slot.active_pid,))
                except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                    pass  # taken, or dropped by the server, between the two looks
                await asyncio.sleep(LOOK_EVERY_S / 4)
    return found


async def _patiently(  # noqa: PLR0913  what to make, and how long to wait
    link: Link,
    app: str,
    session: AsyncConnection,
    statement: sql.Composed,
    deadline_s: float,
    say: Callable[[str], None],
) -> tuple[Any, ...]:
    """Run what makes a slot; say who holds it up, and give up in time, leaving nothing."""
    deadline = asyncio.get_running_loop().time() + deadline_s
    said = ""
    with told(link.publisher):
        async with await connect(link.publisher, app) as watcher:
            pid = session.info.backend_pid
            making = asyncio.ensure_future(session.execute(statement))
            try:
                while not (await asyncio.wait({making}, timeout=LOOK_EVERY_S))[0]:
                    blockers = "; ".join(str(each) for each in await _holding(watcher, pid))
                    if blockers and blockers.split(" since ")[0] != said:
                        said = blockers.split(" since ")[0]
                        say(f"the slot waits for transactions that were writing when it began: {blockers}")
                    if asyncio.get_running_loop().time() > deadline:
                        by = blockers or "nobody we can see"
                        raise ReplicationFailed(
                            f"{link.publisher.where}: no slot within {deadline_s:g} s, held up by {by}; "
                            "end it or wait for its end, then run again"
                        )
                row = await (await making).fetchone()
            finally:
                if not making.done():
                    await watcher.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    await asyncio.wait({making})
                    making.exception()
                    await _until_gone(watcher, link.name)
    assert row is not None  # a slot that was made is one row
    return tuple(row)


async def _until_gone(watcher: AsyncConnection, name: str) -> None:
    """Wait until the server has dropped the unfinished slot itself."""
    deadline = asyncio.get_running_loop().time() + GONE_PATIENCE_S
    while await read_slot(watcher, name) is not None:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(LOOK_EVERY_S / 4)


async def _holding(watcher: AsyncConnection, pid: int) -> list[Blocker]:
    """Whom the making waits for; pid 0 among the blocking stands for a prepared transaction."""
    rows = await (await watcher.execute(_HOLDING, {"pid": pid})).fetchall()
    found = [
        Blocker(other, plain(user, 60), plain(base, 60), plain(name, 60), age, plain(query, 80))
        for other, user, base, name, age, query in rows
    ]
    blocked = await (await watcher.execute("SELECT 0 = ANY (pg_blocking_pids(%s))", (pid,))).fetchone()
    if blocked == (True,):
        prepared = await (await watcher.execute(_PREPARED)).fetchall()
        found += [Blocker(None, plain(o, 60), plain(d, 60), "", age, plain(gid, 80)) for gid, o, d, age in prepared]
    return found
