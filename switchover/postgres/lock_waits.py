"""Who holds the locks that ours wait for: pid, role, since when, and with which words."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from switchover.postgres.connect import connect
from switchover.postgres.errors import CopyFailed, Refused
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

LOOK_EVERY_S = 0.25
FRESH_S = 5.0
"""So long after a wait its end in vain may become known: the server ends it first, then the program itself ends."""


_BLOCKERS = """
SELECT DISTINCT b.pid, coalesce(a.usename, ''), extract(epoch FROM clock_timestamp() - a.xact_start)::int8,
  coalesce(a.query, ''), a.xact_start
FROM unnest(%(pids)s::int[]) AS w(pid), unnest(pg_blocking_pids(w.pid)) AS b(pid)
LEFT JOIN pg_stat_activity a ON a.pid = b.pid
WHERE b.pid <> ALL (%(pids)s) ORDER BY a.xact_start NULLS LAST LIMIT 5
"""

_OURS = """
SELECT pid FROM pg_stat_activity
WHERE application_name = %s AND datname = current_database() AND wait_event_type = 'Lock'
"""


def waiting(who: str) -> str:
    """What a copy says of its waiting, and when it is over."""
    return f"waiting for a lock of the source, held up by {who}" if who else "the lock is granted"


async def blockers(watcher: AsyncConnection, pids: list[int]) -> str:
    """Who keeps these sessions waiting, oldest transaction first; pid 0 stands for a prepared transaction."""
    rows = await (await watcher.execute(_BLOCKERS, {"pids": pids})).fetchall()
    return "; ".join(
        f"pid {pid} {plain(user, 60)} since {_age(age)}: {plain(query, 80)}" if pid else "a prepared transaction"
        for pid, user, age, query, _ in rows
    )


@asynccontextmanager
async def blockers_named(db: Database, app: str, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Say who keeps our sessions waiting as long as they wait, and once "" when they wait no more.

    Raises CopyFailed with who it was when the block ends by an error of the server's while they wait, or right after.
    """
    clock = asyncio.get_running_loop().time
    waits, waited_for, last = False, "", 0.0

    async def watch() -> None:
        nonlocal waits, waited_for, last
        async with await connect(db, app) as session:
            while True:
                ours = [row[0] for row in await (await session.execute(_OURS, (app,))).fetchall()]
                found = await blockers(session, ours) if ours else ""
                if found or waits:
                    say(found)
                waits = bool(found)
                if found:
                    waited_for, last = found, clock()
                await asyncio.sleep(LOOK_EVERY_S)

    task = asyncio.ensure_future(watch())
    try:
        yield
    except (CopyFailed, Refused) as failed:
        if not waited_for or clock() - last > FRESH_S:
            raise
        raise CopyFailed(f"{failed}; held up by {waited_for}; end it, then run again") from None
    finally:
        task.cancel()
        # The copy itself says what broke; a watcher that lost its session says nothing new.
        await asyncio.gather(task, return_exceptions=True)


def _age(seconds: int | None) -> str:
    """A role without pg_read_all_stats is not told since when others' transactions run."""
    return "a time we are not told" if seconds is None else f"{seconds} s"
