"""The second lock, where the truth is: an advisory lock, and a row that remembers how far the plan has come."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.types.json import Jsonb

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import Occupied, Superseded

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

LOCK_CLASS = 0x5357_4F56
"""The first of the two keys of our advisory locks ("SWOV")."""

_MAKE = (
    "CREATE SCHEMA IF NOT EXISTS switchover",
    "CREATE TABLE IF NOT EXISTS switchover.run (plan_id text PRIMARY KEY, epoch int NOT NULL, seq int NOT NULL, "
    "head text NOT NULL, who text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE IF NOT EXISTS switchover.fact (key text PRIMARY KEY, value jsonb NOT NULL)",
)


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
    found = await session.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, key))
    row = await found.fetchone()
    if row is not None and row[0]:
        return
    found = await session.execute(
        "SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'the host itself') FROM pg_locks l "
        "JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.classid = %s AND l.granted",
        (LOCK_CLASS,),
    )
    holder = await found.fetchone()
    says = f"pid {holder[0]}, {holder[1]}, from {holder[2]}" if holder else "a session that has just gone"
    raise Occupied(f"another run of this plan is at work on the server: {says}; wait for it or end it")


async def read_run(db: Database, app: str, plan_id: str) -> RunRow | None:
    """What the target remembers of the plan; None when it remembers nothing."""
    with told(db):
        async with await connect(db, app) as session:
            try:
                found = await session.execute(
                    "SELECT epoch, seq, head, who, at::text FROM switchover.run WHERE plan_id = %s",
                    (plan_id,),
                )
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return None
            row = await found.fetchone()
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
            if await found.fetchone() is None:
                newer = await session.execute("SELECT epoch, who FROM switchover.run WHERE plan_id = %s", (plan_id,))
                said = await newer.fetchone()
                raise Superseded(
                    f"a newer run, number {said[0] if said else '?'} by {said[1] if said else '?'}, has taken over"
                )


async def read_fact(db: Database, app: str, key: str) -> Json:
    """What was noted in the database itself under a key; None when nothing was."""
    with told(db):
        async with await connect(db, app) as session:
            try:
                found = await session.execute("SELECT value FROM switchover.fact WHERE key = %s", (key,))
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return None
            row = await found.fetchone()
            value: Json = row[0] if row is not None else None
            return value


async def write_fact(db: Database, app: str, key: str, value: Json) -> None:
    """Note something in the database itself, so that it travels with the database whatever its name becomes."""
    with told(db):
        async with await connect(db, app) as session:
            await _make(session)
            await session.execute(
                "INSERT INTO switchover.fact (key, value) VALUES (%s, %s) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, Jsonb(value)),
            )


async def _make(session: AsyncConnection) -> None:
    for statement in _MAKE:
        await session.execute(statement)
