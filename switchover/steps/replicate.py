"""The live copy: made under a slot's snapshot while users work, compared exactly, then kept current for days."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.engine.step import Step, Verdict
from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.postgres.errors import PostgresError
from switchover.postgres.guard import read_fact
from switchover.postgres.replication.dismantle import dismantle
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.slot import find_slot, make_slot
from switchover.postgres.replication.subscription import (
    enable,
    find_subscription,
    redirect,
    subscribe,
    unsubscribe,
)
from switchover.postgres.scratch import drop_copy
from switchover.steps.copying import DAY_S, Copying, compare_action, copy_actions
from switchover.steps.current import LOOK_EVERY_S, STUCK_S, caught_up, follow_gates, lag_facts
from switchover.steps.fitness import database_gates, journaled, keep_schema
from switchover.steps.globals import globals_action
from switchover.steps.links import Links, in_force, links, named_links, place_of
from switchover.steps.rehearsal import chosen_way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.steps.context import Context


def build(context: Context, *, give_up: bool = False) -> Step:
    """From the publication to a copy that has caught up; ``give_up`` builds what removes all of it.

    A copy that follows is never undone by a failure: days of work hang on it, and it goes on by itself.
    """
    uncompared = context.spec.replicate.uncompared is not None
    return Step(
        StepName.REPLICATE,
        (*database_gates(context), *follow_gates(context)),
        (
            globals_action(context),
            _publish(context),
            _slot(context),
            *_copy(context),
            _subscribe(context),
            *(() if uncompared else _compare(context)),
            _follow(context),
            _catch_up(context),
        ),
        undo_on_failure=True,
        may_undo=None if give_up else lambda: _may_undo(context),
        facts=lambda: _facts(context),
        around=lambda: _hold(context),
    )


def live_copy(context: Context) -> Copying:
    """The copy beside the target that is kept current; stamped with the slot whose snapshot it holds."""
    return Copying(context, "live", context.copy_name, lambda: context.live_stamp)


def _publish(context: Context) -> Action:
    """The one action whose undo removes everything of the live copy, whichever part of it is there."""
    published: Facts = {}

    async def observe() -> Seen:
        return Seen.done(**published) if published else Seen.todo()

    async def apply(live: Live) -> Facts:
        now = await publish((await links(context)).ahead, context.app)
        identities = [str(each.identity) for each in now.tables]
        published.update(tables=len(now.tables), identities={each: identities.count(each) for each in set(identities)})
        return {}

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        return {"removed": list(await remove_all(context, live.log))}

    return Action(
        "publish",
        "publish every table of the source, by an explicit list",
        observe,
        apply,
        undo,
        does=(
            "CREATE PUBLICATION … FOR TABLE every table of its own",
            "ALTER TABLE … REPLICA IDENTITY FULL where a table has no key; noted, and put back in the end",
        ),
        undoes="subscription, slot, publication, copy and notes are removed from both servers",
        deadline_s=300,
    )


async def remove_all(context: Context, say: Callable[[str], None]) -> tuple[str, ...]:
    """Remove both links and the copy. Raises ActionFailed naming what a server that is away still has."""
    if context.held is not None:
        await context.held.release()
        context.held = None
    removed: list[str] = []
    left: list[str] = []
    both_ways = await _links_anyway(context)
    for link in (both_ways.back, both_ways.ahead):
        done = await dismantle(link, context.app)
        removed += done.removed
        left += [each for each in done.left if each not in left]
    try:
        context.place = None
        if await place_of(context) == "copy":
            await drop_copy(context.target, context.copy_name, context.plan_id, context.app)
            removed.append(f"database {context.copy_name}")
    except PostgresError as error:
        left.append(f"database {context.copy_name}: {error}")
    for each in removed:
        say(f"removed {each}")
    if left:
        raise ActionFailed(f"still there: {'; '.join(left)}. Run `switchover rollback` again when it can be reached")
    return tuple(removed)


async def _links_anyway(context: Context) -> Links:
    """The links, also when the target cannot be asked for the names it has."""
    try:
        return await links(context)
    except PostgresError:
        return named_links(context, "copy", context.copy_name)


def _slot(context: Context) -> Action:
    """What was written from its making on is kept for the copy; its snapshot is what is copied and compared."""

    async def observe() -> Seen:
        if context.held is not None:
            return Seen.done(stamp=context.held.stamp)
        stamp = await _kept(context)
        if not stamp:
            return Seen.todo()
        context.live_stamp = stamp
        return Seen.done(stamp=stamp, kept=True)

    async def apply(live: Live) -> Facts:
        link = (await links(context)).ahead
        if await place_of(context) == "copy":
            await unsubscribe(link, context.app)
        patience = context.spec.replicate.patience.total_seconds()
        held = await make_slot(link, context.app, deadline_s=patience, say=live.log)
        context.held, context.live_stamp = held, held.stamp
        context.snapshot, context.snapshot_name = held.session, held.snapshot
        return {}

    return Action(
        "make-slot",
        "keep every change from now on, and hold the snapshot of this moment",
        observe,
        apply,
        does=("CREATE_REPLICATION_SLOT … LOGICAL pgoutput, with an exported snapshot",),
        undoes="the slot is dropped, so that the source keeps no log for it",
        deadline_s=context.spec.replicate.patience.total_seconds() + 60,
        interruptible=True,
    )


async def _kept(context: Context) -> str:
    """The stamp of the copy that an earlier run has made, if it can be gone on with; else empty.

    What is not subscribed must begin where the slot begins, and what is to be compared must have been: the snapshot
    that a comparison needs went with its run.
    """
    if await place_of(context) != "copy":
        return ""
    link, copy = (await links(context)).ahead, context.target.named(context.copy_name)
    stamp = await read_fact(copy, context.app, "copy")
    slot = await find_slot(link, context.app)
    if not isinstance(stamp, str) or slot is None or slot.lost:
        return ""
    compared = await read_fact(copy, context.app, "compared")
    proved = isinstance(compared, dict) and compared.get("stamp") == stamp
    if not (proved or context.spec.replicate.uncompared is not None):
        return ""
    subscribed = await find_subscription(link, context.app) is not None
    return stamp if subscribed or slot.begins(stamp) else ""


def _copy(context: Context) -> tuple[Action, ...]:
    """The actions of either way; what removes the copy is the publication's undo, in the right order."""
    made = copy_actions(live_copy(context), chosen_way(context), where="beside the target, while users work")
    return tuple(replace(each, undo=None, undoes="") for each in made)


def _compare(context: Context) -> tuple[Action, ...]:
    action = compare_action(live_copy(context), sequences=False)
    return (replace(action, title="compare every row and object, as of the slot's snapshot"),)


def _subscribe(context: Context) -> Action:
    async def observe() -> Seen:
        link = (await links(context)).ahead
        if await place_of(context) != "copy":
            return Seen.todo()
        there = await find_subscription(link, context.app)
        return Seen.done(subscription=link.name) if there is not None else Seen.todo()

    async def apply(live: Live) -> Facts:
        await subscribe((await links(context)).ahead, context.app)
        return {}

    return Action(
        "subscribe",
        "subscribe the copy to the source, not yet enabled",
        observe,
        apply,
        does=("CREATE SUBSCRIPTION … WITH (create_slot = false, copy_data = false, enabled = false, origin = none)",),
        undoes="DROP SUBSCRIPTION",
    )


def _follow(context: Context) -> Action:
    """From here on the copy is kept current, and the source's snapshot is let go."""

    async def observe() -> Seen:
        link = (await links(context)).ahead
        there = await find_subscription(link, context.app)
        slot = await find_slot(link, context.app)
        if there is None or not there.enabled or there.worker is None or slot is None or slot.active_pid is None:
            return Seen.todo(enabled=bool(there and there.enabled))
        return Seen.done(worker=there.worker, walsender=slot.active_pid)

    async def apply(live: Live) -> Facts:
        link = (await links(context)).ahead
        if context.held is not None:
            await context.held.release()
            context.held = None
        context.snapshot, context.snapshot_name = None, None
        await redirect(link, context.app)
        await enable(link, context.app)
        deadline = time.monotonic() + STUCK_S
        while (await observe()).facts.get("worker") is None:
            if time.monotonic() > deadline:
                raise ActionFailed("the copy does not connect to the source; the log of the target's server says why")
            await asyncio.sleep(LOOK_EVERY_S / 4)
        return {}

    return Action(
        "follow",
        "let the copy follow the source",
        observe,
        apply,
        does=("ALTER SUBSCRIPTION … ENABLE",),
        undoes="DROP SUBSCRIPTION",
        deadline_s=STUCK_S + 60,
    )


def _catch_up(context: Context) -> Action:
    """Wait until little is left; a trouble that lasts ends the wait, and the copy stays."""
    reached: Facts = {}

    async def observe() -> Seen:
        return Seen.done(**reached) if reached else Seen.todo()

    async def apply(live: Live) -> Facts:
        now = await caught_up(context, (await links(context)).ahead, live)
        context.schema = await keep_schema(context)
        reached["lag"] = lag_facts(now)
        return {}

    return Action(
        "catch-up",
        "wait until the copy has caught up",
        observe,
        apply,
        does=("read pg_replication_slots, pg_stat_replication and pg_stat_subscription",),
        deadline_s=DAY_S * 7,
        interruptible=True,
    )


async def _may_undo(context: Context) -> Verdict:
    """A copy that is subscribed goes on by itself; only what is of no use any more is removed by a failure."""
    if await in_force(context) is None:
        return Verdict(True, "nothing follows yet")
    if context.held is not None:
        return Verdict(True, "it was not compared")
    fix = "mend it and run again; or give it up: `switchover rollback`"
    return Verdict(False, "the live copy stays and goes on by itself", fix)


async def _hold(context: Context) -> Callable[[], Awaitable[None]]:
    """Let the slot's snapshot go when the run ends, however it ends: it holds vacuum up."""

    async def let_go() -> None:
        if context.held is not None:
            await context.held.release()
        context.held, context.snapshot, context.snapshot_name = None, None, None

    return let_go


def _facts(context: Context) -> Facts:
    actions = {action.id: action for action in step_of(context.progress(), StepName.REPLICATE).actions}
    compared = actions["compare-live"].proof if "compare-live" in actions else {}
    return {
        "stamp": context.live_stamp,
        "schema": context.schema,
        "comparison": compared.get("comparison"),
        "uncompared": context.spec.replicate.uncompared,
        "preflight": journaled(context.findings),
    }
