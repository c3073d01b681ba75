"""The writing side changes: behind a fence the other has everything, and from then on the first follows it.

It is the same both ways: to the new host in the cutover, and back with every row in the rollback. Whatever is done
while writes are paused has the plan's budget; when that is used up, or anything fails, the fence is lowered first
and the link goes on as before.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.engine.step import Verdict
from switchover.postgres.compare import Verdict as Sameness
from switchover.postgres.compare import compare
from switchover.postgres.connect import connect, told
from switchover.postgres.errors import PostgresError
from switchover.postgres.replication.backwards import announce, prepare_back
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.drain import drain
from switchover.postgres.replication.lag import look
from switchover.postgres.replication.slot import find_slot
from switchover.postgres.replication.subscription import disable, enable, find_subscription
from switchover.postgres.replication.written import rows_written
from switchover.postgres.sequences import set_sequences
from switchover.postgres.together import both
from switchover.steps.copying import in_words
from switchover.steps.fencing import fence_action
from switchover.steps.last_look import last_look_action
from switchover.steps.links import LITTLE, place_of
from switchover.words import duration, size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.postgres.connect import Database
    from switchover.postgres.replication.link import Link
    from switchover.steps.turn import Turn

READY_S = 120.0
LOOK_EVERY_S = 0.2
SHARE = 0.8
"""The part of the budget's rest that a drain may take: what is left tells why it did not end."""


def paused_actions(turn: Turn) -> tuple[Action, ...]:
    """From the fence to the moment before the names are exchanged."""
    paused = (_fence(turn), _drain(turn), _sequences(turn), last_look_action(turn), _prepare(turn))
    return tuple(within_budget(turn, _unless_over(turn, each)) for each in paused)


def _unless_over(turn: Turn, action: Action) -> Action:
    """The same action; what is over already is not done again."""

    async def observe() -> Seen:
        return Seen.done(over=True) if await turn.over() else await action.observe()

    return replace(action, observe=observe)


def within_budget(turn: Turn, action: Action) -> Action:
    """The same action, ended when the budget is used up."""

    async def observe() -> Seen:
        try:
            async with asyncio.timeout(turn.left_s()):
                return await action.observe()
        except TimeoutError:
            return Seen.unknown(f"no answer as long as the plan lets writes be paused: {duration(turn.budget_s)}")

    async def apply(live: Live) -> Facts:
        try:
            async with asyncio.timeout(turn.left_s()):
                return await action.apply(live)
        except TimeoutError:
            says = f"writes were paused for {duration(turn.budget_s)}, which is all that the plan allows"
            raise ActionFailed(f"{says}; users go on as before, and it can be tried again") from None

    return replace(action, observe=observe, apply=apply, deadline_s=turn.budget_s + 30)


def ready_action(turn: Turn) -> Action:
    """Nothing but the last moments is left before writes are paused; its undo, once they go on, follows as before."""
    context = turn.context
    caught_up: Facts = {}

    async def observe() -> Seen:
        if turn.paused or await turn.over():
            return Seen.done(paused=turn.paused)
        return Seen.done(**caught_up) if caught_up else Seen.todo()

    async def apply(live: Live) -> Facts:
        now, then = await turn.pair()
        there = await find_subscription(now, context.app)
        if there is not None and not there.enabled:  # an undo was cut short
            await _step_back(now, then, context.app)
        await both(_checkpoint(now.publisher, context.app), _checkpoint(now.subscriber, context.app))
        deadline = time.monotonic() + READY_S
        while (behind := (await look(now, context.app)).bytes) is None or behind > LITTLE:
            says = "an unknown amount" if behind is None else size(behind)
            if time.monotonic() > deadline:
                raise ActionFailed(f"it has not caught up within {duration(READY_S)}: {says} are left")
            live.progress(f"behind by {says}", 0, 0, "bytes")
            await asyncio.sleep(LOOK_EVERY_S)
        await _refuse_apart(turn, now, live)
        caught_up.update(behind=behind)
        return {}

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        context.place = None
        now, then = await turn.pair()
        await enable(now, context.app)
        done = await dismantle(then, context.app)
        if done.left:
            raise ActionFailed(f"still there: {'; '.join(done.left)}")
        return {"removed": list(done.removed)}

    return Action(
        "catch-up",
        "see that nothing but the last moments is left to follow",
        observe,
        apply,
        undo,
        does=(
            "CHECKPOINT on both sides, where permitted",
            f"wait until less than {size(LITTLE)} is left; compare everything but rows and sequences",
        ),
        undoes="the way back is removed, and the link goes on as before",
        deadline_s=READY_S + 60,
        only_tidies=True,
    )


def announce_action(turn: Turn) -> Action:
    """What of the way back takes its time and needs no fence is made while users still write."""
    context = turn.context

    async def observe() -> Seen:
        if turn.paused or await turn.over():
            return Seen.done(paused=turn.paused)
        _, then = await turn.pair()
        there = await find_subscription(then, context.app)
        return Seen.done(subscription=then.name) if there is not None else Seen.todo()

    async def apply(live: Live) -> Facts:
        _, then = await turn.pair()
        await announce(then, context.app)
        return {}

    return Action(
        f"announce-{'ahead' if turn.home else 'back'}",
        f"announce that the {turn.leaving} will follow",
        observe,
        apply,
        does=(
            "CREATE PUBLICATION on the other side",
            "CREATE SUBSCRIPTION … WITH (copy_data = false, enabled = false, origin = none), without a slot",
        ),
        deadline_s=READY_S,
    )


async def _refuse_apart(turn: Turn, now: Link, live: Live) -> None:
    """What will be compared while writes are paused, but for rows: whatever differs is better found before.

    By the way it opens the sessions of that comparison, and fills their caches.
    """
    jobs = turn.context.spec.database.jobs
    look_alike = compare(
        now.publisher,
        now.subscriber,
        turn.context.app,
        on_progress=live.progress,
        sequences=False,
        views=False,
        jobs=jobs,
        only=(),
    )
    if (result := await look_alike).verdict is Sameness.DIFFERS:
        raise ActionFailed(f"the two sides are not the same: {in_words(result)}")


async def _checkpoint(db: Database, app: str) -> None:
    """Spare the pause what is written in the background; not everybody may, and nothing hangs on it."""
    try:
        with told(db):
            async with await connect(db, app) as session:
                await session.execute("CHECKPOINT")
    except PostgresError:
        return


def _fence(turn: Turn) -> Action:
    action = fence_action(turn.context, turn.leaving, deadline_s=turn.budget_s)

    async def apply(live: Live) -> Facts:
        turn.context.pause.begin()
        turn.context.place = await place_of(turn.context)
        return await action.apply(live)

    return replace(action, apply=apply)


def _drain(turn: Turn) -> Action:
    """Everything that was ever written is on the other side's disk."""
    context = turn.context

    async def observe() -> Seen:
        proof = context.pause.drained
        if proof is None or not turn.fence.held:
            return Seen.todo()
        return Seen.done(lsn=proof.lsn, marker=str(proof.marker), quiet=proof.quiet)

    async def apply(live: Live) -> Facts:
        now, then = await turn.pair()
        there = await find_subscription(now, context.app)
        if there is not None and not there.enabled:
            await _step_back(now, then, context.app)
        proof = await drain(now, context.app, deadline_s=turn.left_s() * SHARE, say=live.log)
        context.pause.drained = proof
        return {"drain_s": round(proof.seconds, 3)}

    return Action(
        "drain",
        f"wait until the other side has everything that was written on the {turn.leaving}",
        observe,
        apply,
        does=(
            "INSERT a marker row; read the end of the log; wait until the slot's confirmed_flush_lsn is there",
            "and the marker row is seen on the other side; then look at tables, errors and the slot once more",
        ),
    )


async def _step_back(now: Link, then: Link, app: str) -> None:
    """An earlier run was cut off after it had stopped following; what it made would keep what comes now."""
    done = await dismantle(then, app)
    if done.left:
        raise ActionFailed(f"what an earlier run has made cannot be removed: {'; '.join(done.left)}")
    await enable(now, app)


def _sequences(turn: Turn) -> Action:
    context = turn.context
    moved: Facts = {}

    async def observe() -> Seen:
        return Seen.done(**moved) if moved and turn.fence.held else Seen.todo()

    async def apply(live: Live) -> Facts:
        now, _ = await turn.pair()
        moved.update(moved=await set_sequences(now.publisher, now.subscriber, context.app))
        return {}

    return Action(
        "sequences",
        f"set every sequence to the {turn.leaving}'s value",
        observe,
        apply,
        does=("setval(name, last_value, is_called) for every sequence, then read back",),
    )


def _prepare(turn: Turn) -> Action:
    """The first side will follow from exactly here; made while both are equal, so nothing needs to be copied."""
    context = turn.context

    async def observe() -> Seen:
        now, then = await turn.pair()
        stopped, made = await both(find_subscription(now, context.app), find_subscription(then, context.app))
        slot = await find_slot(then, context.app)
        if context.pause.drained is None or made is None or slot is None or (stopped is not None and stopped.enabled):
            return Seen.todo()
        return Seen.done(slot=slot.name)

    async def apply(live: Live) -> Facts:
        now, then = await turn.pair()
        await disable(now, context.app)
        await prepare_back(now, then, context.app, deadline_s=turn.left_s() * SHARE, say=live.log)
        return {"counted": (await rows_written(now.subscriber, context.app)).to_json()}

    return Action(
        f"prepare-{'ahead' if turn.home else 'back'}",
        f"prepare that the {turn.leaving} follows from here on",
        observe,
        apply,
        does=("ALTER SUBSCRIPTION … DISABLE; a slot on the other side: what is written there from now on is kept",),
    )


def may_undo(turn: Turn) -> Callable[[], Awaitable[Verdict]]:
    """As long as the names are as they were nobody has written on the other side."""

    async def look_at_names() -> Verdict:
        turn.context.place = None
        if not turn.exchanging or not await turn.over():
            return Verdict(True, "the names are as they were: nobody has written on the other side")
        if turn.home:
            return Verdict(False, "the old host takes writes again", "run `switchover rollback` again to go on")
        return Verdict(
            False,
            "the target is open, and the old host will be kept current",
            "run again to go forward, or `switchover rollback`, which brings every row back",
        )

    return look_at_names
