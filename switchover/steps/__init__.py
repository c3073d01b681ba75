"""The switchover's steps, one file each, in the operator's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from switchover.plan.outline import StepName
from switchover.steps import cutover, finish, lower_ttl, readiness, rehearsal, replicate, rollback, verify, window

if TYPE_CHECKING:
    from switchover.engine.runner import Runner
    from switchover.engine.step import Step
    from switchover.steps.context import Context


def build(name: StepName, context: Context, runner: Runner) -> Step:
    """One step as it would be run now; building looks at nothing and changes nothing."""
    match name:
        case StepName.READINESS:
            return readiness.build(context)
        case StepName.REHEARSAL:
            return rehearsal.build(context)
        case StepName.LOWER_TTL:
            return lower_ttl.build(context)
        case StepName.REPLICATE:
            return replicate.build(context)
        case StepName.WINDOW:
            return window.build(context)
        case StepName.CUTOVER:
            return cutover.build(context, runner)
        case StepName.VERIFY:
            return verify.build(context, runner)
        case StepName.FINISH:
            return finish.build(context)
        case StepName.ROLLBACK:
            return rollback.build(context)
        case _:
            assert_never(name)
