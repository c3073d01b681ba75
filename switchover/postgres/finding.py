"""What a preflight found: named, graded, with its evidence, why it matters, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["block", "warn", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found on the source, on the target, or between the two."""

    id: str
    """Stable, in kebab-case; a plan accepts a warning by it."""
    severity: Severity
    evidence: str
    fix: str = ""
    """The command that mends it, or what to do where no command can."""
    why: str = ""
    """What happens to the switchover, or to the application after it, when it stays so."""

    @property
    def blocks(self) -> bool:
        return self.severity == "block"
