"""The comparison while writes are paused: what there is time for, the smallest tables first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.plan.decide import growth, step_of
from switchover.plan.outline import StepName
from switchover.postgres.compare import Verdict as Sameness
from switchover.postgres.compare import compare
from switchover.postgres.connect import connect, told
from switchover.postgres.table import read_tables
from switchover.steps.copying import comparison_fact, in_words
from switchover.words import count, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.postgres.table import Table
    from switchover.steps.context import Context
    from switchover.steps.turn import Turn


def last_look_action(turn: Turn) -> Action:
    """The schema, every sequence, and the rows of as many tables as there is time for, the smallest first."""
    context = turn.context

    async def observe() -> Seen:
        done = context.pause.compared
        return Seen.done(comparison=done) if done is not None and turn.fence.held else Seen.todo()

    async def apply(live: Live) -> Facts:
        started = time.monotonic()
        now, _ = await turn.pair()
        with told(now.publisher):
            async with await connect(now.publisher, context.app) as session:
                tables = await read_tables(session)
        chosen = affordable(tables, _whole_s(context), context.spec.replicate.compare.total_seconds())
        result = await compare(
            now.publisher,
            now.subscriber,
            context.app,
            on_progress=live.progress,
            views=False,
            jobs=context.spec.database.jobs,
            only=None if len(chosen) == len(tables) else chosen,
        )
        if result.verdict is Sameness.DIFFERS:
            raise ActionFailed(f"the two sides are not the same: {in_words(result)}")
        left = len(tables) - len(chosen)
        context.pause.compared = {
            **comparison_fact(result),
            "left_out": f"the rows of {count(left, 'table')}" if left else "nothing",
        }
        return {"compare_s": round(time.monotonic() - started, 3)}

    return Action(
        "compare-final",
        "compare schema, sequences, and the rows of as many tables as there is time for",
        observe,
        apply,
        does=(f"for about {duration(context.spec.replicate.compare)} at most, by the rehearsal; the smallest first",),
    )


def affordable(tables: Sequence[Table], whole_s: float | None, seconds: float) -> tuple[str, ...]:
    """The tables, smallest first, that can be compared in that time when all of them take ``whole_s``."""
    if whole_s is None:
        return ()
    chosen: list[str] = []
    room = sum(each.bytes for each in tables) * seconds / max(whole_s, 0.001)
    for table in sorted(tables, key=lambda each: (each.bytes, each.name)):
        room -= table.bytes
        if room < 0:
            break
        chosen.append(table.name)
    return tuple(chosen)


def _whole_s(context: Context) -> float | None:
    """How long comparing everything takes, by the rehearsal and what has grown since; None where nobody knows."""
    progress = context.progress()
    seconds = step_of(progress, StepName.REHEARSAL).facts.get("seconds")
    took = seconds.get("compare") if isinstance(seconds, dict) else None
    return float(took) * growth(progress) if isinstance(took, (int, float)) else None
