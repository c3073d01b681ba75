"""A step: gates that must hold, then actions; a gate is a fact with its evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchover.engine.action import Action, Facts, Waiting
    from switchover.plan.outline import StepName


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate found; ``ok`` None is "could not be looked at", which counts as no."""

    ok: bool | None
    evidence: str
    fix: str = ""
    waits: Waiting | None = None
    """Set when the no is only "not yet": the step is held, not failed."""
    details: tuple[str, ...] = ()
    """What the evidence sums up, a line each."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A fact that must hold before a step may act."""

    name: str
    look: Callable[[], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it will be run now."""

    name: StepName
    gates: tuple[Gate, ...] = ()
    actions: tuple[Action, ...] = ()
    go: str = ""
    """Why a person must say go before the first action; empty when nobody need."""
    undo_on_failure: bool = False
    no_return: str = ""
    """The id of the action from whose intent on the step is not given up by itself; before it, what cannot be
    looked at counts as a failure, so that nobody stays shut out while a person is woken."""
    may_undo: Callable[[], Awaitable[Verdict]] | None = None
    """Asked before an undo of the whole step: a no leaves everything as it stands."""
    facts: Callable[[], Facts] = field(default=dict)
    """What the step found, for later steps and the report; asked once all actions are done."""
    around: Callable[[], Awaitable[Callable[[], Awaitable[None]]]] | None = None
    """Started before the first action; what it returns is awaited when the step ends, however it ends."""
