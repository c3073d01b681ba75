"""What the actions found, gathered from their proofs and results; keys nobody planned for are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.plan.progress import ActionStatus, StepState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from switchover.plan.journal import Json
    from switchover.plan.progress import ActionState

TABLES = ("servers", "comparison", "changes")
"""Keys with a table of their own in the report."""


@dataclass(frozen=True, slots=True)
class Proved:
    """One action's outcome and what showed it."""

    step: str
    action: str
    status: str
    seconds: float | None
    reason: str
    """Why it failed or is unknown."""
    facts: dict[str, Json]


def proofs(states: Sequence[StepState]) -> tuple[Proved, ...]:
    """Every action that was begun, with what its proof and result say beside the tables."""
    return tuple(
        Proved(
            state.name,
            action.title or action.id,
            action.status,
            action.seconds,
            action.reason,
            {key: value for key, value in _facts(action).items() if key not in TABLES},
        )
        for state, action in _actions(states)
        if action.status is not ActionStatus.TODO
    )


def rows(states: Sequence[StepState], key: str) -> tuple[dict[str, Json], ...]:
    """The tables under ``key``, row by row, each with its step and action."""
    found: list[dict[str, Json]] = []
    for state, action in _actions(states):
        value = _facts(action).get(key)
        for row in value if isinstance(value, list) else [value]:
            if isinstance(row, dict):
                found.append({"step": state.name, "action": action.id, **row})
    return tuple(found)


def looked(states: Sequence[StepState], key: str) -> bool:
    """Whether any action found something under ``key``, be it an empty table."""
    return any(key in _facts(action) for _, action in _actions(states))


def _actions(states: Sequence[StepState]) -> Iterator[tuple[StepState, ActionState]]:
    return ((state, action) for state in states for action in state.actions)


def _facts(action: ActionState) -> dict[str, Json]:
    """The proof is the later look, so it wins."""
    return {**action.result, **action.proof}
