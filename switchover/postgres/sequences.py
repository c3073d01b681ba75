"""Sequences by value and is_called: identity, serial and free ones alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import PostgresError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database


@dataclass(frozen=True, slots=True, order=True)
class SequenceValue:
    """Where one sequence stands."""

    schema: str
    name: str
    last_value: int
    is_called: bool


async def read_sequences(session: AsyncConnection) -> tuple[SequenceValue, ...]:
    """Every sequence of the database, read from the relation itself: catalogs hide identity sequences."""
    found = await session.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'S' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') "
        "AND n.nspname !~ '^pg_(toast|temp)' ORDER BY 1, 2"
    )
    values = []
    for schema, name in await found.fetchall():
        row = await session.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
        )
        read = await row.fetchone()
        assert read is not None  # noqa: S101  a sequence has exactly one row
        values.append(SequenceValue(schema, name, read[0], read[1]))
    return tuple(values)


async def set_sequences(source: Database, target: Database, app: str) -> int:
    """Bring every sequence of the target to the source's value; returns how many moved. Read back, then compared."""
    with told(target):
        async with await connect(source, app) as theirs, await connect(target, app) as ours:
            wanted, has = await read_sequences(theirs), set(await read_sequences(ours))
            moved = [each for each in wanted if each not in has]
            for each in moved:
                await ours.execute(
                    sql.SQL("SELECT pg_catalog.setval({}::regclass, %s, %s)").format(
                        sql.Literal(sql.Identifier(each.schema, each.name).as_string(ours))
                    ),
                    (each.last_value, each.is_called),
                )
            left = set(wanted) - set(await read_sequences(ours))
    if left:
        names = ", ".join(f"{each.schema}.{each.name}" for each in sorted(left))
        raise PostgresError(f"{target.where}: these sequences do not hold the source's value: {names}")
    return len(moved)
