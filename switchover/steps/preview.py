"""What a step will do, and how every gate stands now: for a person to read before any key is pressed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.engine.live import Live
from switchover.engine.runner import Runner, Stop
from switchover.engine.step import Verdict
from switchover.plan.decide import has_live_copy, is_undone_by_going_back, replicates, step_of, way_back, went_back
from switchover.plan.file import load
from switchover.plan.outline import StepName
from switchover.plan.preview import PreviewAction
from switchover.plan.progress import Passed, fold, touched
from switchover.steps import build
from switchover.steps.context import Context
from switchover.steps.opening import change_words, written_since
from switchover.steps.session import EXPECTED
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from switchover.engine.step import Gate, Step
    from switchover.plan.journal import Draft, Entry
    from switchover.postgres.finding import Finding


class _NoJournal:
    """Reads the entries there are; a preview writes nothing."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries

    def append(self, draft: Draft) -> Entry:
        raise AssertionError(f"a preview wrote {draft.what}")


def _step(path: Path, name: StepName) -> tuple[Context, Step]:
    loaded = load(path)
    plan_id = fold(loaded.spec, loaded.entries).plan_id or "0" * 32
    context = Context(path, loaded.spec, loaded.entries, plan_id, "preview")
    runner = Runner(loaded.spec, _NoJournal(loaded.entries), Live(path, "preview"), Stop())
    return context, build(name, context, runner)


def preview_step(path: Path, name: StepName) -> tuple[PreviewAction, ...]:
    """Each action in words, with the exact commands, whether it can be undone, and how long it took in rehearsal."""
    context, step = _step(path, name)
    rehearsed = {
        action.id.removesuffix("-rehearsal").removesuffix("-trial"): action.seconds
        for action in step_of(context.progress(), StepName.REHEARSAL).actions
    }
    return tuple(
        PreviewAction(
            action.id,
            action.title,
            action.does,
            action.undoes,
            rehearsed.get(action.id.removesuffix("-final").removesuffix("-live")),
        )
        for action in step.actions
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """Every gate before the cutover as it stands now, and what the preflight of both servers found."""

    gates: tuple[tuple[StepName, str, Verdict], ...]
    findings: tuple[Finding, ...]


async def look(path: Path) -> Looked:
    """Look at the gates of every step before the cutover."""

    async def one(name: StepName, gate: Gate) -> tuple[StepName, str, Verdict]:
        try:
            return name, gate.name, await gate.look()
        except EXPECTED as error:
            return name, gate.name, Verdict(None, plain(str(error)))

    loaded = load(path)
    names = [state.name for state in fold(loaded.spec, loaded.entries).steps]
    steps = {name: _step(path, name) for name in names[: names.index(StepName.CUTOVER)]}
    gates = await asyncio.gather(*(one(name, gate) for name, (_, step) in steps.items() for gate in step.gates))
    return Looked(tuple(gates), steps[StepName.REHEARSAL][0].findings)


async def preview_rollback(path: Path) -> list[str]:
    """What going back would do from here, with the rows written on the target as they are now."""
    context, _ = _step(path, StepName.READINESS)
    progress = context.progress()
    if went_back(context.entries):
        return ["the run that was cut off had gone back already: users are on the old host, and nothing more is done"]
    lines = [f"way back: {way_back(progress).says}"]
    cutover = step_of(progress, StepName.CUTOVER)
    if progress.passed is Passed.NOT:
        undone = (
            [each for each in reversed(cutover.actions) if touched(each)]
            if is_undone_by_going_back(progress, StepName.CUTOVER)
            else []
        )
        if not undone and has_live_copy(progress):
            undone = [each for each in step_of(progress, StepName.REPLICATE).actions if touched(each)]
        lines += [f"  undo: {each.title}: {each.undoes}" for each in undone if each.undoes]
        return lines
    if replicates(progress):
        lines.append("every row written on the target comes back with it, or nothing is changed")
        return [*lines, *_told(_step(path, StepName.ROLLBACK)[1])]
    try:
        written = await written_since(context)
        lines.append(f"written on the target so far: {change_words(written) or 'nothing'}")
    except EXPECTED as error:
        lines.append(f"what was written on the target could not be read now: {plain(str(error))}")
    return [*lines, *_told(_step(path, StepName.ROLLBACK)[1])]


def _told(step: Step) -> list[str]:
    return [f"  {action.title}: {'; '.join(action.does)}" for action in step.actions]
