"""The operator's own commands that tell users of the maintenance, and take the word back."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.plan.progress import ActionStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.plan.spec import CommandSpec
    from switchover.steps.context import Context


def maintenance_action(context: Context, *, on: bool, step: StepName = StepName.CUTOVER) -> tuple[Action, ...]:
    """The action that runs the plan's command; empty when the plan has none.

    A command leaves nothing that can be looked at, so the journal's word counts, and one that a crash cut
    short is run again: both commands must bear being run twice.
    """
    spec = context.spec.maintenance
    command, back = (spec.on, spec.off) if on else (spec.off, spec.on)
    if command is None:
        return ()
    name = "maintenance-on" if on else "maintenance-off"
    ran = False

    async def observe() -> Seen:
        return Seen.done(ran=True) if ran or _recorded(context, step, name) else Seen.todo()

    async def apply(live: Live) -> Facts:
        nonlocal ran
        said = await _run(context, command, live)
        ran = True
        return {"said": said}

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        return {"said": await _run(context, back, live)} if back is not None else {"nothing": "no command to undo it"}

    return (
        Action(
            name,
            "maintenance page on, old application stops taking work" if on else "maintenance page off",
            observe,
            apply,
            undo,
            does=(shlex.join(command.command),),
            undoes=shlex.join(back.command) if back is not None else "",
            deadline_s=command.timeout.total_seconds() + 10,
        ),
    )


def _recorded(context: Context, step: StepName, name: str) -> bool:
    progress = context.progress()
    state = progress.rollback if step is StepName.ROLLBACK else step_of(progress, step)
    done = (ActionStatus.DONE, ActionStatus.ALREADY)
    return state is not None and any(action.id == name and action.status in done for action in state.actions)


async def _run(context: Context, command: CommandSpec, live: Live) -> str:
    ended = await context.children.run(
        command.command, timeout_s=command.timeout.total_seconds(), cwd=context.path.parent, on_line=live.log
    )
    if ended.code != 0:
        raise ActionFailed(f"{shlex.join(command.command)} ended with {ended.code}: {ended.said[-300:]}")
    return ended.said[-300:]
