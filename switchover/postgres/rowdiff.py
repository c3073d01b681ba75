"""Which rows of one table differ between two sides: by primary key, or as a multiset without one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.table import Table, key_text, record
from switchover.words import plain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

EXAMPLES = 5


async def count_changes(source: AsyncConnection, target: AsyncConnection, table: Table) -> tuple[int, int, int]:
    """Rows inserted, updated and deleted on the target."""
    ours, theirs = await asyncio.gather(_rows(source, table), _rows(target, table))
    if not table.key:
        before, after = Counter(hash_ for _, hash_ in ours), Counter(hash_ for _, hash_ in theirs)
        return (after - before).total(), 0, (before - after).total()
    was, is_ = dict(ours), dict(theirs)
    updated = sum(1 for key in was.keys() & is_.keys() if was[key] != is_[key])
    return len(is_.keys() - was.keys()), updated, len(was.keys() - is_.keys())


async def example_keys(source: AsyncConnection, target: AsyncConnection, table: Table) -> str:
    """Some keys of rows that differ, in words; empty where there is no key to name them by."""
    if not table.key or table.bytes > 1 << 30:
        return ""
    ours, theirs = await asyncio.gather(_rows(source, table), _rows(target, table))
    was, is_ = dict(ours), dict(theirs)
    kinds = (
        ("missing", sorted(was.keys() - is_.keys())),
        ("extra", sorted(is_.keys() - was.keys())),
        ("different", sorted(key for key in was.keys() & is_.keys() if was[key] != is_[key])),
    )
    words = [f"{kind} {', '.join(plain(key, 60) for key in keys[:EXAMPLES])}" for kind, keys in kinds if keys]
    return f": {'; '.join(words)}" if words else ""


async def _rows(session: AsyncConnection, table: Table) -> list[tuple[str, int]]:
    """Key text and hash of every row."""
    query = sql.SQL("SELECT {}, hashtextextended({}, 1) FROM ONLY {} AS r").format(
        key_text(table), record(table), table.identifier
    )
    return [(str(key), int(hash_)) for key, hash_ in await (await session.execute(query)).fetchall()]
