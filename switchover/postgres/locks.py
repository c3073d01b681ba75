"""SHARE locks on every table, held by one session: reads go on, writes wait, and no client can override them.

A superuser locks two catalogs as well: nobody makes a table or a large object then, whatever he overrides.

https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import psycopg
from psycopg import sql

from switchover.postgres.errors import FenceFailed
from switchover.postgres.lock_waits import LOOK_EVERY_S, blockers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

LOCK_PATIENCE = "2s"
PAUSES_S = (0.1, 0.2, 0.5, 1.0)
RELEASE_TRIES = 100
RELEASE_PAUSE_S = 0.02
CHUNK = 200
"""Tables locked in one round trip."""

TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover')
AND n.nspname !~ '^pg_(toast|temp)' ORDER BY c.oid
"""
"""In the order of their making, which is the same in every attempt."""

CATALOGS = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pg_catalog' AND c.relname IN ('pg_class', 'pg_largeobject_metadata')
AND has_table_privilege(c.oid, '{share}') ORDER BY c.oid
"""
"""Those of the catalogs that we may lock: a new table is a row of the one, a new large object of the other.

pg_largeobject stays free: whoever reads a large object, pg_dump as well, takes ROW EXCLUSIVE on it
(open_lo_relation in inv_api.c).
"""


def share_privileges(version_num: int) -> str:
    """Any of these on a table allows LOCK … IN SHARE MODE (LockTableAclCheck in lockcmds.c)."""
    return "UPDATE, DELETE, TRUNCATE" + (", MAINTAIN" if version_num >= 170000 else "")


_WAITERS = "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"

Name: TypeAlias = tuple[str, str]
"""A table's schema and its own name."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Until when to try (the loop's clock), whom to tell, and what to do after an attempt that failed."""

    deadline: float
    say: Callable[[str], None]
    between: Callable[[], Awaitable[None]]


async def hold_all(session: AsyncConnection, watcher: AsyncConnection, patience: Patience) -> frozenset[Name]:
    """Lock every table in a transaction of ``session``, again until all are held; returns what is locked.

    Raises FenceFailed naming who is in the way when the deadline passes.
    """
    attempt = 0
    while True:
        await session.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        await session.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_PATIENCE)))
        locked, held_up_by = await _attempt(session, watcher)
        if not held_up_by:
            return frozenset(locked)
        await session.execute("ROLLBACK")
        patience.say(f"waiting for locks, held up by {held_up_by}")
        if asyncio.get_running_loop().time() > patience.deadline:
            raise FenceFailed(
                f"not every table could be locked in time; held up by {held_up_by}; end it, then run again"
            )
        await patience.between()
        await asyncio.sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        attempt += 1


async def end_waiters(watcher: AsyncConnection, holder: int) -> None:
    """End whoever waits for the holder's locks, until nobody does; those who keep coming back only for a while.

    One whom we may not end stays, and goes on when the locks go: the preflight says so beforehand.
    """
    spared: set[int] = set()
    for _ in range(RELEASE_TRIES):
        waiting = {row[0] for row in await (await watcher.execute(_WAITERS, (holder,))).fetchall()}
        if not waiting - spared:
            return
        for pid in waiting - spared:
            try:
                await watcher.execute("SELECT pg_terminate_backend(%s)", (pid,))
            except psycopg.errors.InsufficientPrivilege:
                spared.add(pid)
        await asyncio.sleep(RELEASE_PAUSE_S)


async def _attempt(session: AsyncConnection, watcher: AsyncConnection) -> tuple[set[Name], str]:
    """Lock until no table is left that is not locked, also one made meanwhile; or who is in the way."""
    locked: set[Name] = set()
    while left := [row for row in await _lockable(session) if row not in locked]:
        for start in range(0, len(left), CHUNK):
            held_up_by = await _lock(session, watcher, left[start : start + CHUNK])
            if held_up_by:
                return locked, held_up_by
        locked.update(left)
    return locked, ""


async def _lockable(session: AsyncConnection) -> list[Name]:
    """The tables, and then the catalogs, so that nobody waits for those while we wait for a table."""
    catalogs = CATALOGS.format(share=share_privileges(session.info.server_version))
    return [
        *await (await session.execute(TABLES)).fetchall(),
        *await (await session.execute(catalogs.encode())).fetchall(),
    ]


async def _lock(session: AsyncConnection, watcher: AsyncConnection, tables: list[Name]) -> str:
    """Lock some tables; who was in the way when they could not be."""
    names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*table)) for table in tables)
    locking = asyncio.ensure_future(session.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names)))
    held_up_by = ""
    try:
        while not (await asyncio.wait({locking}, timeout=LOOK_EVERY_S))[0]:
            held_up_by = await blockers(watcher, [session.info.backend_pid]) or held_up_by
        await locking
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return held_up_by or "a session that has just gone"
    except psycopg.errors.UndefinedTable:
        return "a table dropped meanwhile"
    except psycopg.errors.OutOfMemory:
        raise FenceFailed("the tables do not fit the server's lock table: raise max_locks_per_transaction") from None
    finally:
        if not locking.done():
            locking.cancel()
            await asyncio.wait({locking})
    return ""
