"""How many rows users have written, by the server's own counters: what a side that follows cannot be compared for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.postgres.connect import connect, told

if TYPE_CHECKING:
    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database

_COUNTED = """
SELECT coalesce(sum(n_tup_ins), 0)::int8, coalesce(sum(n_tup_upd), 0)::int8, coalesce(sum(n_tup_del), 0)::int8
FROM pg_stat_user_tables WHERE schemaname <> 'switchover'
"""


@dataclass(frozen=True, slots=True)
class Written:
    """Rows written since the server's counters began; an update that was rolled back counts as well."""

    inserted: int
    updated: int
    deleted: int

    def to_json(self) -> dict[str, Json]:
        return {"inserted": self.inserted, "updated": self.updated, "deleted": self.deleted}


async def rows_written(db: Database, app: str) -> Written:
    """The counters as they are now; a session's own are seen up to a second late."""
    with told(db):
        async with await connect(db, app) as session:
            row = await (await session.execute(_COUNTED)).fetchone()
    assert row is not None  # always one row
    return Written(*row)
