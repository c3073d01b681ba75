"""Sessions that are kept after their use: where every millisecond counts, the next use finds one open.

A new session costs a process on the server and a handshake. One that is kept is as good as new: nothing is open in
it, and whoever gets it starts by DISCARD ALL (https://www.postgresql.org/docs/current/sql-discard.html).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    Store: TypeAlias = "dict[object, list[Session]]"

_STORE: ContextVar[Store | None] = ContextVar("kept sessions", default=None)


class Session(psycopg.AsyncConnection):
    """A session that goes back to where it is kept when its ``async with`` ends well; ``close`` closes it."""

    key: object = None
    """Whose it is: the database, by whatever says where it is, and our name there."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kept = _STORE.get()
        idle = not self.closed and self.info.transaction_status is TransactionStatus.IDLE
        if kept is None or kind is not None or not idle:
            await super().__aexit__(kind, error, trace)
        else:
            kept.setdefault(self.key, []).append(self)


async def keeping() -> Callable[[], Awaitable[None]]:
    """Keep sessions from now on, in this task and those it starts; what is returned ends that, and closes them."""
    kept: Store = {}
    before = _STORE.set(kept)

    async def end() -> None:
        _STORE.reset(before)
        for sessions in kept.values():
            for session in sessions:
                await session.close()
        kept.clear()

    return end


async def take(key: object) -> Session | None:
    """One that was kept, emptied; None when there is none. Those that the server has ended meanwhile are let go."""
    kept = _STORE.get()
    while kept and kept.get(key):
        session = kept[key].pop()
        try:
            await session.execute("DISCARD ALL")
        except psycopg.Error:
            await session.close()
        except BaseException:
            await session.close()
            raise
        else:
            return session
    return None
