"""What a look at DNS turned up: one thing, how bad it is, what shows it, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from switchover.plan.journal import Json

Severity = Literal["error", "warn", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """An error keeps the cutover from starting, unless the operator accepts it by name."""

    id: str
    severity: Severity
    evidence: str
    fix: str
    subject: str = ""
    """The name, server or address it is about, where there may be several."""

    @property
    def name(self) -> str:
        """What it is accepted by: ``id``, or ``id subject`` for this one alone."""
        return f"{self.id} {self.subject}".strip()

    def is_accepted(self, accept: Iterable[str]) -> bool:
        """Whether the plan accepts it as it is."""
        return bool({self.id, self.name} & set(accept))

    def to_json(self) -> dict[str, Json]:
        """The finding as JSON."""
        return {
            "id": self.id,
            "subject": self.subject,
            "severity": self.severity,
            "evidence": self.evidence,
            "fix": self.fix,
        }


def standing(findings: Iterable[Finding], accept: Iterable[str]) -> tuple[Finding, ...]:
    """The errors that nobody has accepted."""
    accepted = frozenset(accept)
    return tuple(each for each in findings if each.severity == "error" and not each.is_accepted(accepted))
