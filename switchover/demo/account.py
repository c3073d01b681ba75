"""The lab's proof: every order that was acknowledged is on the new database, exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.demo.client import ACKNOWLEDGED, REFUSED

if TYPE_CHECKING:
    from switchover.demo.lab import Lab


@dataclass(frozen=True, slots=True)
class Account:
    """What users were promised against what one database holds."""

    host: str
    """Whose database was asked, "old" or "new"."""
    by_old: int
    """Orders the old host acknowledged."""
    by_new: int
    refused: int
    refused_s: float
    """From the first refusal to the last."""
    missing: tuple[str, ...]
    """Tokens that were acknowledged and are not in the database."""
    twice: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing that was promised is lost or doubled, and there was something to lose."""
        return not self.missing and not self.twice and self.by_old + self.by_new > 0

    def says(self) -> str:
        """The result in a sentence."""
        total = self.by_old + self.by_new
        promised = f"{total} orders acknowledged, {self.by_old} by the old host, {self.by_new} by the new"
        outcome = f"{len(self.missing)} MISSING, {len(self.twice)} TWICE"
        if self.holds:
            outcome = "each there exactly once"
        refused = f"{self.refused} orders refused within {self.refused_s:.1f} s"
        return f"{promised}; in the {self.host} database: {outcome}; {refused}"


def account(lab: Lab, which: str) -> Account:
    """Compare the log of acknowledged orders with the database of the "old" or the "new" host."""
    entries = [line.split() for line in (lab.folder / ACKNOWLEDGED).read_text().splitlines()]
    refusals = [float(line.split()[0]) for line in (lab.folder / REFUSED).read_text().splitlines()]
    hosts = Counter(entry[2] for entry in entries)
    tokens = [entry[0] for entry in entries]
    with lab.connect(which) as connection:
        rows = connection.execute(
            "SELECT token, count(*) FROM orders WHERE token = ANY(%s) GROUP BY token", (tokens,)
        ).fetchall()
    found = {str(token): int(str(times)) for token, times in rows}
    return Account(
        host=which,
        by_old=hosts["old"],
        by_new=hosts["new"],
        refused=len(refusals),
        refused_s=max(refusals, default=0.0) - min(refusals, default=0.0),
        missing=tuple(token for token in tokens if token not in found),
        twice=tuple(token for token, times in found.items() if times > 1),
    )
