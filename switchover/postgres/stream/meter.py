"""How far a stream is: asked of the target's own progress views, said in bytes, rows and time left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.postgres.connect import connect
from switchover.postgres.lock_waits import waiting
from switchover.words import count, left, plain, so_far

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from switchover.postgres.connect import Database
    from switchover.postgres.stream.shape import Shape, Streamed

    OnProgress = Callable[[str, float, float, str], None]

LOOK_EVERY_S = 0.5
SHOWN = 3
"""Tables and indexes named at a time."""

_FILLING = """
SELECT format('%I.%I', n.nspname, c.relname), p.tuples_processed
FROM pg_stat_progress_copy p JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.datname = current_database() AND p.command = 'COPY FROM'
"""
_INDEXING = """
SELECT c.relname, p.phase FROM pg_stat_progress_create_index p JOIN pg_class c ON c.oid = p.relid
WHERE p.datname = current_database()
"""


@dataclass(slots=True)
class Meter:
    """What is done, and what is under way."""

    whole: int
    rows: dict[str, int]
    bytes: dict[str, int]
    on_progress: OnProgress
    done: float = 0.0
    waits: str = ""
    """Who holds a lock on the source that we wait for."""
    started: float = field(default_factory=time.monotonic)
    shares: dict[str, float] = field(default_factory=dict)
    """How much of a table that goes in parts has come with those that are over."""
    began: dict[str, float] = field(default_factory=dict)
    """When a table was first seen under way."""

    @classmethod
    def of(cls, shape: Shape, on_progress: OnProgress) -> Meter:
        indexes = sum(each.bytes for each in shape.indexes.values())
        return cls(
            shape.bytes + indexes,
            {_name(each.schema, each.name): each.rows for each in shape.tables},
            {_name(each.schema, each.name): each.bytes for each in shape.tables},
            on_progress,
        )

    def add(self, number: float) -> None:
        """Something of so many bytes is done."""
        self.done += number

    def fill(self, table: Streamed, share: float) -> None:
        """So much of a table is there."""
        self.add(table.bytes * share)
        name = _name(table.schema, table.name)
        self.shares[name] = self.shares.get(name, 0.0) + share

    def wait(self, who: str) -> None:
        """Somebody holds us up; or nobody any more."""
        self.waits = who

    def say(self, filling: list[tuple[str, int]], indexing: list[tuple[str, str]]) -> None:
        words, under_way = [waiting(self.waits)] if self.waits else [], 0.0
        rows: dict[str, int] = {}
        for name, number in filling:
            rows[name] = rows.get(name, 0) + number
        now = time.monotonic()
        for name, number in rows.items():
            share = min(1.0, number / self.rows[name]) if self.rows.get(name) else 0.0
            under_way += share * self.bytes.get(name, 0)
            words.append(self.table(name, number, share, now))
        words += [f"index on {plain(name, 60)}: {phase}" for name, phase in indexing]
        done = min(self.done + under_way, float(self.whole))
        says = so_far(done, self.whole, left(now - self.started, done, self.whole))
        self.on_progress("; ".join((says, *words[:SHOWN])), done, self.whole, "bytes")

    def table(self, name: str, number: int, share: float, now: float) -> str:
        """One table under way: its share by the rows it was thought to have, bytes, time left, and rows."""
        passed = now - self.began.setdefault(name, now)
        over, whole = self.shares.get(name, 0.0), self.bytes.get(name, 0)
        rows = count(number + round(over * self.rows.get(name, 0)), "row")
        if not self.rows.get(name):
            return f"{plain(name, 60)} {rows}"
        share = min(1.0, over + share)
        return f"{plain(name, 60)} {share:.0%}, {so_far(share * whole, whole, left(passed, share, 1))}, {rows}"


@contextlib.asynccontextmanager
async def watched(meter: Meter, target: Database, app: str) -> AsyncIterator[None]:
    """Say how far it is, again and again, until the block ends; what it cannot see it does not say."""

    async def watch() -> None:
        async with await connect(target, app) as session:
            while True:
                filling = await (await session.execute(_FILLING)).fetchall()
                indexing = await (await session.execute(_INDEXING)).fetchall()
                meter.say(filling, indexing)
                await asyncio.sleep(LOOK_EVERY_S)

    task = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        task.cancel()
        # The copy itself says what broke; a watcher that lost its session says nothing new.
        await asyncio.gather(task, return_exceptions=True)


def _name(schema: str, relation: str) -> str:
    """As format('%I.%I') of the server; a name that it would quote for another reason is only not shown."""
    return ".".join(
        part if part.isidentifier() and part.islower() and part.isascii() else '"' + part.replace('"', '""') + '"'
        for part in (schema, relation)
    )
