"""What an action will do, as the operator reads it before pressing the key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreviewAction:
    """One action of a step that has not been run yet."""

    id: str
    title: str
    does: tuple[str, ...]
    undoes: str
    rehearsed_s: float | None
    """How long it took in the rehearsal; None when it was not part of it."""
