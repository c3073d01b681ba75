"""The turn of a pair: the writing side changes, behind a fence, and the writers go along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from switchover.postgres.compare import Comparison, Verdict, compare
from switchover.postgres.connect import Database
from switchover.postgres.fence import Fence
from switchover.postgres.fence_before import FenceBefore
from switchover.postgres.replication.backwards import prepare_back
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.link import Link
from switchover.postgres.replication.subscription import disable, enable
from tests.postgres.conftest import APP, PREFIX, Pair, Side, silent
from tests.postgres.fleet import Fleet, cut
from tests.postgres.replicating import drained, quiet


async def same(pair: Pair) -> Comparison:
    """Compare everything of both sides, which nobody writes meanwhile."""
    found = await compare(pair.source.db, pair.target.db, APP, on_progress=silent)
    assert "\n".join(found.differences) == ""
    assert found.verdict is Verdict.SAME
    return found


@dataclass(frozen=True, slots=True)
class Fenced:
    """A side that was written, and is so no more."""

    fence: Fence
    db: Database
    before: FenceBefore

    async def lower(self) -> None:
        await self.fence.lower(self.db, APP, self.before)


async def nobody() -> None:
    """No writer has to be told."""


async def turn(ahead: Link, behind: Link, fenced: Side, repoint: Callable[[], Awaitable[None]] = nobody) -> Fenced:
    """The writing side changes: the other has all, follows no more, and the first begins to follow it.

    The locks stand until the writers have moved: a superuser who overrides the setting is held off by nothing else.
    """
    fence, db = Fence(), Database.parse(fenced.cluster.conninfo(fenced.name))
    before = await fence.read_before(db, APP)
    await fence.raise_(db, APP, PREFIX, deadline_s=10, say=quiet)
    proof = await drained(ahead)
    assert proof.quiet
    await disable(ahead, APP)
    for _ in range(2):
        await prepare_back(ahead, behind, APP, deadline_s=10, say=quiet)
    await repoint()
    await fence.release()
    assert (await dismantle(ahead, APP)).left == ()
    await enable(behind, APP)
    # The old side is closed to all but the apply worker.
    assert (await fence.observe(db, APP)).read_only
    return Fenced(fence, db, before)


async def repointed(fleet: Fleet, old: Side, new: Side) -> None:
    """The writers go to the other side, and each has written there."""
    fleet.live = new
    writing = asyncio.create_task(fleet.all_write(new))
    while not writing.done():
        await asyncio.to_thread(cut, old)
        await asyncio.wait({writing}, timeout=0.2)
    await writing
