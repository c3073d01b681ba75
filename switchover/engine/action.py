"""An action: one side effect that can be looked at, done and, mostly, undone."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from switchover.engine.live import Live
    from switchover.plan.journal import Json

Facts: TypeAlias = "dict[str, Json]"


class World(StrEnum):
    """What an observation found."""

    DONE = "done"
    TODO = "todo"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """The answer of an observation: how the world stands, and the facts that show it."""

    world: World
    facts: Facts = field(default_factory=dict)
    reason: str = ""

    @classmethod
    def done(cls, **facts: Json) -> Seen:
        return cls(World.DONE, facts)

    @classmethod
    def todo(cls, **facts: Json) -> Seen:
        return cls(World.TODO, facts)

    @classmethod
    def unknown(cls, reason: str, **facts: Json) -> Seen:
        return cls(World.UNKNOWN, facts, reason)


class ActionFailed(Exception):
    """The action was refused or broke; the message says what happened and what is true now."""


class Waiting(Exception):
    """The action cannot be finished by this process now: it waits for time or for a person."""

    def __init__(
        self, key: str, reason: str, kind: Literal["time", "person", "edit"], until: datetime | None = None
    ) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason
        self.kind = kind
        self.until = until


@dataclass(frozen=True, slots=True)
class Action:
    """One side effect. ``observe`` changes nothing; ``apply`` may be run again after a crash.

    ``apply`` returns what it measured; ``undo`` gets the facts that ``observe`` saw before the first ``apply``
    and returns the proof that they hold again.
    """

    id: str
    """Stable across runs."""
    title: str
    """What a person reads at 2 a.m."""
    observe: Callable[[], Awaitable[Seen]]
    apply: Callable[[Live], Awaitable[Facts]]
    undo: Callable[[Mapping[str, Json], Live], Awaitable[Facts]] | None = None
    """Absent: it cannot be undone, or there is nothing to undo."""
    does: tuple[str, ...] = ()
    """The exact SQL, DNS update or command, a line each; shown before it is done."""
    undoes: str = ""
    """How it is undone, in words."""
    deadline_s: float = 60.0
    interruptible: bool = False
    """Whether a stop may cut ``apply`` short: it only looks, or its half-done work is thrown away."""
    only_tidies: bool = False
    """Whether ``undo`` only removes scratch objects, so that its failure must not keep the source closed."""
