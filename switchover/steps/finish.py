"""Step 7: the TTL goes back up, scratch objects go away, the report is written. The way back closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.action import Action, Seen
from switchover.engine.step import Step
from switchover.plan.outline import StepName
from switchover.postgres.scratch import database_exists, drop_copy, user_tables
from switchover.steps.dns_change import Proof, Rewrite, rewrite_action

if TYPE_CHECKING:
    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.steps.context import Context

RAISE_DEADLINE_S = 600.0


def build(context: Context) -> Step:
    """Raise each name's TTL to what it was, and drop what only the switchover needed."""
    return Step(
        StepName.FINISH,
        actions=(*(_raise_ttl(context, name) for name in context.spec.dns.names), _drop(context)),
    )


def _raise_ttl(context: Context, name: str) -> Action:
    original = context.facts(StepName.LOWER_TTL).get("original_ttl")
    ttl = original.get(name) if isinstance(original, dict) else None
    to = context.spec.dns.to
    rewrite = Rewrite(name, to, to, int(str(ttl)) if ttl else context.spec.dns.low_ttl)
    return rewrite_action(
        context,
        StepName.FINISH,
        rewrite,
        f"raise the TTL of {name} to {rewrite.ttl} s",
        Proof(2, 0.0, RAISE_DEADLINE_S, edit_holds=True),
    )


def _drop(context: Context) -> Action:
    """The set-aside database of before goes only when it holds no table of anyone's."""
    kept: Facts = {}

    async def observe() -> Seen:
        there = await database_exists(context.target, context.aside_name, context.app)
        return Seen.done(**kept) if not there or kept else Seen.todo(database=context.aside_name)

    async def apply(live: Live) -> Facts:
        tables = await user_tables(context.target, context.aside_name, context.app)
        if tables:
            says = f"{context.aside_name} is kept: it holds {len(tables)} tables of before; drop it by hand when sure"
            live.log(says)
            kept.update(kept=context.aside_name, tables=len(tables))
            return {"says": says}
        await drop_copy(context.target, context.aside_name, context.plan_id, context.app)
        return {"dropped": context.aside_name}

    return Action(
        "drop-scratch",
        "drop the empty database that the target was before",
        observe,
        apply,
        does=(f"DROP DATABASE {context.aside_name}, unless it holds tables",),
    )
