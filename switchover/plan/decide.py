"""What is next, what is allowed and why not, how long, and whether one can go back: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from switchover.plan.journal import What
from switchover.plan.outline import OPEN_TARGET, STEP, StepName
from switchover.plan.progress import ActionStatus, Passed, StepStatus, touched
from switchover.words import duration, instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.plan.journal import Entry, Json
    from switchover.plan.progress import Progress, StepState
    from switchover.plan.spec import Spec

MISSED_AFTER = timedelta(minutes=15)
"""A window that opened longer ago than this without a go is missed; it is never entered late unasked."""

UNDO_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class WayBack:
    """Whether one can return to before, and at what price."""

    kind: Literal["nothing", "undo", "rollback", "closed"]
    says: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long the cutover will take, from the rehearsal's measured phases; seconds."""

    copy_s: float
    total_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True, slots=True)
class WindowClock:
    """The window against the clock."""

    opens: datetime
    closes: datetime
    left_s: float
    """Until it opens when negative-signed by ``open`` False, until it closes when open."""
    open: bool
    turn_back: datetime
    """The latest instant at which an undo still ends inside the window."""
    latest_go: datetime
    """The latest instant at which a cutover may start and still fit."""
    says: str


@dataclass(frozen=True, slots=True)
class NextKey:
    """What the main key does now."""

    label: str
    consequence: str
    step: StepName | None
    confirm: Literal["none", "yes", "type"]
    waits_until: datetime | None = None


def step_of(progress: Progress, name: StepName) -> StepState:
    """The state of one step of the operator's order."""
    return next(state for state in progress.steps if state.name is name)


def replicates(progress: Progress) -> bool:
    """Whether the plan moves the database by a live copy."""
    return any(state.name is StepName.REPLICATE for state in progress.steps)


def has_live_copy(progress: Progress) -> bool:
    """Whether something of a live copy may be on the servers."""
    state = next((each for each in progress.steps if each.name is StepName.REPLICATE), None)
    return state is not None and not state.put_back and any(touched(action) for action in state.actions)


def went_back(entries: Sequence[Entry]) -> bool:
    """Whether the last run was to go back, had done so, and was killed before it could say so.

    Asked again it has nothing more to do: going back twice means more than once, where there is a live copy.
    """
    began = max((at for at, entry in enumerate(entries) if entry.what is What.RUN), default=None)
    if began is None or entries[began].data.get("through") != StepName.ROLLBACK:
        return False
    since = entries[began:]
    done = any(
        not each.action
        and (
            (each.what is What.UNDONE and each.data.get("asked"))
            or (each.what is What.COMPLETE and each.step == StepName.ROLLBACK)
        )
        for each in since
    )
    return done and all(each.what is not What.ENDED for each in since)


def is_undone_by_going_back(progress: Progress, name: StepName) -> bool:
    """Whether going back undoes this step: it has begun, and is neither done nor gone back from.

    One that is put back may have left something behind, and is undone again; where there is a live copy all that
    goes with the copy.
    """
    state = step_of(progress, name)
    settled = state.put_back and has_live_copy(progress)
    if name is StepName.CUTOVER:
        settled = settled or progress.rolled_back
    return state.status is not StepStatus.DONE and not settled and any(touched(action) for action in state.actions)


def may_run(progress: Progress, step: StepName) -> str:
    """Why the step may not run now; empty when it may."""
    if progress.finished:
        return "the switchover is finished"
    done = {state.name for state in progress.steps if state.status is StepStatus.DONE}
    if step in done:
        return f"{STEP[step].title} is done"
    for name in STEP[step].needs:
        if name is StepName.REPLICATE and not replicates(progress):
            continue
        state = step_of(progress, name)
        if name not in done:
            return f"{STEP[name].title} is {state.status}" + (f": {state.why}" if state.why else "")
    return ""


def way_back(progress: Progress) -> WayBack:
    """Whether one can go back, and what it costs."""
    if progress.finished:
        return WayBack("closed", "no: finished; a return would be a new switchover the other way")
    if progress.passed is Passed.NOT:
        if is_undone_by_going_back(progress, StepName.CUTOVER):
            return WayBack("undo", "yes: undo puts everything back, nothing is lost")
        if has_live_copy(progress):
            return WayBack("undo", "users are on the old host; going back gives the live copy up")
        return WayBack("nothing", "nothing to go back from: users are on the old host")
    if replicates(progress):
        return WayBack("rollback", "yes, with every row, as long as the old host is kept current")
    if progress.passed is Passed.MAYBE:
        return WayBack("rollback", "yes, if no row was written on the target; otherwise those rows stay behind")
    return WayBack("rollback", "yes, but rows written on the target stay behind; they are counted and kept first")


LOW, HIGH = 0.8, 1.5
"""A busy night is slower than a rehearsal more often than it is faster."""

LIVE_S = 1.0
"""A cutover to a live copy: fence, drain, sequences, the way back, and the exchange of names."""

_PHASES = {
    "dump-final": ("dump",),
    "restore-final": ("restore", "analyze"),
    "stream-final": ("stream", "analyze"),
    "compare-final": ("compare",),
}


def forecast(progress: Progress, size: float = 0.0) -> Forecast | None:
    """The cutover's length from the rehearsal; None before it. ``size`` is the source's in bytes, where it is known.

    The range is four fifths to one and a half of what was measured, scaled by how the source has grown since, plus
    5 s for locks and DNS. With a live copy nothing is left to copy, whatever the size.
    """
    phases = step_of(progress, StepName.REHEARSAL).facts.get("seconds")
    if not isinstance(phases, dict):
        return None
    if replicates(progress):
        return Forecast(LIVE_S, LIVE_S + 5, LIVE_S / 2, LIVE_S * 5)
    copy_s = sum(_number(value) for value in phases.values()) * growth(progress, size)
    return Forecast(copy_s, copy_s + 5, copy_s * LOW, copy_s * HIGH + 5)


def expected_s(progress: Progress, action: str) -> tuple[float, float] | None:
    """Between how many seconds an action of the cutover should take; None where nothing was measured."""
    phases = step_of(progress, StepName.REHEARSAL).facts.get("seconds")
    if not isinstance(phases, dict) or not all(phase in phases for phase in _PHASES.get(action, ("",))):
        return None
    measured = sum(_number(phases[phase]) for phase in _PHASES[action]) * growth(progress)
    return measured * LOW, measured * HIGH + 1


def growth(progress: Progress, size: float = 0.0) -> float:
    """The source's ``size`` in bytes, or as it was last seen, against its size in the rehearsal; 1 if not known."""
    then = _number(step_of(progress, StepName.REHEARSAL).facts.get("size"))
    fence = next((each for each in step_of(progress, StepName.CUTOVER).actions if each.id == "fence-source"), None)
    now = size or (_number(fence.before.get("size")) if fence is not None else 0.0)
    now = now or _number(step_of(progress, StepName.WINDOW).facts.get("size"))
    return now / then if then and now else 1.0


def _number(value: Json) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def undo_s(progress: Progress) -> float:
    """How long going back takes before the point of no return, in seconds, with a margin."""
    expected = forecast(progress)
    compare_s = expected.copy_s * 0.5 if expected is not None else 30.0
    return (5 + compare_s) * UNDO_MARGIN


def window_clock(spec: Spec, progress: Progress, now: datetime) -> WindowClock | None:
    """The window against the clock; None when the plan has none yet."""
    window = spec.window
    if window is None:
        return None
    expected = forecast(progress)
    needs = timedelta(seconds=(expected.high_s if expected else 0) + undo_s(progress))
    turn_back = window.closes - timedelta(seconds=undo_s(progress))
    latest_go = min(window.opens + MISSED_AFTER, window.closes - needs) if needs < window.length else window.opens
    if now < window.opens:
        left = (window.opens - now).total_seconds()
        says = f"opens in {duration(left)}"
    elif now < window.closes:
        left = (window.closes - now).total_seconds()
        says = f"closes in {duration(left)}"
    else:
        left = 0.0
        says = f"closed {duration((now - window.closes).total_seconds())} ago"
    opened = window.opens <= now < window.closes
    return WindowClock(window.opens, window.closes, left, opened, turn_back, latest_go, says)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks of the latest cutover, which are never one; seconds."""

    paused_s: float
    """How long writes have been paused."""
    pausing: bool
    """Whether they still are."""
    undone: bool
    """Whether writes went on where they were."""
    reached_s: float | None
    """From the pause's start until caches lead clients to the new host; None before that is known."""


def clocks(spec: Spec, progress: Progress, now: datetime) -> Clocks | None:
    """How long writes were paused, and how long until clients reach the new host; None before the fence."""
    actions = {action.id: action for action in step_of(progress, StepName.CUTOVER).actions}
    fence, opened = actions.get("fence-source"), actions.get(OPEN_TARGET)
    if fence is None or fence.started is None:
        return None
    undone = fence.status is ActionStatus.UNDONE
    is_open = opened is not None and opened.status in (ActionStatus.DONE, ActionStatus.ALREADY)
    ended = fence.ended if undone else opened.ended if opened is not None and is_open else None
    pointed = [each.ended for id, each in actions.items() if id.startswith("set-address ") and each.ended is not None]
    led = max(pointed) if is_open and len(pointed) == len(spec.dns.names) else None
    return Clocks(
        ((ended or now) - fence.started).total_seconds(),
        ended is None,
        undone,
        (led - fence.started).total_seconds() + spec.dns.low_ttl if led is not None else None,
    )


def low_ttl_fact(progress: Progress, key: str) -> datetime | None:
    """An instant that the lower-ttl step found: "t0", "safe" or "lead_ends"."""
    value = step_of(progress, StepName.LOWER_TTL).facts.get(key)
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def next_key(spec: Spec, progress: Progress, now: datetime) -> NextKey:
    """What pressing the main key does now, in words, and how it must be confirmed."""
    step = progress.next
    if step is None:
        return NextKey("nothing left to do", "the report has the whole story", None, "none")
    state = step_of(progress, step)
    hold = progress.hold
    zone = spec.window.zone if spec.window else None
    if hold is not None and hold.until is not None and now < hold.until:
        says = f"nothing to do before {instant(hold.until, zone)}: {hold.reason}"
        return NextKey("wait", says, step, "none", hold.until)
    if state.status is StepStatus.RUNNING:
        return NextKey("watch", f"{state.title} is running; nothing to press", step, "none")
    blocked = may_run(progress, step)
    if blocked:
        return NextKey("blocked", blocked, step, "none")
    if step is StepName.CUTOVER:
        return NextKey("start the cutover", _cutover_says(spec, progress), step, "type")
    says = {
        StepName.READINESS: "looks at the target and the checklist; changes nothing",
        StepName.REHEARSAL: "copies the source into a scratch database and compares; users notice nothing",
        StepName.LOWER_TTL: "lowers the TTL in DNS; the address stays; it can be raised again",
        StepName.REPLICATE: "copies the source while users work on, and keeps the copy current; it can be given up",
        StepName.WINDOW: "checks that everything fits the window and writes notice and calendar file",
        StepName.VERIFY: "watches health for the soak time; changes nothing",
        StepName.FINISH: "raises the TTL and drops scratch objects; after it there is no rollback",
    }[step]
    if step is StepName.FINISH and replicates(progress):
        says = "the way back closes: the old host is no longer kept current; raises the TTL and tidies up"
    confirm: Literal["none", "yes"] = "yes" if step in (StepName.LOWER_TTL, StepName.FINISH) else "none"
    verb = "try again" if state.status in (StepStatus.FAILED, StepStatus.UNKNOWN) else "start"
    return NextKey(f"{verb} {state.title.lower()}", says, step, confirm)


def _cutover_says(spec: Spec, progress: Progress) -> str:
    """What the cutover does to users."""
    if replicates(progress):
        most = duration(spec.replicate.budget)
        says = f"writes pause for about {duration(LIVE_S)}, {most} at most"
        return f"{says}: then it undoes itself and can be tried again"
    expected = forecast(progress)
    about = f" for about {duration(expected.total_s)}" if expected else ""
    return f"users lose service{about}; until the target opens, any failure puts everything back"
