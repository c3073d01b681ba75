"""Step 7: the TTL goes back up, scratch objects go away, the report is written. The way back closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.engine.step import Step
from switchover.plan.decide import replicates
from switchover.plan.outline import StepName
from switchover.postgres.errors import PostgresError
from switchover.postgres.replication.dismantle import dismantle, remains
from switchover.postgres.scratch import database_exists, drop_copy, user_tables
from switchover.steps.dns_change import Proof, Rewrite, rewrite_action
from switchover.steps.links import links

if TYPE_CHECKING:
    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.steps.context import Context

RAISE_DEADLINE_S = 600.0


def build(context: Context) -> Step:
    """Raise each name's TTL to what it was, and drop what only the switchover needed."""
    live = replicates(context.progress())
    return Step(
        StepName.FINISH,
        actions=(
            *(_raise_ttl(context, name) for name in context.spec.dns.names),
            *([_end_links(context)] if live else []),
            _drop(context),
        ),
        go="the way back closes: the old host will not be kept current any more; a person says go" if live else "",
    )


def _end_links(context: Context) -> Action:
    """Nothing of either link stays on either side; what a side that is away still has is removed when run again."""

    async def observe() -> Seen:
        found = await links(context)
        try:
            left = [each for link in (found.ahead, found.back) for each in await remains(link, context.app)]
        except PostgresError as error:
            return Seen.todo(unasked=str(error))
        return Seen.todo(left=[*left]) if left else Seen.done()

    async def apply(live: Live) -> Facts:
        removed: list[Json] = []
        left: list[str] = []
        found = await links(context)
        for link in (found.back, found.ahead):
            done = await dismantle(link, context.app)
            removed += done.removed
            left += [each for each in done.left if each not in left]
        if left:
            raise ActionFailed(f"still there: {'; '.join(left)}. Run again when that server can be reached")
        return {"removed": removed}

    return Action(
        "end-links",
        "end the replication to the old host: the way back closes",
        observe,
        apply,
        does=("DROP SUBSCRIPTION, the slot and the publication on both sides; replica identities as they were",),
        deadline_s=300,
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
