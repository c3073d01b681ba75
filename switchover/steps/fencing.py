"""The fence: what stops writes on the source, proved by trying to write; and its exact undoing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.plan.progress import touched
from switchover.postgres.connect import connect
from switchover.postgres.errors import Unreachable
from switchover.postgres.facts import server_facts, write_mark
from switchover.postgres.fence_before import FenceBefore
from switchover.postgres.fence_proof import prove
from switchover.postgres.sessions import by_client, came_back, clients

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.plan.progress import Progress
    from switchover.steps.context import Context

FENCE_DEADLINE_S = 120.0
COMES_BACK_S = 45.0
"""How long a server that was lost may take to come back, for its settings to be put back at once."""
LOOK_EVERY_S = 0.5

Side: TypeAlias = Literal["source", "target"]


def fence_action(context: Context, side: Side = "source", *, deadline_s: float = FENCE_DEADLINE_S) -> Action:
    """Fence one side; after a crash the settings stand but the locks are gone, so it is raised again."""
    db, fence = (context.source, context.fence) if side == "source" else (context.target, context.far_fence)

    async def observe() -> Seen:
        seen = await fence.observe(db, context.app)
        before = await fence.read_before(db, context.app)
        if seen.read_only and fence.held:
            return Seen.done(fence=before.to_json(), mark=fence.mark)
        return Seen.todo(fence=before.to_json(), size=(await server_facts(db, context.app)).size_bytes)

    async def apply(live: Live) -> Facts:
        app = context.app
        before = await clients(db, app, context.app_prefix)
        async with await connect(db, app) as old:
            raised = await fence.raise_(db, app, context.app_prefix, deadline_s=deadline_s, say=live.log)
            proof = await prove(db, app, old, catalogs=raised.catalogs)
        back = came_back(await clients(db, app, context.app_prefix), raised.stood_at, raised.left)
        return {
            "layers": list(raised.layers),
            "clients": [each.to_json() for each in by_client(before)],
            "ended": list(raised.ended),
            "refused": list(proof.refused),
            "not_covered": list(proof.not_covered),
            "not_tried": list(proof.not_tried),
            "not_in_force": list(raised.not_in_force),
            "came_back": [each.to_json() for each in back],
        }

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        return await lower(context, before, side)

    return Action(
        f"fence-{side}",
        f"stop writes on the {side}, and try to write",
        observe,
        apply,
        undo,
        does=(
            "ALTER DATABASE … SET default_transaction_read_only = on",
            "ALTER DATABASE … CONNECTION LIMIT 0",
            "LOCK TABLE every table IN SHARE MODE, held to the end; where permitted, two catalogs too",
            "pg_terminate_backend of every other client",
            "as each role that could write: try it, in new sessions and in one opened before",
        ),
        undoes="every setting back to exactly what it was; the locks go with their session",
        deadline_s=deadline_s + 30,
    )


async def lower(context: Context, before: Mapping[str, Json], side: Side = "source") -> Facts:
    """Put a side's settings back exactly as ``before`` holds them."""
    saved = before.get("fence")
    if not isinstance(saved, dict):
        raise ActionFailed("the journal holds no settings from before the fence; put them back by hand")
    db, fence = (context.source, context.fence) if side == "source" else (context.target, context.far_fence)
    deadline = time.monotonic() + COMES_BACK_S
    while True:
        try:
            await fence.release()
            await fence.lower(db, context.app, FenceBefore.from_json(saved))
        except Unreachable:  # a server that is starting again: nobody can write there until we are through
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(LOOK_EVERY_S)
        else:
            return {"fence": saved}


def fenced_before(progress: Progress) -> Mapping[str, Json]:
    """The source's settings from before the fence, as the cutover's journal holds them."""
    for action in step_of(progress, StepName.CUTOVER).actions:
        if action.id == "fence-source" and touched(action):
            return action.before
    return {}


def source_mark(context: Context) -> str:
    """The source's write mark under this run's fence; empty while no fence is held."""
    return context.fence.mark if context.fence.held else ""


async def mark_now(context: Context) -> str:
    """The source's write mark at this moment."""
    async with await connect(context.source, context.app) as connection:
        return await write_mark(connection)
