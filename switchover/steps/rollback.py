"""The return after users may have written on the target: counted, kept, and the old host opens again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.action import Action, Seen
from switchover.engine.step import Step
from switchover.plan import names
from switchover.plan.decide import replicates
from switchover.plan.outline import StepName
from switchover.postgres.kept import keeping
from switchover.postgres.scratch import close_database, database_exists, swap_in
from switchover.steps.cutover import SWITCH_DEADLINE_S
from switchover.steps.dns_change import Proof, Rewrite, rewrite_action
from switchover.steps.fencing import fenced_before, lower
from switchover.steps.following import follow_action, names_back_action, views_action
from switchover.steps.maintenance import maintenance_action
from switchover.steps.opening import change_facts, change_lines, written_since
from switchover.steps.turn import Turn
from switchover.steps.turning import announce_action, may_undo, paused_actions, ready_action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.steps.context import Context


def build(context: Context) -> Step:
    """Without a live copy the target is closed before its rows are counted, and they stay behind.

    With one the old host has every row before it opens; nothing stays behind.
    """
    return _with_data(context) if replicates(context.progress()) else _without_data(context)


def _names_back(context: Context) -> tuple[Action, ...]:
    dns = context.spec.dns
    return tuple(
        rewrite_action(
            context,
            StepName.ROLLBACK,
            Rewrite(name, dns.to, dns.from_, dns.low_ttl),
            f"point {name} back to {dns.from_}",
            Proof(2, 0.0, SWITCH_DEADLINE_S),
        )
        for name in dns.names
    )


def _with_data(context: Context) -> Step:
    """The new side is fenced, the old one has everything and opens; then it is followed, as before the cutover."""
    turn = Turn(context, home=True)
    return Step(
        StepName.ROLLBACK,
        actions=(
            follow_action(Turn(context), gone_on=turn.over),
            views_action(turn),
            ready_action(turn),
            announce_action(turn),
            *maintenance_action(context, on=True, step=StepName.ROLLBACK),
            *paused_actions(turn),
            names_back_action(turn, lambda: _fenced_target(context)),
            _unfence(context),
            *_names_back(context),
            follow_action(turn),
            *maintenance_action(context, on=False, step=StepName.ROLLBACK),
        ),
        undo_on_failure=True,
        no_return=turn.exchange,
        may_undo=may_undo(turn),
        around=keeping,
    )


def _fenced_target(context: Context) -> Mapping[str, Json]:
    """The target's settings from before this rollback's fence."""
    rollback = context.progress().rollback
    actions = rollback.actions if rollback is not None else ()
    return next((each.before for each in actions if each.id == "fence-target"), {})


def _without_data(context: Context) -> Step:
    """The target is closed before its rows are counted, and the source opens only when DNS is back."""
    return Step(
        StepName.ROLLBACK,
        actions=(
            *maintenance_action(context, on=True, step=StepName.ROLLBACK),
            _close(context),
            *_names_back(context),
            _keep(context),
            _unfence(context),
            *maintenance_action(context, on=False, step=StepName.ROLLBACK),
        ),
    )


def kept_name(context: Context) -> str:
    """The database that keeps what users wrote on the target; named by the attempt, so none is ever overwritten."""
    rollback = context.progress().rollback
    attempt = rollback.attempt if rollback is not None else 1
    return names.kept_name(context.plan_id, attempt)


def _close(context: Context) -> Action:
    """Close the target and state which rows were written on it since it opened."""
    counted: Facts = {}

    async def observe() -> Seen:
        if await database_exists(context.target, kept_name(context), context.app):
            return Seen.done(closed=True)
        return Seen.done(**counted) if counted else Seen.todo()

    async def apply(live: Live) -> Facts:
        await close_database(context.target, context.app, context.app_prefix)
        written = await written_since(context)
        for line in change_lines(written):
            live.log(line)
        counted.update(change_facts(written))
        return change_facts(written)

    return Action(
        "close-target",
        "close the target and count the rows written there",
        observe,
        apply,
        does=("CONNECTION LIMIT 0 and the end of every session", "compare with the fenced source"),
        deadline_s=86400,
    )


def _keep(context: Context) -> Action:
    """The written database steps aside under its own name, closed; the target's database of before comes back."""

    async def observe() -> Seen:
        kept = await database_exists(context.target, kept_name(context), context.app)
        return Seen.done(kept=kept_name(context)) if kept else Seen.todo()

    async def apply(live: Live) -> Facts:
        await swap_in(context.target, context.aside_name, kept_name(context), context.app, settings=False)
        return {"kept": kept_name(context)}

    return Action(
        "keep-written",
        "keep the written database aside, closed",
        observe,
        apply,
        does=("rename the target's database aside, and the one of before back, in one transaction",),
    )


def _unfence(context: Context) -> Action:
    """The source opens again, with exactly the settings of before the cutover."""

    async def observe() -> Seen:
        saved = fenced_before(context.progress()).get("fence")
        now = (await context.fence.read_before(context.source, context.app)).to_json()
        return Seen.done(fence=saved) if saved == now else Seen.todo(fence=now)

    async def apply(live: Live) -> Facts:
        return await lower(context, fenced_before(context.progress()))

    return Action(
        "open-source",
        "open the source again with its settings of before",
        observe,
        apply,
        does=("ALTER DATABASE … with the values saved before the fence",),
    )
