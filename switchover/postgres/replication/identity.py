"""Replica identity of tables that have none: the whole row, noted beforehand so that it can be put back.

https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.guard import drop_fact, read_fact, write_fact
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

FACT = "identities"
"""The note in the database itself; it is written before any table is touched."""

TRIES = 20
LOCK_PATIENCE = "500ms"
"""Whoever wants the table meanwhile waits as long, so it is asked for often and never for long."""
PAUSE_S = 0.5

_WAS = """
SELECT c.relreplident::text, i.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index x ON x.indrelid = c.oid AND x.indisreplident AND c.relreplident = 'i'
LEFT JOIN pg_class i ON i.oid = x.indexrelid WHERE n.nspname = %s AND c.relname = %s
"""


async def widen(db: Database, app: str, tables: Iterable[tuple[str, str]]) -> None:
    """Let changed rows of these tables be known by all their columns. Raises ReplicationFailed when one stays busy."""
    wanted = sorted(tables)
    if not wanted:
        return
    with told(db):
        async with await connect(db, app) as session:
            noted = await _noted(db, app)
            for table in wanted:
                row = await (await session.execute(_WAS, table)).fetchone()
                if row is not None:
                    noted.setdefault(_name(table), [str(each) for each in row if each is not None])
            await write_fact(db, app, FACT, dict[str, "Json"](noted))
            for table in wanted:
                await _alter(session, _name(table), sql.SQL("FULL"))


async def carry_note(publisher: Database, subscriber: Database, app: str) -> None:
    """Tell the copy, which has the same identities, what they were before."""
    noted = await _noted(publisher, app)
    if noted:
        await write_fact(subscriber, app, FACT, dict[str, "Json"]({**noted, **await _noted(subscriber, app)}))


async def restore_identities(db: Database, app: str) -> int:
    """Put every identity back as the note says, and drop the note; how many there were."""
    noted = await _noted(db, app)
    with told(db):
        async with await connect(db, app) as session:
            for name, was in noted.items():
                found = await session.execute("SELECT to_regclass(%s) IS NOT NULL", (name,))
                if await found.fetchone() == (True,):
                    await _alter(session, name, _kind(was))
    await drop_fact(db, app, FACT)
    return len(noted)


async def _noted(db: Database, app: str) -> dict[str, list[Json]]:
    """By table, the kind as pg_class has it, and the index's name for that kind."""
    said = await read_fact(db, app, FACT)
    return {name: was for name, was in said.items() if isinstance(was, list)} if isinstance(said, dict) else {}


async def _alter(session: AsyncConnection, name: str, kind: sql.Composable) -> None:
    """Change one table; its name is as SQL has it."""
    statement = sql.SQL("ALTER TABLE ONLY {} REPLICA IDENTITY {}").format(sql.SQL(name), kind)
    for _ in range(TRIES):
        try:
            async with session.transaction():
                await session.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_PATIENCE)))
                await session.execute(statement)
        except psycopg.errors.LockNotAvailable:
            await asyncio.sleep(PAUSE_S)
        else:
            return
    raise ReplicationFailed(f"table {plain(name, 200)} is too busy for its replica identity to be changed; run again")


def _kind(was: list[Json]) -> sql.Composable:
    """As it was; an index that was gone already identified nothing."""
    match was:
        case ["i", index]:
            return sql.SQL("USING INDEX {}").format(sql.Identifier(str(index)))
        case ["d"]:
            return sql.SQL("DEFAULT")
        case ["f"]:
            return sql.SQL("FULL")
        case _:
            return sql.SQL("NOTHING")


def _name(table: tuple[str, str]) -> str:
    return sql.Identifier(*table).as_string(None)
