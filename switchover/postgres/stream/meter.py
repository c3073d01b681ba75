"""How far a stream is: asked of the target's own progress views, said in bytes, rows and time left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.postgres.connect import connect
from switchover.postgres.lock_waits import waiting
from switchover.words import count, duration, plain, size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from switchover.postgres.connect import Database
    from switchover.postgres.stream.shape import Shape

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

    def wait(self, who: str) -> None:
        """Somebody holds us up; or nobody any more."""
        self.waits = who

    def say(self, filling: list[tuple[str, int]], indexing: list[tuple[str, str]]) -> None:
        words, under_way = [waiting(self.waits)] if self.waits else [], 0.0
        rows: dict[str, int] = {}
        for name, number in filling:
            rows[name] = rows.get(name, 0) + number
        for name, number in rows.items():
            share = min(1.0, number / self.rows[name]) if self.rows.get(name) else 0.0
            under_way += share * self.bytes.get(name, 0)
            words.append(f"{plain(name, 60)} {share:.0%}, {count(number, 'row')}")
        words += [f"index on {plain(name, 60)}: {phase}" for name, phase in indexing]
        so_far = min(self.done + under_way, float(self.whole))
        passed = time.monotonic() - self.started
        left = f", about {duration(round(passed / so_far * (self.whole - so_far)))} left" if so_far else ""
        says = f"{size(so_far)} of {size(self.whole)}{left}" + "".join(f"; {each}" for each in words[:SHOWN])
        self.on_progress(says, so_far, self.whole, "bytes")


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
