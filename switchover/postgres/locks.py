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
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

LOCK_PATIENCE = "2s"
LOOK_EVERY_S = 0.25
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


_BLOCKERS = """
SELECT b.pid, coalesce(a.usename, ''), extract(epoch FROM clock_timestamp() - a.xact_start)::int8,
       coalesce(a.query, '')
FROM unnest(pg_blocking_pids(%s)) AS b(pid) LEFT JOIN pg_stat_activity a USING (pid)
ORDER BY a.xact_start NULLS LAST LIMIT 5
"""

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
        locked, blockers = await _attempt(session, watcher)
        if not blockers:
            return frozenset(locked)
        await session.execute("ROLLBACK")
        patience.say(f"waiting for locks, held up by {blockers}")
        if asyncio.get_running_loop().time() > patience.deadline:
            raise FenceFailed(f"not every table could be locked in time; held up by {blockers}; end it, then run again")
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
            blockers = await _lock(session, watcher, left[start : start + CHUNK])
            if blockers:
                return locked, blockers
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
    blockers = ""
    try:
        while not (await asyncio.wait({locking}, timeout=LOOK_EVERY_S))[0]:
            blockers = await _blockers(watcher, session.info.backend_pid) or blockers
        await locking
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return blockers or "a session that has just gone"
    except psycopg.errors.UndefinedTable:
        return "a table dropped meanwhile"
    except psycopg.errors.OutOfMemory:
        raise FenceFailed("the tables do not fit the server's lock table: raise max_locks_per_transaction") from None
    finally:
        if not locking.done():
            locking.cancel()
            await asyncio.wait({locking})
    return ""


async def _blockers(watcher: AsyncConnection, pid: int) -> str:
    """Who keeps a session waiting, oldest transaction first; pid 0 stands for a prepared transaction."""
    rows = await (await watcher.execute(_BLOCKERS, (pid,))).fetchall()
    return "; ".join(
        f"pid {pid} {plain(user, 60)} since {_age(age)}: {plain(query, 80)}" if pid else "a prepared transaction"
        for pid, user, age, query in rows
    )


def _age(seconds: int | None) -> str:
    """A role without pg_read_all_stats is not told since when others' transactions run."""
    return "a time we are not told" if seconds is None else f"{seconds} s"
