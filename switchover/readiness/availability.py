"""What an availability allows a year, what of it the window takes, and whether recovery is as fast as it may be."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from switchover.plan.decide import forecast
from switchover.words import duration

if TYPE_CHECKING:
    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec

YEAR = timedelta(days=365.25)


def allowed_downtime(percent: float) -> timedelta:
    """How long users may be without service in a year."""
    return YEAR * ((100 - percent) / 100)


def percent_words(percent: float) -> str:
    """The percentage as it was written: "99.9 %"."""
    return f"{percent:g} %"


def target_words(percent: float) -> str:
    """The target with what it allows."""
    return f"{percent_words(percent)} allows {duration(allowed_downtime(percent))} a year without service"


def spent_by_window(spec: Spec) -> str:
    """What the window takes of the year, where it is more than half; empty otherwise."""
    if spec.readiness is None or spec.window is None:
        return ""
    allowed = allowed_downtime(spec.readiness.availability)
    share = spec.window.length / allowed
    if share <= 0.5:
        return ""
    how = "more than" if share > 1 else f"{share:.0%} of"
    target = percent_words(spec.readiness.availability)
    return f"a window of {duration(spec.window.length)} is {how} the {duration(allowed)} a year that {target} allows"


def slower_than_asked(spec: Spec, progress: Progress) -> str:
    """Where copying the whole database took longer than a recovery may; empty otherwise, and before a rehearsal."""
    wanted = spec.readiness.recovery_time if spec.readiness is not None else None
    measured = forecast(progress)
    if wanted is None or measured is None or measured.copy_s <= wanted.total_seconds():
        return ""
    took = duration(round(measured.copy_s))
    return f"a recovery may take {duration(wanted)}, but copying the database took {took} in the rehearsal"
