"""After the turn: the names of a return, and the side that was left following the one that is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.postgres.fence import Fence
from switchover.postgres.fence_before import FenceBefore
from switchover.postgres.replication.dismantle import dismantle, remains
from switchover.postgres.replication.marker import send_marker
from switchover.postgres.replication.subscription import enable, find_subscription, redirect
from switchover.postgres.replication.views import populated_views, refresh_views
from switchover.postgres.scratch import swap_back
from switchover.steps.copying import DAY_S
from switchover.steps.current import lag_facts
from switchover.steps.links import followed, links
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.postgres.finding import Finding
    from switchover.steps.links import Followed
    from switchover.steps.turn import Turn

CONNECTED_S = 120.0
LOOK_EVERY_S = 0.2


def views_action(turn: Turn) -> Action:
    """Replication does not carry what materialized views hold; here they are made anew while users work."""
    context = turn.context
    refreshed: Facts = {}

    async def observe() -> Seen:
        if turn.paused or await turn.over():
            return Seen.done(paused=turn.paused)
        if refreshed:
            return Seen.done(**refreshed)
        now, _ = await turn.pair()
        found = await populated_views(now.subscriber, context.app)
        return Seen.todo(views=len(found)) if found else Seen.done(views=0)

    async def apply(live: Live) -> Facts:
        now, _ = await turn.pair()
        refreshed.update(views=await refresh_views(now.subscriber, context.app, live.log))
        return {}

    return Action(
        "refresh-views",
        "make materialized views anew on the side that follows",
        observe,
        apply,
        does=("REFRESH MATERIALIZED VIEW each that is populated, in the order of their making",),
        deadline_s=DAY_S,
        interruptible=True,
    )


def names_back_action(turn: Turn, before: Callable[[], Mapping[str, Json]]) -> Action:
    """The database that users have written becomes the live copy again; the target's of before has its name."""
    context = turn.context

    async def observe() -> Seen:
        if not await turn.over():
            return Seen.todo()
        found = await links(context)
        now = (await Fence().read_before(found.there, context.app)).to_json()
        return Seen.done(fence=now) if now == before().get("fence") else Seen.todo(fence=now)

    async def apply(live: Live) -> Facts:
        saved = before().get("fence")
        if not isinstance(saved, dict):
            raise ActionFailed("the journal holds no settings from before the fence; put them back by hand")
        if not await turn.over():
            await turn.still_fenced()
        context.place = None
        await swap_back(context.target, context.copy_name, context.aside_name, context.app)
        await context.far_fence.release()
        await Fence().lower((await links(context)).there, context.app, FenceBefore.from_json(saved))
        return {}

    return Action(
        "names-back",
        "the target's database of before has its name again; the one written becomes the live copy",
        observe,
        apply,
        does=(f"rename the target's database to {context.copy_name}, and {context.aside_name} back",),
        deadline_s=120,
    )


def follow_action(turn: Turn, gone_on: Callable[[], Awaitable[bool]] | None = None) -> Action:
    """The first side follows: locks go, its settings stay; ``gone_on`` says that this is history already."""
    context = turn.context
    name = "ahead" if turn.home else "back"
    arrived = gone_on is not None  # what comes next drains, and has a marker of its own

    async def observe() -> Seen:
        context.place = None
        if gone_on is not None and await gone_on():
            return Seen.done(gone_on=True)
        now, then = await turn.pair()
        left = await remains(now, context.app)
        there = await find_subscription(then, context.app)
        if left or turn.fence.held or there is None or not there.enabled or there.worker is None or not arrived:
            return Seen.todo(left=list(left))
        found = await followed(context, then)
        return Seen.todo(left=[]) if _lost(found) else Seen.done(lag=lag_facts(found))

    async def apply(live: Live) -> Facts:
        nonlocal arrived
        now, then = await turn.pair()
        await turn.fence.release()
        done = await dismantle(now, context.app)
        if done.left:
            raise ActionFailed(f"still there: {'; '.join(done.left)}")
        await redirect(then, context.app)
        await enable(then, context.app)
        if lost := _lost(await followed(context, then)):
            raise ActionFailed("; ".join(f"{each.evidence} ({each.fix})" for each in lost))
        await send_marker(then, context.app, deadline_s=CONNECTED_S)
        arrived = True
        return {"removed": [plain(each, 200) for each in done.removed]}

    return Action(
        f"follow-{name}",
        f"keep the {turn.leaving} current from now on",
        observe,
        apply,
        does=(
            "let the locks go; the read-only setting and the connection limit stay",
            "remove the former link, then ALTER SUBSCRIPTION … CONNECTION, ENABLE",
            "INSERT a marker row and see it arrive",
        ),
        deadline_s=CONNECTED_S + 60,
    )


def _lost(found: Followed) -> tuple[Finding, ...]:
    """What no waiting can bring back: between two tries to connect there may be a worker all the same."""
    return tuple(each for each in found.findings if each.id in ("slot-gone", "slot-lost"))
