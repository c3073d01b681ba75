"""A rolling update drawn over time: how many containers serve, what each slot does, which requests fail.

A column is a stretch of time and shows the worst of it, so that no gap is too short to be seen.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING

from rich.text import Text

from switchover.readiness.rollout.timeline import Version
from switchover.words import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from switchover.readiness.rollout.balancer import Requests
    from switchover.readiness.rollout.timeline import Task, Timeline

LABEL = 9
MOST_LEVELS, MOST_SLOTS = 8, 8
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_EIGHTHS = " ▁▂▃▄▅▆▇█"


class _State(IntEnum):
    """What one slot does, the worse the higher."""

    NEW = 0
    OLD = 1
    BOTH = 2
    STARTING = 3
    NOBODY = 4


_LOOKS = {
    _State.OLD: ("─", "-", "cyan", "old serves"),
    _State.BOTH: ("┄", "=", "cyan", "old serves, new starts"),
    _State.STARTING: ("░", ".", "yellow", "none serves, new starts"),
    _State.NOBODY: ("✗", "x", "bold red", "none serves"),
    _State.NEW: ("━", "#", "green", "new serves"),
}


@dataclass(frozen=True, slots=True)
class _Scale:
    """Columns of equal stretches of time."""

    columns: int
    step_s: float

    def spans(self) -> Iterator[tuple[float, float]]:
        for n in range(self.columns):
            yield n * self.step_s, (n + 1) * self.step_s


def chart(timeline: Timeline, requests: Requests | None, width: int = 80, *, ascii_only: bool = False) -> Text:
    """The update as lines no wider than ``width``; without ``requests`` their row is left out."""
    ends_s = max(timeline.ends_s, requests.until_s if requests else 0, 1)
    columns = max(20, width - LABEL - 1)
    scale = _Scale(columns, ends_s / (columns - 1))  # what is so in the end has a column too
    lines = [*_capacity(timeline, scale, ascii_only=ascii_only)]
    if requests is not None and requests.until_s:
        lines.append(_failing(requests, scale, ascii_only=ascii_only))
    lines += _axis(scale, ascii_only=ascii_only)
    lines += _slots(timeline, scale, ascii_only=ascii_only)
    return Text("\n").join(lines)


def _capacity(timeline: Timeline, scale: _Scale, *, ascii_only: bool) -> Iterator[Text]:
    """A row a level, from all replicas down; what is missing is shaded."""
    fewest = _fewest(timeline, scale)
    levels = min(timeline.replicas, MOST_LEVELS)
    each = timeline.replicas / levels
    for level in range(levels, 0, -1):
        parts = [min(1.0, max(0.0, serving / each - level + 1)) for serving in fewest]
        number = f"{round(level * each)}"
        says = f"{number} serve" if level in (levels, 1) and timeline.replicas < 100 else f"{number:<{LABEL - 2}}"
        yield _row(says, [_block(part, ascii_only=ascii_only) for part in parts])


def _fewest(timeline: Timeline, scale: _Scale) -> list[int]:
    """The fewest that serve in each column."""
    moments = [at_s for at_s, _ in timeline.capacity]
    serving = [number for _, number in timeline.capacity]
    found = []
    for from_s, until_s in scale.spans():
        found.append(min(serving[bisect_right(moments, from_s) - 1 : bisect_left(moments, until_s)]))
    return found


def _block(part: float, *, ascii_only: bool) -> tuple[str, str]:
    if part >= 1:
        return ("#" if ascii_only else "█"), "green"
    if part <= 0:
        return ("." if ascii_only else "░"), "red"
    return (":" if ascii_only else _EIGHTHS[max(1, int(part * 8))]), "yellow"


def _failing(requests: Requests, scale: _Scale, *, ascii_only: bool) -> Text:
    """The share of requests that fails in each column, in eighths."""
    shares = requests.shares(scale.step_s, scale.columns)
    eighths = [ceil(share * 8) if share >= 0.005 else 0 for share in shares]
    marks = " 12345678" if ascii_only else _EIGHTHS
    return _row("failing", [(marks[min(8, number)], "bold red") for number in eighths])


def _axis(scale: _Scale, *, ascii_only: bool) -> list[Text]:
    whole_s = scale.columns * scale.step_s
    tick_s = next((step for step in _STEPS_S if whole_s / step <= scale.columns / 9), _STEPS_S[-1])
    line, labels = list(("-" if ascii_only else "─") * scale.columns), [" "] * scale.columns
    at_s = 0
    while (column := int(at_s / scale.step_s)) < scale.columns:
        line[column] = "+" if ascii_only else "┬"
        says = duration(at_s)
        if column + len(says) <= scale.columns:
            labels[column : column + len(says)] = says
        at_s += tick_s
    return [Text(" " * LABEL + "".join(line), "dim"), Text((" " * LABEL + "".join(labels)).rstrip(), "dim")]


def _slots(timeline: Timeline, scale: _Scale, *, ascii_only: bool) -> Iterator[Text]:
    """A row a slot, and what the marks mean."""
    seen: set[_State] = set()
    shown = min(timeline.replicas, MOST_SLOTS if timeline.replicas > MOST_SLOTS + 1 else timeline.replicas)
    for slot in range(1, shown + 1):
        tasks = [task for task in timeline.tasks if task.slot == slot]
        states = [_worst(tasks, from_s, until_s) for from_s, until_s in scale.spans()]
        seen |= set(states)
        yield _row(f"slot {slot}", [(_LOOKS[state][1 if ascii_only else 0], _LOOKS[state][2]) for state in states])
    if shown < timeline.replicas:
        yield Text(f"{'':{LABEL}}and {timeline.replicas - shown} more", "dim")
    yield from _legend(seen, scale.columns, ascii_only=ascii_only)


def _legend(seen: set[_State], columns: int, *, ascii_only: bool) -> Iterator[Text]:
    line = Text(" " * LABEL)
    for state, (mark, letter, style, says) in _LOOKS.items():
        if state not in seen:
            continue
        entry = Text.assemble((letter if ascii_only else mark, style), f" {says}")
        if line.cell_len > LABEL and line.cell_len + 3 + entry.cell_len > LABEL + columns:
            yield line
            line = Text(" " * LABEL)
        line.append("   " if line.cell_len > LABEL else "").append_text(entry)
    yield line


def _worst(tasks: Sequence[Task], from_s: float, until_s: float) -> _State:
    """The worst that a slot does from one moment to just before another."""
    moments = {at_s for task in tasks for at_s in (task.starts_s, task.serves_s, task.ends_s)}
    return max(_state(tasks, at_s) for at_s in (from_s, *(at_s for at_s in moments if from_s < at_s < until_s)))


def _state(tasks: Sequence[Task], at_s: float) -> _State:
    serving = [task for task in tasks if task.serves(at_s)]
    starting = any(task.starts_s <= at_s < min(task.serves_s, task.ends_s) for task in tasks)
    if any(task.version is Version.NEW for task in serving):
        return _State.NEW
    if serving:
        return _State.BOTH if starting else _State.OLD
    return _State.STARTING if starting else _State.NOBODY


def _row(says: str, cells: Sequence[tuple[str, str]]) -> Text:
    text = Text(f"{says:>{LABEL - 1}} ")
    for style, run in groupby(cells, key=lambda cell: cell[1]):
        text.append("".join(mark for mark, _ in run), style)
    return text
