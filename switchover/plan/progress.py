"""Where every step stands: ``fold(spec, journal)``, the only source of what is shown anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from switchover.plan.journal import Json
    from switchover.plan.outline import StepName


class StepStatus(StrEnum):
    """How a step stands."""

    WAITING = "waiting"      # needs an earlier step first
    READY = "ready"          # may be run now
    RUNNING = "running"      # begun by a run that has not ended (or was killed: see Progress.run)
    HELD = "held"            # waits for time, a person or an edit: see StepState.hold
    DONE = "done"
    STALE = "stale"          # was done, but what it relied on has changed
    FAILED = "failed"        # stopped with a reason; what it had done was undone or stands as shown
    UNKNOWN = "unknown"      # a person must look
    UNDONE = "undone"        # was undone on purpose


class ActionStatus(StrEnum):
    """How an action stands."""

    TODO = "todo"
    RUNNING = "running"      # intent written, no outcome yet
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
