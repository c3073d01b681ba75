"""Sequences by value and is_called: identity, serial and free ones alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import PostgresError
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from switchover.postgres.connect import Database

CHUNK = 200
"""Sequences read in one round trip."""

_NAMES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'switchover') AND n.nspname !~ '^pg_(toast|temp)'
"""

_SET = """
SELECT pg_catalog.setval(pg_catalog.format('%%I.%%I', s.schema, s.name)::regclass, s.last_value, s.is_called)
FROM unnest(%s::text[], %s::text[], %s::int8[], %s::bool[]) AS s(schema, name, last_value, is_called)
"""


@dataclass(frozen=True, slots=True, order=True)
class SequenceValue:
    """Where one sequence stands."""

    schema: str
    name: str
    last_value: int
    is_called: bool


async def read_sequences(session: AsyncConnection) -> tuple[SequenceValue, ...]:
    """Every sequence of the database, sorted, read from the relation itself.

    information_schema.sequences hides those of identity columns, and pg_sequences does not tell is_called. In a
    transaction no more locks are kept than before.
    """
    names = await (await session.execute(_NAMES)).fetchall()
    values: list[SequenceValue] = []
    for start in range(0, len(names), CHUNK):
        each = (
            sql.SQL("SELECT {}, {}, last_value, is_called FROM {}").format(
                sql.Literal(schema), sql.Literal(name), sql.Identifier(schema, name)
            )
            for schema, name in names[start : start + CHUNK]
        )
        async with session.transaction(force_rollback=True):
            found = await session.execute(sql.SQL(" UNION ALL ").join(each))
            values += [SequenceValue(*row) for row in await found.fetchall()]
    return tuple(sorted(values))


async def set_sequences(source: Database, target: Database, app: str) -> int:
    """Bring every sequence of the target to the source's value; returns how many moved.

    Raises PostgresError when one still differs after it was read back.
    """
    wanted = await _read(source, app)
    with told(target):
        async with await connect(target, app) as session:
            has = set(await read_sequences(session))
            moved = [each for each in wanted if each not in has]
            if moved:
                columns = zip(*((s.schema, s.name, s.last_value, s.is_called) for s in moved), strict=True)
                await session.execute(_SET, [list(column) for column in columns])
            left = set(wanted) - set(await read_sequences(session))
    if left:
        names = ", ".join(plain(f"{each.schema}.{each.name}", 150) for each in sorted(left)[:10])
        raise PostgresError(f"{target.where}: {len(left)} sequences do not hold the source's value: {names}")
    return len(moved)


def sequence_differences(ours: Sequence[SequenceValue], theirs: Sequence[SequenceValue]) -> list[str]:
    """Sequences that stand elsewhere on the target, a line each; that only one side has one, the schema says."""
    there = {(each.schema, each.name): each for each in theirs}
    return [
        f"sequence {plain(f'{each.schema}.{each.name}', 200)} stands at {_standing(other)} on the target, "
        f"{_standing(each)} on the source"
        for each in ours
        if (other := there.get((each.schema, each.name))) is not None and other != each
    ]


def _standing(value: SequenceValue) -> str:
    return f"{value.last_value}, {'used' if value.is_called else 'not used'}"


async def _read(db: Database, app: str) -> tuple[SequenceValue, ...]:
    with told(db):
        async with await connect(db, app) as session:
            return await read_sequences(session)
