"""Who is connected, who came back, and the end of sessions: an earlier run's, and those of clients."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import FenceFailed, PostgresError
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

LOOK_EVERY_S = 0.05
GONE_PATIENCE_S = 15.0
GONE_LOOK_EVERY_S = 0.02

_END = """
SELECT pid, application_name, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE starts_with(application_name, %s) AND application_name <> %s
"""

_CLIENTS = """
SELECT pid, coalesce(usename, ''), datname, coalesce(host(client_addr), ''), application_name, coalesce(state, ''),
       coalesce(extract(epoch FROM clock_timestamp() - backend_start), 0)::float8, coalesce(query, ''), backend_start
FROM pg_stat_activity
WHERE datname = %s AND usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
AND pid NOT IN (SELECT pid FROM pg_stat_replication) AND NOT starts_with(application_name, %s)
AND pid <> pg_backend_pid() ORDER BY pid
"""
"""A role without pg_read_all_stats is not told backend_type, address, state, start and query of others' sessions."""

_END_CLIENTS = """
SELECT pid, coalesce(backend_start::text, ''), who, CASE WHEN may THEN pg_terminate_backend(pid) END FROM (
  SELECT a.pid, a.backend_start, trim(coalesce(a.usename, '') || ' ' || a.application_name) AS who,
         me.rolsuper OR (NOT coalesce(r.rolsuper, true) AND (pg_has_role(a.usesysid, 'USAGE')
                         OR pg_has_role('pg_signal_backend', 'USAGE'))) AS may
  FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid, pg_roles me
  WHERE me.rolname = current_user AND a.datname = %s AND a.usesysid IS NOT NULL
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND a.pid NOT IN (SELECT pid FROM pg_stat_replication)
  AND a.pid <> pg_backend_pid() AND NOT starts_with(a.application_name, %s)
) AS c
"""
"""Ends every client whom we may end: replication and autovacuum stay, and so do sessions of ours.

A role without pg_read_all_stats is not told the backend_type of others' sessions."""


@dataclass(frozen=True, slots=True)
class Client:
    """One client session of a database."""

    pid: int
    user: str
    database: str
    address: str
    application_name: str
    state: str
    age_s: float
    query: str
    connected: datetime | None = None
    """By the server's clock; None where we are not told."""

    def to_json(self) -> dict[str, Json]:
        """Who it is, without what it does: a query may hold a secret."""
        return {"pid": self.pid, "user": self.user, "address": self.address, "application_name": self.application_name}


@dataclass(frozen=True, slots=True, order=True)
class ClientGroup:
    """The sessions of one application, as one role, from one address: what must be repointed once."""

    address: str
    application_name: str
    user: str
    count: int
    oldest_s: float

    def to_json(self) -> dict[str, Json]:
        return {
            "address": self.address,
            "application_name": self.application_name,
            "user": self.user,
            "count": self.count,
            "oldest_s": round(self.oldest_s, 1),
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """Which clients were ended, and which may only be ended by others."""

    who: tuple[str, ...]
    stubborn: tuple[str, ...] = ()
    left: frozenset[int] = frozenset()
    """The pids of the stubborn."""


async def end_sessions(db: Database, app_prefix: str, keep: str, patience_s: float) -> tuple[str, ...]:
    """End every session of the server whose application_name starts so, but ``keep``, and wait until they are gone.

    Returns the names. Raises Unreachable when the server cannot be asked, PostgresError when one stays.
    """
    ours = db.named(MAINTENANCE)
    deadline = asyncio.get_running_loop().time() + patience_s
    ended: set[str] = set()
    with told(ours):
        async with await connect(ours, keep) as session:
            while left := await (await session.execute(_END, (app_prefix, keep))).fetchall():
                ended |= {plain(name, 100) for _, name, _ in left}
                if asyncio.get_running_loop().time() > deadline:
                    pids = ", ".join(str(pid) for pid, _, _ in left)
                    raise PostgresError(f"{ours.where}: sessions of an earlier run do not end: pid {pids}")
                await asyncio.sleep(LOOK_EVERY_S)
    return tuple(sorted(ended))


async def clients(db: Database, app: str, but_prefix: str) -> tuple[Client, ...]:
    """The client sessions of the database, ours left out; asked from elsewhere on the server."""
    name = await database_name(db, app)
    ours = db.named(MAINTENANCE)
    with told(ours):
        async with await connect(ours, app) as session:
            rows = await (await session.execute(_CLIENTS, (name, but_prefix))).fetchall()
    return tuple(
        Client(
            pid,
            plain(user, 100),
            plain(base, 100),
            address,
            plain(said, 100),
            state,
            max(age, 0.0),
            plain(query, 200),
            since,
        )
        for pid, user, base, address, said, state, age, query, since in rows
    )


def by_client(found: Iterable[Client]) -> tuple[ClientGroup, ...]:
    """The clients by address, application and role, sorted so: who must be repointed."""
    ages: dict[tuple[str, str, str], list[float]] = {}
    for each in found:
        ages.setdefault((each.address, each.application_name, each.user), []).append(each.age_s)
    return tuple(sorted(ClientGroup(*who, len(each), max(each)) for who, each in ages.items()))


def came_back(now: Iterable[Client], stood_at: datetime, left: Collection[int]) -> tuple[Client, ...]:
    """Of the clients there are now, those who connected after ``stood_at``, by the server's clock.

    Where the server does not tell us when, it is whoever was not ``left`` there. A client that is refused by the
    connection limit never becomes a session, so it leaves no trace here: the server's log alone knows it.
    """
    return tuple(
        each for each in now if (each.pid not in left if each.connected is None else each.connected > stood_at)
    )


async def end_clients(
    session: AsyncConnection, name: str, app_prefix: str
) -> tuple[set[tuple[tuple[int, str], str]], list[tuple[int, str]]]:
    """End every client but ours, once; who was ended, by process, and who may not be."""
    ended, stubborn = set(), []
    for pid, since, who, done in await (await session.execute(_END_CLIENTS, (name, app_prefix))).fetchall():
        if done is None:
            stubborn.append((pid, f"pid {pid} {plain(who, 100)} could not be ended: only a superuser may"))
        else:
            ended.add(((pid, since), plain(who, 100)))
    return ended, stubborn


async def end_and_wait(session: AsyncConnection, name: str, app_prefix: str) -> Ended:
    """End who is connected at this moment and wait until they are gone; newcomers meet every layer at once.

    Raises FenceFailed naming those who do not go.
    """
    first, stubborn = await end_clients(session, name, app_prefix)
    deadline = asyncio.get_running_loop().time() + GONE_PATIENCE_S
    left = first
    while left:
        left = first & (await end_clients(session, name, app_prefix))[0]
        if left and asyncio.get_running_loop().time() > deadline:
            pids = ", ".join(str(pid) for (pid, _), _ in sorted(left))
            raise FenceFailed(f"sessions of {plain(name, 100)} do not end: pid {pids}")
        await asyncio.sleep(GONE_LOOK_EVERY_S if left else 0)
    return Ended(
        tuple(who for _, who in sorted(first)),
        tuple(says for _, says in stubborn),
        frozenset(pid for pid, _ in stubborn),
    )
