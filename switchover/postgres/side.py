"""One side of a comparison: sessions that share one snapshot, and the tables they see."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.table import Table, read_tables
from switchover.postgres.unseen import Unseen, read_unseen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

T = TypeVar("T")
AT_ONCE = 2
"""Tables hashed at the same time on each side; one core each."""


@dataclass(frozen=True, slots=True)
class Side:
    """Sessions of one side that share one snapshot."""

    db: Database
    sessions: tuple[AsyncConnection, ...]
    tables: dict[str, Table]
    unseen: tuple[Unseen, ...]

    @property
    def first(self) -> AsyncConnection:
        return self.sessions[0]


@asynccontextmanager
async def open_side(
    db: Database, app: str, *, snapshot: str | None = None, jobs: int = AT_ONCE, views: bool
) -> AsyncIterator[Side]:
    """The side's sessions on one snapshot: the given one, or one of its own."""
    async with AsyncExitStack() as stack:
        sessions = []
        with told(db):
            for _ in range(jobs):
                session = await stack.enter_async_context(await connect(db, app))
                await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                await session.execute("SET LOCAL search_path = pg_catalog")
                await session.execute("SET LOCAL max_parallel_workers_per_gather = 0")
                if snapshot is None:
                    row = await (await session.execute("SELECT pg_export_snapshot()")).fetchone()
                    snapshot = str(row[0]) if row is not None else None
                else:
                    await session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
                sessions.append(session)
            tables = await read_tables(sessions[0], views=views)
            unseen = await read_unseen(sessions[0])
        yield Side(db, tuple(sessions), {table.name: table for table in tables}, unseen)


async def on(side: Side, work: Coroutine[object, object, T]) -> T:
    """Run against one side, whose name any error then bears."""
    with told(side.db):
        return await work
