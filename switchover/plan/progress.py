"""Where every step stands: ``fold(spec, journal)``, the only source of what is shown anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from switchover.plan.drift import changes
from switchover.plan.journal import What
from switchover.plan.outline import FIRST_WRITE, OPEN_TARGET, STEP, StepInfo, StepName, steps_of
from switchover.plan.spec import subtree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from switchover.plan.journal import Entry, Json
    from switchover.plan.spec import Spec


class StepStatus(StrEnum):
    """How a step stands."""

    WAITING = "waiting"  # needs an earlier step first
    READY = "ready"  # may be run now
    RUNNING = "running"  # begun by a run that has not ended (or was killed: see Progress.run)
    HELD = "held"  # waits for time, a person or an edit: see StepState.hold
    DONE = "done"
    STALE = "stale"  # was done, but what it relied on has changed
    FAILED = "failed"  # stopped with a reason; what it had done was undone or stands as shown
    UNKNOWN = "unknown"  # a person must look
    UNDONE = "undone"  # was undone on purpose


class ActionStatus(StrEnum):
    """How an action stands."""

    TODO = "todo"
    RUNNING = "running"  # intent written, no outcome yet
    DONE = "done"
    ALREADY = "already"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNDOING = "undoing"
    UNDONE = "undone"


class Passed(StrEnum):
    """The point of no return: the first user write accepted by the target."""

    NOT = "not passed"
    MAYBE = "may be passed"
    YES = "passed"


@dataclass(frozen=True, slots=True)
class GateState:
    """A fact that must hold; ``ok`` None is "could not be looked at", which counts as no."""

    name: str
    ok: bool | None
    evidence: str
    fix: str = ""
    details: tuple[str, ...] = ()
    """What the evidence sums up, a line each."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a step waits, for whom or what, and until when."""

    step: StepName
    key: str
    reason: str
    kind: str
    """"time", "person" or "edit"."""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ActionState:
    """One action as the journal knows it."""

    id: str
    title: str
    does: tuple[str, ...] = ()
    undoes: str = ""
    status: ActionStatus = ActionStatus.TODO
    intended: bool = False
    """Whether an intent was written, and no undo since."""
    before: Mapping[str, Json] = field(default_factory=dict)
    proof: Mapping[str, Json] = field(default_factory=dict)
    result: Mapping[str, Json] = field(default_factory=dict)
    reason: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StepState:
    """One step as the journal knows it; actions and gates are those of its latest attempt."""

    name: StepName
    title: str
    status: StepStatus
    why: str = ""
    """Why it waits, failed, is stale or unknown."""
    attempt: int = 0
    gates: tuple[GateState, ...] = ()
    actions: tuple[ActionState, ...] = ()
    hold: Hold | None = None
    started: datetime | None = None
    ended: datetime | None = None
    seconds: float | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    """What the step found and later steps need (the ``complete`` entry's facts)."""
    put_back: bool = False
    """Whether its latest attempt was undone: the next one is a new attempt, with gates and go."""


@dataclass(frozen=True, slots=True)
class RunState:
    """The latest run; ``outcome`` empty means no end was written: it runs, or it was killed."""

    run: str
    who: str
    pid: int
    epoch: int
    started: datetime
    outcome: str = ""
    reason: str = ""
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attestation:
    """An operator's signed statement."""

    item: str
    who: str
    at: datetime
    note: str
    link: str = ""
    """Where the evidence is."""
    owner: str = ""
    """Who answers for it, where that is another than who signed."""
    expires: date | None = None
    """The last day on which it holds; None where nothing was said."""
    about: Mapping[str, Json] | None = None
    """What it speaks of, as that was when it was signed; None in journals of before this was kept."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer to a hold."""

    key: str
    choice: str
    who: str
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything the journal says, folded."""

    plan_id: str
    steps: tuple[StepState, ...]
    """In the operator's order, without the rollback."""
    rollback: StepState | None
    """The latest rollback or undo asked for, if there was one."""
    passed: Passed
    next: StepName | None
    """The first step that is not done."""
    hold: Hold | None
    run: RunState | None
    attested: Mapping[str, Attestation]
    decisions: tuple[Decision, ...]
    epoch: int
    head: str
    """Chain of the last entry."""
    entries: int
    finished: bool
    rolled_back: bool


def fold(spec: Spec, entries: Sequence[Entry]) -> Progress:
    """Fold the journal over the steps; a pure function of its arguments."""
    return Folding(spec).progress(entries)


class Folding:
    """A journal folded as it grows: what was told once is not told again, however long it is."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._story = _Story()
        self._told: list[Entry] = []
        self._progress: Progress | None = None

    def progress(self, entries: Sequence[Entry]) -> Progress:
        """The same as ``fold``, for a journal that goes on where the last one ended; any other is told anew."""
        known = len(self._told)
        if known > len(entries) or (known and entries[known - 1] is not self._told[-1]):
            self._story, self._told, known = _Story(), [], 0
        elif known == len(entries) and self._progress is not None:
            return self._progress
        for entry in entries[known:]:
            self._story.tell(entry)
            self._told.append(entry)
        self._progress = _judged(self._spec, self._story, self._told)
        return self._progress


def _judged(spec: Spec, story: _Story, entries: Sequence[Entry]) -> Progress:
    """Where every step stands after what was told."""
    steps: list[StepState] = []
    done: set[StepName] = set()
    for info in steps_of(spec.database.method):
        state = _standing(spec, story, info, done)
        if state.status is StepStatus.DONE:
            done.add(info.name)
        steps.append(state)
    following = next((state.name for state in steps if state.status is not StepStatus.DONE), None)
    hold = next((state.hold for state in steps if state.status is StepStatus.HELD), None)
    return Progress(
        plan_id=story.plan_id,
        steps=tuple(steps),
        rollback=story.steps.get(StepName.ROLLBACK),
        passed=story.passed,
        next=following,
        hold=hold,
        run=story.run,
        attested=dict(story.attested),
        decisions=tuple(story.decisions),
        epoch=story.run.epoch if story.run else 0,
        head=entries[-1].chain if entries else "",
        entries=len(entries),
        finished=StepName.FINISH in done,
        rolled_back=story.rolled_back,
    )


def _standing(spec: Spec, story: _Story, info: StepInfo, done: set[StepName]) -> StepState:
    """The step as told, judged against today's spec and the steps before it."""
    state = story.steps.get(info.name) or StepState(info.name, info.title, StepStatus.READY)
    if state.status is StepStatus.DONE:
        changes = _drift(spec, info, story.relied.get(info.name, {}))
        if changes:
            return replace(state, status=StepStatus.STALE, why=changes)
        return state
    missing = [STEP[name].title for name in info.needs if name not in done]
    if missing and state.status in (StepStatus.READY, StepStatus.UNDONE):
        return replace(state, status=StepStatus.WAITING, why=f"needs {', '.join(missing)} first")
    return state


def _drift(spec: Spec, info: StepInfo, relied: Mapping[str, Json]) -> str:
    """What has changed in the spec since the step relied on it, in words; empty when nothing has."""
    return changes(relied, subtree(spec, info.relies_on))


class _Story:
    """The journal as told so far: the one mutable thing in this module, and it never leaves it."""

    def __init__(self) -> None:
        self.plan_id = ""
        self.steps: dict[StepName, StepState] = {}
        self.relied: dict[StepName, Mapping[str, Json]] = {}
        self.run: RunState | None = None
        self.attested: dict[str, Attestation] = {}
        self.decisions: list[Decision] = []
        self.passed = Passed.NOT
        self.rolled_back = False

    def tell(self, entry: Entry) -> None:
        data = entry.data
        match entry.what:
            case What.CREATED:
                self.plan_id = str(data.get("plan_id", ""))
            case What.RUN:
                self.run = RunState(
                    str(data["run"]), entry.who, _int(data.get("pid")), _int(data.get("epoch")), entry.at
                )
            case What.ENDED if self.run is not None:
                self.run = replace(
                    self.run, outcome=str(data["outcome"]), reason=str(data.get("reason", "")), ended=entry.at
                )
                self._stop("stopped at a safe point; run again to go on")
            case What.ATTESTED:
                item = str(data["item"])
                self.attested[item] = _attestation(item, entry)
            case What.DECIDED:
                self.decisions.append(
                    Decision(str(data["hold"]), str(data["choice"]), entry.who, entry.at, str(data.get("note", "")))
                )
            case What.EVIDENCE if data.get("kind") == FIRST_WRITE:
                self.passed = Passed.YES
            case What.RECOVERED | What.NOTE | What.STOPPED | What.EVIDENCE | What.ENDED:
                pass
            case _:
                name = StepName(entry.step)
                if entry.action:
                    self._tell_action(name, entry)
                else:
                    self._tell_step(name, entry)

    def _stop(self, why: str) -> None:
        for name, state in self.steps.items():
            if state.status is StepStatus.RUNNING:
                self.steps[name] = replace(state, status=StepStatus.READY, why=why)

    def _tell_step(self, name: StepName, entry: Entry) -> None:
        data = entry.data
        if entry.what is What.BEGIN:
            self._begin(name, entry)
            return
        state = self.steps[name]
        match entry.what:
            case What.GATES:
                state = replace(state, gates=tuple(_gate(raw) for raw in _list(data.get("gates"))))
            case What.HELD:
                until = data.get("until")
                hold = Hold(
                    name,
                    str(data["key"]),
                    str(data["reason"]),
                    str(data["kind"]),
                    datetime.fromisoformat(str(until)) if until else None,
                )
                state = replace(state, status=StepStatus.HELD, hold=hold, why=hold.reason)
            case What.COMPLETE:
                self.relied[name] = _dict(data.get("relied"))
                state = replace(
                    state,
                    status=StepStatus.DONE,
                    why="",
                    hold=None,
                    ended=entry.at,
                    seconds=_float(data.get("seconds")),
                    facts=_dict(data.get("facts")),
                )
                if name is StepName.ROLLBACK:
                    self._roll_back()
            case What.FAILED | What.UNKNOWN:
                status = StepStatus.FAILED if entry.what is What.FAILED else StepStatus.UNKNOWN
                state = replace(state, status=status, hold=None, why=str(data.get("reason", "")), ended=entry.at)
            case What.UNDONE:
                status = StepStatus.UNDONE if data.get("asked") else StepStatus.FAILED
                why = str(data.get("reason", ""))
                state = replace(state, status=status, hold=None, why=why, ended=entry.at, put_back=True)
                if name is StepName.CUTOVER:
                    self.passed = Passed.NOT
            case _:
                pass
        self.steps[name] = state

    def _begin(self, name: StepName, entry: Entry) -> None:
        """Start or go on with an attempt; what an unfinished attempt had done stays on record."""
        attempt = _int(entry.data["attempt"])
        known = self.steps.get(name)
        same = known is not None and known.attempt == attempt
        before = {action.id: action for action in known.actions} if known is not None and same else {}
        actions = tuple(
            replace(before[listed.id], title=listed.title, does=listed.does, undoes=listed.undoes)
            if listed.id in before
            else listed
            for listed in (_listed(raw) for raw in _list(entry.data.get("actions")))
        )
        title = STEP[name].title if name in STEP else "Rollback"
        self.steps[name] = StepState(
            name,
            title,
            StepStatus.RUNNING,
            attempt=attempt,
            actions=actions,
            started=known.started if known is not None and same else entry.at,
            facts=known.facts if known is not None else {},
        )
        if name is StepName.CUTOVER and not same:
            self.rolled_back = False

    def _roll_back(self) -> None:
        self.rolled_back = True
        self.passed = Passed.NOT
        for name in (StepName.CUTOVER, StepName.VERIFY, StepName.FINISH):
            state = self.steps.get(name)
            if state is not None:
                self.steps[name] = replace(state, status=StepStatus.UNDONE, hold=None, why="rolled back")

    def _tell_action(self, name: StepName, entry: Entry) -> None:
        state = self.steps[name]
        known = next((action for action in state.actions if action.id == entry.action), None)
        action = _advance(known or ActionState(entry.action, entry.action), entry)
        actions = tuple(action if each.id == action.id else each for each in state.actions)
        self.steps[name] = replace(state, actions=actions if known else (*actions, action))
        if action.id == OPEN_TARGET and entry.what is What.INTENT and self.passed is Passed.NOT:
            self.passed = Passed.MAYBE
        if action.id == OPEN_TARGET and entry.what is What.UNDONE:
            self.passed = Passed.NOT


def _advance(action: ActionState, entry: Entry) -> ActionState:
    """The action after one more entry; the first intent's ``before`` stays, for it is what undo needs."""
    data = entry.data
    reason = str(data.get("reason", ""))
    match entry.what:
        case What.INTENT:
            before = action.before if action.intended else _dict(data.get("before"))
            return replace(
                action, status=ActionStatus.RUNNING, intended=True, before=before, started=entry.at, reason=""
            )
        case What.DONE | What.ALREADY:
            status = ActionStatus.DONE if entry.what is What.DONE else ActionStatus.ALREADY
            return replace(
                action,
                status=status,
                proof=_dict(data.get("proof")),
                result=_dict(data.get("result")) or action.result,
                seconds=_float(data.get("seconds")) or action.seconds,
                ended=entry.at,
                reason="",
            )
        case What.FAILED:
            return replace(action, status=ActionStatus.FAILED, reason=reason, ended=entry.at)
        case What.UNKNOWN | What.UNDO_FAILED:
            return replace(action, status=ActionStatus.UNKNOWN, reason=reason, ended=entry.at)
        case What.UNDO:
            return replace(action, status=ActionStatus.UNDOING)
        case What.UNDONE:
            proof = _dict(data.get("proof"))
            return replace(action, status=ActionStatus.UNDONE, intended=False, proof=proof, ended=entry.at)
        case _:
            return action


def touched(action: ActionState) -> bool:
    """Whether the action may have changed the world and has not been undone; one only looked at has not."""
    return action.intended


def _listed(raw: Json) -> ActionState:
    data = _dict(raw)
    return ActionState(
        str(data["id"]),
        str(data["title"]),
        tuple(str(line) for line in _list(data.get("does"))),
        str(data.get("undoes", "")),
    )


def _attestation(item: str, entry: Entry) -> Attestation:
    data = entry.data
    expires, about = data.get("expires"), data.get("about")
    return Attestation(
        item,
        entry.who,
        entry.at,
        str(data.get("note", "")),
        str(data.get("link", "")),
        str(data.get("owner", "")),
        date.fromisoformat(expires) if isinstance(expires, str) else None,
        about if isinstance(about, dict) else None,
    )


def _gate(raw: Json) -> GateState:
    data = _dict(raw)
    ok = data.get("ok")
    return GateState(
        str(data["name"]),
        ok if isinstance(ok, bool) else None,
        str(data.get("evidence", "")),
        str(data.get("fix", "")),
        tuple(str(line) for line in _list(data.get("details"))),
    )


def _dict(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _int(value: Json) -> int:
    return int(value) if isinstance(value, (int, float, str)) else 0


def _float(value: Json) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
