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


async def sum_up(
    sessions: Sequence[AsyncConnection], tables: Iterable[Table], on_piece: Callable[[Piece], None]
) -> dict[str, Digest]:
    """The digest of each table by name, read by all of the sessions together."""
    waiting = pieces(tables)
    waiting.reverse()
    found: dict[str, Digest] = {piece.table.name: Digest() for piece in waiting}

    async def work(session: AsyncConnection) -> None:
        while waiting:
            piece = waiting.pop()
            summed = await digest(session, piece)
            found[piece.table.name] += summed
            on_piece(piece)

    await all_of(work(session) for session in sessions)
    return found


async def whole(session: AsyncConnection, table: Table) -> Digest:
    """The digest of one table, read by one session."""
    return await digest(session, Piece(table, 0, None))


async def digest(session: AsyncConnection, piece: Piece) -> Digest:
    """The digest of one piece."""
    table = piece.table
    query = sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM ONLY {} AS r").format(row_hash(table), table.identifier)
    if piece.start:
        query += sql.SQL(" WHERE ctid >= {}").format(sql.Literal(f"({piece.start},0)"))
    if piece.end is not None:
        query += sql.SQL(" AND" if piece.start else " WHERE") + sql.SQL(" ctid < {}").format(
            sql.Literal(f"({piece.end},0)")
        )
    row = await (await session.execute(query)).fetchone()
    assert row is not None  # noqa: S101  an aggregate has one row
    return Digest(row[0], int(row[1]))
