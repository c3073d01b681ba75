"""How a plan looks: text made from (spec, progress, now), without a screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Span, Text

from switchover.plan.decide import (
    LIVE_S,
    clocks,
    expected_s,
    forecast,
    next_key,
    replicates,
    step_of,
    way_back,
    window_clock,
)
from switchover.plan.outline import STEP, StepName
from switchover.plan.progress import ActionStatus, Passed, StepStatus
from switchover.readiness.checklist import judge
from switchover.readiness.checklist.judge import score_words
from switchover.words import clock, duration, glyph, instant, plain

if TYPE_CHECKING:
    from datetime import datetime

    from switchover.plan.preview import PreviewAction
    from switchover.plan.progress import ActionState, GateState, Progress, StepState
    from switchover.plan.spec import Spec
    from switchover.tui.watch import Tick, View


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a plan the right side shows: a step, its preview once it is known, and the run's latest word."""

    step: StepName
    preview: tuple[PreviewAction, ...] | None = None
    tick: Tick | None = None
    live: tuple[Text, ...] = ()
    """How the live copy follows."""


STYLES = {
    "waiting": "dim",
    "todo": "dim",
    "ready": "bold",
    "running": "bold cyan",
    "held": "bold yellow",
    "done": "green",
    "already": "green",
    "stale": "bold yellow",
    "failed": "bold red",
    "unknown": "bold magenta",
    "undoing": "yellow",
    "undone": "yellow",
    "warn": "bold yellow",
    "signed": "green",
    "shown": "green",
    "waived": "yellow",
    "not applicable": "dim",
    "open": "dim",
    "later": "dim",
    "expired": "bold yellow",
    "fails": "bold red",
}

MOST_MISSING = 6
"""So many items that are not signed are named on the plan's screen; the checklist has them all."""


def mark(state: str, *, ascii_only: bool) -> Text:
    """Glyph of a state, coloured; the word stands beside it wherever it is used."""
    return Text(glyph(state, ascii_only=ascii_only), STYLES[str(state)])


def colourless(text: Text) -> Text:
    """The text with weights but without colours: where NO_COLOR is set they would turn into greys too dark to read."""
    spans = [Span(each.start, each.end, _weight(each.style)) for each in text.spans]
    return Text(text.plain, _weight(text.style), spans=spans)


def _weight(style: str | Style) -> Style:
    return (Style.parse(style) if isinstance(style, str) else style).without_color


def head(view: View, now: datetime, width: int) -> Text:
    """Where am I: plan, hosts, clocks, window, way back."""
    if view.spec is None or view.progress is None:
        return Text(plain(view.path.name), "bold")
    spec, progress = view.spec, view.progress
    zone = spec.window.zone if spec.window else None
    text = Text.assemble(
        (f" {plain(spec.name)} ", "bold reverse"), f"  {spec.dns.from_} → {spec.dns.to}   {clock(now)}"
    )
    if zone is not None and width >= 100:
        text.append(f" ({clock(now, zone)})")
    window = window_clock(spec, progress, now)
    if window is not None:
        text.append(f"   window {window.says}", "bold" if window.open else "")
    if width >= 100 and progress.finished:
        text.append("   finished", "bold green")
    text.truncate(width, overflow="ellipsis")
    second = Text.assemble(" way back: ", (way_back(progress).says, "bold"), f"   point of no return {progress.passed}")
    second.truncate(width, overflow="ellipsis")
    return Text("\n").join([text, second])


def rail_row(state: StepState, *, width: int, ascii_only: bool) -> Text:
    """One step on the left: glyph, name, word."""
    word = (
        duration(state.seconds) if state.status is StepStatus.DONE and state.seconds is not None else str(state.status)
    )
    text = Text.assemble(mark(state.status, ascii_only=ascii_only), f" {STEP[state.name].title}")
    text.append(f" {word:>{max(1, width - text.cell_len - 1)}}", STYLES[state.status])
    return text


def next_line(view: View, now: datetime) -> Text:
    """What the main key does now, and what follows from it."""
    if view.spec is None or view.progress is None:
        return Text("")
    if view.running:
        return Text.assemble((" running ", "bold cyan"), "nothing to press; q leaves, the run goes on without you")
    key = next_key(view.spec, view.progress, now)
    if key.waits_until is not None:
        left = duration((key.waits_until - now).total_seconds())
        return Text.assemble((f" waits {left} ", "bold yellow"), key.consequence)
    if key.step is None or key.label == "blocked":
        return Text.assemble((f" {key.label} ", "bold"), key.consequence)
    return Text.assemble((f" ⏎ {key.label} ", "bold reverse"), f" {key.consequence}")


def detail(view: View, shown: Shown, now: datetime, *, ascii_only: bool) -> Text:
    """The selected step: purpose, why it stands so, gates, actions, progress."""
    if view.progress is None:
        return Text(plain(view.trouble), "red")
    state = next((each for each in view.progress.steps if each.name is shown.step), view.progress.steps[0])
    info = STEP[state.name]
    lines = [
        Text.assemble((info.title, "bold"), "  ", mark(state.status, ascii_only=ascii_only), f" {state.status}"),
        Text(info.purpose, "italic"),
    ]
    if state.why:
        lines.append(Text(plain(state.why), STYLES[state.status]))
    if state.hold is not None and state.hold.until is not None and view.spec is not None:
        zone = view.spec.window.zone if view.spec.window else None
        lines.append(Text(f"until {instant(state.hold.until, zone)}", "bold"))
    lines += _cutover(view, shown.step, now)
    lines += shown.live
    gates = _gates(state.gates, ascii_only=ascii_only)
    actions = _actions(view, state, shown, now, ascii_only=ascii_only)
    shut = any(gate.ok is not True for gate in state.gates)
    lines += [*gates, *actions] if shut else [*actions, *gates]
    lines += _checklist(view, shown.step, now, ascii_only=ascii_only)
    return Text("\n").join(lines)


def _cutover(view: View, step: StepName, now: datetime) -> list[Text]:
    """The clock of the cutover: forecast, window, latest time to turn back."""
    if step is not StepName.CUTOVER or view.spec is None or view.progress is None:
        return []
    lines = []
    expected = None if replicates(view.progress) else forecast(view.progress)
    lines += _pause(view.spec, view.progress, now)
    window = window_clock(view.spec, view.progress, now)
    zone = view.spec.window.zone if view.spec.window else None
    state = next(each for each in view.progress.steps if each.name is step)
    if expected is not None:
        took = ""
        if state.started is not None and state.status is StepStatus.RUNNING:
            took = f"   running {duration((now - state.started).total_seconds())}"
        lines.append(Text(f"forecast   {duration(expected.low_s)} to {duration(expected.high_s)} for the copy{took}"))
    if window is not None:
        lines.append(
            Text(
                f"window     {window.says}; latest start {clock(window.latest_go, zone)}; "
                f"turn back by {clock(window.turn_back, zone)}"
            )
        )
    passed = view.progress.passed
    lines.append(Text(f"point of no return   {passed}", "bold red" if passed is Passed.YES else ""))
    return lines


def _pause(spec: Spec, progress: Progress, now: datetime) -> list[Text]:
    """The two clocks of a cutover to a live copy, and which try it is."""
    if not replicates(progress):
        return []
    most = duration(spec.replicate.budget)
    both = clocks(spec, progress, now)
    if both is None:
        return [Text(f"pause      writes stop for about {duration(LIVE_S)}; {most} at most, then it undoes itself")]
    attempt = step_of(progress, StepName.CUTOVER).attempt
    how = " so far" if both.pausing else ", then undone" if both.undone else ""
    again = f"   try {attempt}" if attempt > 1 else ""
    style = "bold red" if both.pausing else ""
    lines = [Text(f"pause      writes were stopped for {duration(both.paused_s)}{how}; {most} at most{again}", style)]
    if both.reached_s is not None:
        lines.append(Text(f"clients    led to the new host {duration(both.reached_s)} after writes stopped"))
    return lines


def _gates(gates: tuple[GateState, ...], *, ascii_only: bool) -> list[Text]:
    if not gates:
        return []
    lines = [Text("\nGates", "bold")]
    for gate in gates:
        state = {True: "done", False: "failed", None: "unknown"}[gate.ok]
        lines.append(
            Text.assemble(" ", mark(state, ascii_only=ascii_only), f" {plain(gate.name)}: {plain(gate.evidence, 300)}")
        )
        lines += [Text(f"     {plain(line, 300)}", STYLES["warn"]) for line in gate.details]
        if gate.ok is not True and gate.fix:
            lines.append(Text(f"     {plain(gate.fix, 300)}", "bold"))
    return lines


def _actions(view: View, state: StepState, shown: Shown, now: datetime, *, ascii_only: bool) -> list[Text]:
    """What was done; before that, what would be done, how long it took in rehearsal, and how it is undone."""
    preview, tick = shown.preview, shown.tick
    if state.actions:
        lines = [Text("\nActions", "bold")]
        for action in state.actions:
            lines += _action(
                action, tick if tick is not None and tick.action == action.id else None, ascii_only=ascii_only
            )
            if (pace := _pace(view, state, action, now)) is not None:
                lines.append(pace)
        return lines
    if preview is None:
        return []
    lines = [Text("\nWill do", "bold")]
    for each in preview:
        about = f"  ~{duration(each.rehearsed_s)}" if each.rehearsed_s is not None else ""
        lines.append(Text.assemble(" ", mark("todo", ascii_only=ascii_only), f" {plain(each.title)}{about}"))
        lines += [Text(f"     {plain(line, 200)}", "dim") for line in each.does]
        lines.append(Text(f"     undo: {plain(each.undoes, 200)}" if each.undoes else "     nothing to undo", "dim"))
    return lines if preview else [Text("\nOnly looks; changes nothing.", "dim")]


def _pace(view: View, state: StepState, action: ActionState, now: datetime) -> Text | None:
    """An action of the cutover against what the rehearsal lets expect."""
    if state.name is not StepName.CUTOVER or view.progress is None:
        return None
    expected = expected_s(view.progress, action.id)
    running = action.status is ActionStatus.RUNNING and action.started is not None
    took = (now - action.started).total_seconds() if running and action.started is not None else action.seconds
    if expected is None or took is None or action.status not in (ActionStatus.RUNNING, ActionStatus.DONE):
        return None
    low, high = expected
    says = f"     {duration(round(took))} so far, " if running else "     "
    says += f"expected {duration(round(low))} to {duration(round(high))}"
    return Text(f"{says}: longer than expected", STYLES["warn"]) if took > high else Text(says, "dim")


def _action(action: ActionState, tick: Tick | None, *, ascii_only: bool) -> list[Text]:
    took = f"  {duration(action.seconds)}" if action.seconds is not None else ""
    lines = [
        Text.assemble(
            " ",
            mark(action.status, ascii_only=ascii_only),
            f" {plain(action.title)}  ",
            (str(action.status), STYLES[action.status]),
            took,
        )
    ]
    if tick is not None and action.status is ActionStatus.RUNNING:
        lines.append(Text(f"     {bar(tick.done, tick.total, ascii_only=ascii_only)}{plain(tick.say, 120)}", "cyan"))
    if action.reason:
        lines.append(Text(f"     {plain(action.reason, 500)}", STYLES[action.status]))
    return lines


def bar(done: float, total: float, *, ascii_only: bool) -> str:
    """A progress bar of 20 cells and the share; empty when the whole is not known."""
    if total <= 0:
        return ""
    share = min(1.0, done / total)
    full, empty = ("#", ".") if ascii_only else ("━", "╌")
    cells = round(20 * share)
    return f"{full * cells}{empty * (20 - cells)} {share:4.0%} "


def _checklist(view: View, step: StepName, now: datetime, *, ascii_only: bool) -> list[Text]:
    """How far the checklist is signed, and the first required items that are not."""
    if step is not StepName.READINESS or view.spec is None or view.progress is None:
        return []
    if view.items_trouble:
        return [Text("\nChecklist", "bold"), Text(f" {plain(view.items_trouble, 600)}", STYLES["failed"])]
    if not view.items:
        return []
    found = judge(view.spec, view.items, view.progress, now)
    lines = [Text.assemble(("\nChecklist (a opens it)  ", "bold"), score_words(found))]
    for each in found.missing[:MOST_MISSING]:
        lines.append(
            Text.assemble(
                " ",
                mark(each.status, ascii_only=ascii_only),
                f" {plain(each.item.title, 100)}: {plain(each.says, 120)}",
            )
        )
    if len(found.missing) > MOST_MISSING:
        lines.append(Text(f"   and {len(found.missing) - MOST_MISSING} more that are required", "dim"))
    return lines
