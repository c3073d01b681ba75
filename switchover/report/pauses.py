"""How long writes were paused, and how long until clients reached the other host: two clocks, never one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from switchover.plan.journal import What
from switchover.plan.outline import OPEN_TARGET, StepName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.plan.journal import Entry

CLOSES = {StepName.CUTOVER: ("fence-source",), StepName.ROLLBACK: ("fence-target", "close-target")}
OPENS = {StepName.CUTOVER: OPEN_TARGET, StepName.ROLLBACK: "open-source"}


@dataclass(frozen=True, slots=True)
class Pause:
    """One time in which nobody could write; instants are UTC, durations seconds."""

    step: str
    attempt: int
    start: str
    end: str
    """Empty while it lasts."""
    paused_s: float | None
    undone: str
    """Why it was undone, so that writes went on where they were; empty when they went on at the other host."""
    reached_s: float | None
    """From its start until the last cache that obeys TTLs has led clients to the other host; None before that."""


def pauses(entries: Sequence[Entry], low_ttl_s: int) -> tuple[Pause, ...]:
    """Every pause of the journal, by the instants of its entries."""
    found: list[Pause] = []
    attempts: dict[str, int] = {}
    begun: Entry | None = None
    for entry in entries:
        if entry.what is What.BEGIN:
            attempts[entry.step] = int(str(entry.data.get("attempt", 1)))
        if entry.step not in CLOSES:
            continue
        step = StepName(entry.step)
        if begun is None and entry.what is What.INTENT and entry.action in CLOSES[step]:
            begun = entry
            start = entry.at.isoformat(timespec="milliseconds")
            found.append(Pause(step, attempts.get(step, 1), start, "", None, "", None))
        elif begun is not None and begun.step == step and _ends(entry, step):
            found[-1] = replace(
                found[-1],
                end=entry.at.isoformat(timespec="milliseconds"),
                paused_s=round((entry.at - begun.at).total_seconds(), 2),
                undone="undone" if entry.what is What.UNDONE else "",
            )
            if entry.what is What.UNDONE:
                begun = None
        elif found and found[-1].step == step:
            found[-1] = _later(found[-1], entry, begun, low_ttl_s)
            if entry.what is What.COMPLETE and not entry.action:
                begun = None
    return tuple(found)


def _ends(entry: Entry, step: StepName) -> bool:
    """Whether somebody may write from this entry on."""
    if entry.action == OPENS[step]:
        return entry.what in (What.DONE, What.ALREADY)
    return entry.action in CLOSES[step] and entry.what is What.UNDONE


def _later(pause: Pause, entry: Entry, begun: Entry | None, low_ttl_s: int) -> Pause:
    """What comes after the pause: why it was undone, or where clients are led."""
    if entry.what is What.UNDONE and not entry.action and pause.undone:
        return replace(pause, undone=str(entry.data.get("reason", "")))
    pointed = entry.action.startswith("set-address ") and entry.what in (What.DONE, What.ALREADY)
    if pointed and begun is not None and not pause.undone:
        return replace(pause, reached_s=round((entry.at - begun.at).total_seconds() + low_ttl_s, 2))
    return pause
