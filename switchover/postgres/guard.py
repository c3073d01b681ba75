"""The second lock, where the truth is: an advisory lock, and a row that remembers how far the plan has come."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.json import Jsonb

from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import Occupied, Superseded, Unreachable
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

LOCK_CLASS = 0x5357_4F56
"""The first of the two keys of our advisory locks ("SWOV")."""

TABLES = ("run", "fact", "marker")
"""Our own tables, all that schema switchover of a database holds."""

_MAKE = (
    "CREATE SCHEMA IF NOT EXISTS switchover",
    "CREATE TABLE IF NOT EXISTS switchover.run (plan_id text PRIMARY KEY, epoch int NOT NULL, seq int NOT NULL, "
    "head text NOT NULL, who text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE IF NOT EXISTS switchover.fact (key text PRIMARY KEY, value jsonb NOT NULL)",
)

_ABSENT = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)

_HOLDER = """
SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'the host itself')
FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND d.datname = current_database()
AND l.classid::int8 = %s AND l.objid::int8 = %s
"""
"""pg_locks shows the two keys of an advisory lock as unsigned numbers (PostgreSQL manual, pg_locks)."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """What the target remembers of a plan."""

    epoch: int
    seq: int
    head: str
    who: str
    at: str


async def hold_advisory(session: AsyncConnection, plan_id: str) -> None:
    """Take the plan's advisory lock for as long as the session lives. Raises Occupied, naming the holder."""
    key = int.from_bytes(hashlib.sha256(plan_id.encode()).digest()[:4], "big", signed=True)
    found = await session.execute("SELECT pg_try_advisory_lock(%s::int4, %s::int4)", (LOCK_CLASS, key))
    row = await found.fetchone()
    if row is not None and row[0]:
        return
    holder = await (await session.execute(_HOLDER, (LOCK_CLASS, key % 2**32))).fetchone()
    says = f"pid {holder[0]}, {plain(holder[1], 100)}, from {holder[2]}" if holder else "a session that has just gone"
    raise Occupied(f"another run of this plan is at work on the server: {says}; wait for it or end it")


async def read_run(db: Database, app: str, plan_id: str) -> RunRow | None:
    """What the target remembers of the plan; None when it remembers nothing, or is not there."""
    row = await _read(
        db, app, "SELECT epoch, seq, head, who, at::text FROM switchover.run WHERE plan_id = %s", (plan_id,)
    )
    return RunRow(*row) if row is not None else None


async def write_run(db: Database, app: str, plan_id: str, row: RunRow) -> None:
    """Remember how far the plan has come. Raises Superseded when the target has seen a newer run."""
    with told(db):
        async with await connect(db, app) as session:
            await _make(session)
            found = await session.execute(
                "INSERT INTO switchover.run AS r (plan_id, epoch, seq, head, who) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (plan_id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, "
                "head = excluded.head, who = excluded.who, at = now() WHERE r.epoch <= excluded.epoch RETURNING 1",
                (plan_id, row.epoch, row.seq, row.head, row.who),
            )
            if await found.fetchone() is not None:
                return
            newer = await session.execute("SELECT epoch, who FROM switchover.run WHERE plan_id = %s", (plan_id,))
            epoch, who = await newer.fetchone() or ("?", "?")
    raise Superseded(f"a newer run, epoch {epoch} by {plain(who, 100)}, has taken over; this one stops")


async def read_fact(db: Database, app: str, key: str) -> Json:
    """What was noted in the database itself under a key; None when nothing was, or the database is not there."""
    row = await _read(db, app, "SELECT value FROM switchover.fact WHERE key = %s", (key,))
    value: Json = row[0] if row is not None else None
    return value


async def write_fact(db: Database, app: str, key: str, value: Json) -> None:
    """Note something in the database itself, so that it travels with the database whatever its name becomes."""
    with told(db):
        async with await connect(db, app) as session:
            await note(session, key, value)


async def drop_fact(db: Database, app: str, key: str) -> None:
    """Forget a note; one that was never made is no error."""
    with told(db):
        async with await connect(db, app) as session:
            await forget(session, key)


async def note(session: AsyncConnection, key: str, value: Json) -> None:
    """Write a fact in a session of one's own, so that it holds exactly when the session's transaction does."""
    await _make(session)
    await session.execute(
        "INSERT INTO switchover.fact (key, value) VALUES (%s, %s) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, Jsonb(value)),
    )


async def noted(session: AsyncConnection, key: str) -> Json:
    """The fact as the session's transaction sees it; None when there is none."""
    if not await _has_facts(session):
        return None
    row = await (await session.execute("SELECT value FROM switchover.fact WHERE key = %s", (key,))).fetchone()
    value: Json = row[0] if row is not None else None
    return value


async def forget(session: AsyncConnection, key: str) -> None:
    """Drop a fact in a session of one's own; one that was never written is no error."""
    if await _has_facts(session):
        await session.execute("DELETE FROM switchover.fact WHERE key = %s", (key,))


async def _has_facts(session: AsyncConnection) -> bool:
    found = await session.execute("SELECT to_regclass('switchover.fact') IS NOT NULL")
    return await found.fetchone() == (True,)


async def _read(db: Database, app: str, query: str, params: tuple[str, ...]) -> tuple[Any, ...] | None:
    """One row; None as well when the table, the schema or the database is not there."""
    try:
        session = await connect(db, app)
    except Unreachable:
        if await _is_there(db, app):
            raise
        return None
    with told(db):
        async with session:
            try:
                found = await session.execute(query.encode(), params)
            except _ABSENT:
                return None
            return await found.fetchone()


async def _is_there(db: Database, app: str) -> bool:
    name = await database_name(db, app)
    ours = db.named(MAINTENANCE)
    with told(ours):
        async with await connect(ours, app) as session:
            found = await session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            return await found.fetchone() is not None


async def _make(session: AsyncConnection) -> None:
    """Our tables are there from here on; made only when they are not, and then together."""
    found = await session.execute(
        "SELECT to_regclass('switchover.run') IS NOT NULL AND to_regclass('switchover.fact') IS NOT NULL"
    )
    if await found.fetchone() != (True,):
        async with session.transaction():
            await session.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK_CLASS,))
            for statement in _MAKE:
                await session.execute(statement.encode())
