"""An action: one side effect that can be looked at, done and, mostly, undone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

from switchover.plan.journal import Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.engine.live import Live

Facts = dict[str, Json]


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

    def __init__(self, key: str, reason: str, kind: Literal["time", "person", "edit"], until: datetime | None = None) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason
        self.kind = kind
        self.until = until


class Action(Protocol):
    """One side effect. ``observe`` changes nothing; ``apply`` may be run again after a crash."""

    @property
    def id(self) -> str: ...                       # stable across runs
    @property
    def title(self) -> str: ...                    # a title a person reads at 2 a.m.
    @property
    def does(self) -> tuple[str, ...]: ...         # the exact SQL, DNS update or command, a line each
    @property
    def undoes(self) -> str: ...                   # how it is undone, in words; "" = cannot be undone
    @property
    def deadline_s(self) -> float: ...             # for apply, and for undo

    async def observe(self) -> Seen: ...
    async def apply(self, live: Live) -> Facts: ...
    async def undo(self, before: Mapping[str, Json], live: Live) -> Facts: ...
