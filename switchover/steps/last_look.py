"""The comparison while writes are paused: what there is time for, the smallest tables first.

Of the others it is the newest rows: a link that has lost something on its way has lost it at its end.
"""

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
from switchover.words import duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.postgres.table import Table
    from switchover.steps.context import Context
    from switchover.steps.turn import Turn


AT_LEAST = 16_000_000
"""Bytes that are compared in less than a tenth of a second."""

NEWEST = 1000
"""Rows that are looked at of a table for which there is no time."""


def last_look_action(turn: Turn) -> Action:
    """The schema, every sequence, as many tables as there is time for, and the newest rows of all others."""
    context, spec = turn.context, turn.context.spec.replicate

    async def observe() -> Seen:
        done = context.pause.compared
        return Seen.done(comparison=done) if done is not None and turn.fence.held else Seen.todo()

    async def apply(live: Live) -> Facts:
        started = time.monotonic()
        now, _ = await turn.pair()
        with told(now.publisher):
            async with await connect(now.publisher, context.app) as session:
                tables = await read_tables(session)
        chosen = affordable(tables, _whole_s(context), spec.compare.total_seconds())
        result = await compare(
            now.publisher,
            now.subscriber,
            context.app,
            on_progress=live.progress,
            views=False,
            jobs=context.spec.database.jobs,
            only=None if len(chosen) == len(tables) else chosen,
            last=NEWEST,
        )
        if result.verdict is Sameness.DIFFERS:
            raise ActionFailed(f"the two sides are not the same: {in_words(result)}")
        context.pause.compared = {**comparison_fact(result), "left_out": list(result.differences)}
        return {"compare_s": round(time.monotonic() - started, 3)}

    return Action(
        "compare-final",
        "compare schema, sequences, and as many rows as there is time for",
        observe,
        apply,
        does=(
            f"whole tables, the smallest first: {size(AT_LEAST)} and what {duration(spec.compare)} has time for",
            f"of each other one the newest {NEWEST:,} rows, where its key is one whole number",
        ),
    )


def affordable(tables: Sequence[Table], whole_s: float | None, seconds: float) -> tuple[str, ...]:
    """The tables, smallest first, that can be compared in that time when all of them take ``whole_s``.

    As many as ``AT_LEAST`` bytes hold are compared in any case.
    """
    chosen: list[str] = []
    known = sum(each.bytes for each in tables) * seconds / max(whole_s, 0.001) if whole_s is not None else 0.0
    room = max(known, AT_LEAST)
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
