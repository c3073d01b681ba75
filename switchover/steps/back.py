"""The way back from wherever the plan stands: an undo, a live copy given up, or the rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.runner import Outcome
from switchover.plan.decide import has_live_copy, is_undone_by_going_back, step_of, went_back
from switchover.plan.lock import who_am_i
from switchover.plan.outline import StepName
from switchover.plan.progress import Passed, StepStatus
from switchover.postgres.errors import Unreachable
from switchover.postgres.sessions import end_sessions
from switchover.steps import build, replicate
from switchover.steps.guarded import SETTLED_S, Refused, guarded, record, settle, take_over

if TYPE_CHECKING:
    from switchover.engine.runner import Runner
    from switchover.plan.progress import Progress
    from switchover.steps.context import Context


async def back(context: Context, runner: Runner) -> tuple[Outcome, str]:
    """Undo, give up or roll back, whichever the state allows; how that ended, and why."""
    there = went_back(runner.journal.entries)
    epoch = take_over(context, runner, StepName.ROLLBACK)
    if there:
        more = "; `switchover rollback` once more gives the live copy up" if has_live_copy(runner.progress()) else ""
        return Outcome.DONE, f"the run that was cut off had gone back already: users are on the old host{more}"
    try:
        await settle(context)
    except Unreachable:
        if runner.progress().passed is not Passed.NOT:
            raise
        return await _back_alone(context, runner)
    async with guarded(context, runner, epoch):
        progress = runner.progress()
        begun = progress.rollback is not None and progress.rollback.status not in (
            StepStatus.DONE,
            StepStatus.UNDONE,
        )
        cutover = step_of(progress, StepName.CUTOVER)
        if not begun and cutover.status is not StepStatus.DONE and progress.passed is not Passed.YES:
            for name in _undoable(progress):
                outcome = await runner.undo(build(name, context, runner), f"{who_am_i()} asked to go back", asked=True)
                await record(context, runner, epoch, outcome)
                if outcome is not Outcome.NO:
                    return outcome, step_of(runner.progress(), name).why
        if runner.progress().passed is Passed.NOT and has_live_copy(runner.progress()):
            outcome, why = await _give_up(context, runner)
            await record(context, runner, epoch, outcome)
            return outcome, why
        if runner.progress().passed is Passed.NOT:
            return Outcome.DONE, "nothing to go back from: users are on the old host"
        outcome = await runner.run(build(StepName.ROLLBACK, context, runner))
        await record(context, runner, epoch, outcome)
        rollback = runner.progress().rollback
        return outcome, rollback.why if rollback else ""


async def _back_alone(context: Context, runner: Runner) -> tuple[Outcome, str]:
    """Go back while a server is away, before anybody wrote on the target: users are let in, the rest is named.

    What the other server has must go all the same: a slot that nobody reads fills its disk.
    """
    for name in _undoable(runner.progress()):
        await end_sessions(context.source, context.app_prefix, context.app, SETTLED_S)
        outcome = await runner.undo(build(name, context, runner), f"{who_am_i()} asked to go back", asked=True)
        return outcome, step_of(runner.progress(), name).why
    if not has_live_copy(runner.progress()):
        raise Refused("a server is away, and there is nothing to go back from: users are on the old host")
    return await _give_up(context, runner)


async def _give_up(context: Context, runner: Runner) -> tuple[Outcome, str]:
    """Remove the live copy and all that belongs to it."""
    step = replicate.build(context, give_up=True)
    outcome = await runner.undo(step, f"{who_am_i()} gave the live copy up", asked=True)
    return outcome, step_of(runner.progress(), StepName.REPLICATE).why


def _undoable(progress: Progress) -> list[StepName]:
    """What going back undoes, the latest first; a live copy is given up by its own path."""
    return [name for name in (StepName.CUTOVER, StepName.REHEARSAL) if is_undone_by_going_back(progress, name)]
