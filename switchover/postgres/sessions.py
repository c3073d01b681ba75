"""Who is connected, and the end of sessions that an earlier run left behind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.postgres.connect import MAINTENANCE, connect, database_name, told
from switchover.postgres.errors import PostgresError
from switchover.words import plain

if TYPE_CHECKING:
    from switchover.postgres.connect import Database

LOOK_EVERY_S = 0.05

_END = """
SELECT pid, application_name, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE starts_with(application_name, %s) AND application_name <> %s
"""

_CLIENTS = """
SELECT pid, coalesce(usename, ''), datname, coalesce(host(client_addr), ''), application_name, coalesce(state, ''),
       coalesce(extract(epoch FROM clock_timestamp() - backend_start), 0)::float8, coalesce(query, '')
FROM pg_stat_activity
WHERE datname = %s AND usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
AND pid NOT IN (SELECT pid FROM pg_stat_replication) AND NOT starts_with(application_name, %s)
AND pid <> pg_backend_pid() ORDER BY pid
"""
"""A role without pg_read_all_stats is not told backend_type, address, state and query of others' sessions."""


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
            pid, plain(user, 100), plain(base, 100), address, plain(said, 100), state, max(age, 0.0), plain(query, 200)
        )
        for pid, user, base, address, said, state, age, query in rows
    )
