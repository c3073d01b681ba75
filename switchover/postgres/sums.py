"""A whole side summed up: each table read once, in the order it lies on disk, by several sessions at a time.

Sums do not mind order, so each side is cut by its own blocks, which two hosts never have alike, and the pieces of a
table are added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.table import row_hash
from switchover.postgres.together import all_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from psycopg import AsyncConnection

    from switchover.postgres.table import Table

BLOCK = 8192
PIECE = 16384
"""Blocks read in one statement: what is lost by a cancel, and how often progress is said."""
TOGETHER, SMALL = 100, 128
"""Small tables read in one statement, and how many blocks a small one has at most."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Some rows, summed up."""

    rows: int = 0
    sum: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, self.sum + other.sum)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some blocks of a table; the last one has no end."""

    table: Table
    start: int
    end: int | None

    @property
    def bytes(self) -> int:
        return self.table.bytes - self.start * BLOCK if self.end is None else (self.end - self.start) * BLOCK


def pieces(tables: Iterable[Table]) -> list[Piece]:
    """All tables in pieces, the largest first."""
    found = []
    for table in tables:
        starts = range(0, max(1, table.bytes // BLOCK), PIECE)
        found += [Piece(table, start, start + PIECE if start != starts[-1] else None) for start in starts]
    return sorted(found, key=lambda piece: -piece.bytes)


def batches(tables: Iterable[Table]) -> list[tuple[Piece, ...]]:
    """What is read in one statement each: a piece of a large table, or many small tables; the largest first."""
    found = pieces(tables)
    large = [(piece,) for piece in found if piece.bytes > SMALL * BLOCK]
    small = found[len(large) :]
    return [*large, *(tuple(small[start : start + TOGETHER]) for start in range(0, len(small), TOGETHER))]


async def sum_up(
    sessions: Sequence[AsyncConnection], tables: Iterable[Table], on_piece: Callable[[Piece], None]
) -> dict[str, Digest]:
    """The digest of each table by name, read by all of the sessions together."""
    waiting = batches(tables)
    waiting.reverse()
    found: dict[str, Digest] = {piece.table.name: Digest() for batch in waiting for piece in batch}

    async def work(session: AsyncConnection) -> None:
        while waiting:
            batch = waiting.pop()
            for piece, summed in zip(batch, await _digests(session, batch), strict=True):
                found[piece.table.name] += summed
                on_piece(piece)

    await all_of(work(session) for session in sessions)
    return found


async def whole(session: AsyncConnection, table: Table) -> Digest:
    """The digest of one table, read by one session."""
    return (await _digests(session, (Piece(table, 0, None),)))[0]


async def _digests(session: AsyncConnection, batch: Sequence[Piece]) -> list[Digest]:
    """The digest of each piece, by one statement; its locks are given back, the transaction's snapshot is kept."""
    queries = (_query(number, piece) for number, piece in enumerate(batch))
    async with session.transaction(force_rollback=True):
        found = await session.execute(sql.SQL(" UNION ALL ").join(queries) + sql.SQL(" ORDER BY 1"))
        return [Digest(rows, int(total)) for _, rows, total in await found.fetchall()]


def _query(number: int, piece: Piece) -> sql.Composed:
    bounds = [
        sql.SQL(f"r.ctid {sign} '({block},0)'") for sign, block in ((">=", piece.start), ("<", piece.end)) if block
    ]
    where = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(bounds) if bounds else sql.SQL("")
    summed = sql.SQL("SELECT {}, count(*), coalesce(sum({}), 0) FROM {}")
    return summed.format(sql.Literal(number), row_hash(piece.table), piece.table.rows) + where
