"""Materialized views: replication carries the rows they are made of, not what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from switchover.postgres.connect import connect, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchover.postgres.connect import Database

_POPULATED = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname <> 'switchover' ORDER BY c.oid
"""
"""In the order of their making, so that one made of another comes after it."""


async def populated_views(db: Database, app: str) -> tuple[tuple[str, str], ...]:
    """The materialized views that hold something."""
    with told(db):
        async with await connect(db, app) as session:
            return tuple((schema, name) for schema, name in await (await session.execute(_POPULATED)).fetchall())


async def refresh_views(db: Database, app: str, say: Callable[[str], None]) -> int:
    """Make each of them anew from the rows there are now; how many."""
    views = await populated_views(db, app)
    with told(db):
        async with await connect(db, app) as session:
            for schema, name in views:
                say(f"refreshing {schema}.{name}")
                await session.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(schema, name)))
    return len(views)
