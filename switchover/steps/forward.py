"""The steps in their order, each when the one before is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.runner import Outcome
from switchover.plan.decide import has_live_copy, may_run, replicates, step_of
from switchover.plan.outline import StepName
from switchover.plan.progress import StepStatus, fold, touched
from switchover.postgres.errors import Unreachable
from switchover.steps import build
from switchover.steps.guarded import Refused, guarded, record, settle, take_over, was_killed

if TYPE_CHECKING:
    from switchover.engine.runner import Runner
    from switchover.plan.progress import Progress
    from switchover.steps.context import Context


async def in_order(context: Context, runner: Runner, through: StepName | None) -> tuple[Outcome, str]:
    """Run what is not done yet, through ``through`` or to the end; how that ended, and why."""
    killed = was_killed(runner.progress())
    epoch = take_over(context, runner, through)
    try:
        await settle(context)
    except Unreachable as error:
        return (Outcome.UNKNOWN if killed else Outcome.NO), str(error)
    async with guarded(context, runner, epoch):
        _refuse_other_method(context, runner.progress(), through)
        for name in _names(runner.progress(), through):
            progress = runner.progress()
            if step_of(progress, name).status is StepStatus.DONE:
                continue
            blocked = may_run(progress, name)
            if blocked:
                return Outcome.NO, f"{name} may not run: {blocked}"
            if name is StepName.FINISH and replicates(progress) and through is not StepName.FINISH:
                runner.yes = False  # a way back without loss is closed by who asks for just that
            outcome = await runner.run(build(name, context, runner))
            await record(context, runner, epoch, outcome)
            if outcome is not Outcome.DONE:
                state = step_of(runner.progress(), name)
                return outcome, f"{name}: {state.why}"
    return Outcome.DONE, ""


def _refuse_other_method(context: Context, progress: Progress, through: StepName | None) -> None:
    """Refuse a step that the method does not have, and a method that would leave a live copy behind."""
    if replicates(progress):
        return
    if through is StepName.REPLICATE:
        raise Refused('the step replicate is for method = "replicate"; the plan says "dump"')
    database = context.spec.database.model_copy(update={"method": "replicate"})
    if has_live_copy(fold(context.spec.model_copy(update={"database": database}), context.entries)):
        raise Refused(
            'there is still a live copy from method = "replicate": set the method back, and give it up with '
            "`switchover rollback`; nothing was changed"
        )


def _names(progress: Progress, through: StepName | None) -> list[StepName]:
    """The steps to run, in order; once the cutover has touched the world, nothing before it is run again."""
    names = [state.name for state in progress.steps]
    cutover = step_of(progress, StepName.CUTOVER)
    settled = cutover.put_back or progress.rolled_back
    if cutover.status is StepStatus.DONE or (any(touched(action) for action in cutover.actions) and not settled):
        names = names[names.index(StepName.CUTOVER) :]
    if through is not None:
        names = names[: names.index(through) + 1] if through in names else []
    return names
