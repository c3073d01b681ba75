"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from switchover.readiness.compose.node import Mark, Path
from switchover.readiness.compose.service import Project, Service
from switchover.words import plain

if TYPE_CHECKING:
    from switchover.readiness.compose.service import Dialect

Severity: TypeAlias = Literal["error", "warn", "info"]
Hit: TypeAlias = tuple[Path, str]
"""Where in the service, and what is seen there."""
OfService: TypeAlias = Callable[[Service], Iterable[Hit]]


class Found(NamedTuple):
    """What a check saw: the service, or none; the path in the whole document; the words."""

    service: str
    path: Path
    says: str
    at: Mark | None = None
    """Where it stands, when it is in no merged document."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked at, and why."""

    id: str
    """Stable, in kebab-case; a suppression names it."""
    stack: Severity | None
    """How bad it is for ``docker stack deploy``; None where it says nothing."""
    compose: Severity | None
    """How bad it is for ``docker compose up``."""
    seed: str
    """The items of the checklists that ask for it; empty where only Docker itself does."""
    why: str
    mend: str
    check: Callable[[Project], Iterable[Found]]

    @property
    def seeds(self) -> tuple[str, ...]:
        """Each of those items."""
        return tuple(each.strip() for each in self.seed.split(",") if each)

    def severity(self, dialect: Dialect) -> Severity | None:
        """How bad it is in this dialect."""
        return self.stack if dialect == "stack" else self.compose


def each(check: OfService) -> Callable[[Project], Iterator[Found]]:
    """A check of one service, made one of all services."""

    def of_all(project: Project) -> Iterator[Found]:
        for service in project.services:
            for path, says in check(service):
                yield Found(service.name, ("services", service.name, *path), says)

    return of_all


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that is fine as it is."""

    id: str
    service: str
    """Empty for every service."""
    reason: str


class Finding(NamedTuple):
    """One thing found, with its place."""

    rule: Rule
    severity: Severity
    service: str
    """Empty where it is about the whole file."""
    where: Path
    evidence: str
    at: Mark
    accepted: str = ""
    """Why it is fine as it is; empty when it is not."""

    @property
    def path(self) -> str:
        """Its place in the merged document, as in ``services.web.healthcheck.interval``."""
        return plain(".".join(map(str, self.where)), 200)
