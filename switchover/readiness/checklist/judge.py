"""How each item of a checklist stands: a pure function of plan, items, journal, topology and clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from switchover.plan.decide import step_of
from switchover.plan.drift import changes
from switchover.plan.outline import STEP, StepName
from switchover.plan.progress import StepStatus
from switchover.plan.spec import CATEGORIES
from switchover.readiness.checklist.sign import spoken_of
from switchover.readiness.topology import shortfalls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from switchover.plan.production import WaiverSpec
    from switchover.plan.progress import Attestation, Progress
    from switchover.plan.spec import ChecklistItem, Spec

TOPOLOGY = "topology"


class Status(StrEnum):
    """How an item stands."""

    SIGNED = "signed"
    SHOWN = "shown"  # by a step that is done, or by the plan's topology
    WAIVED = "waived"
    NOT_APPLICABLE = "not applicable"
    OPEN = "open"  # nobody has signed it
    STALE = "stale"  # signed, but what it speaks of has changed
    EXPIRED = "expired"  # signed or waived until a day that is over
    LATER = "later"  # a step shows it that is not done
    FAILS = "fails"  # what shows it says no


STANDS = frozenset({Status.SIGNED, Status.SHOWN, Status.WAIVED})


@dataclass(frozen=True, slots=True)
class Standing:
    """One item, and how it stands."""

    item: ChecklistItem
    category: str
    required: bool
    status: Status
    says: str
    """Who signed what; or why it does not stand."""
    owner: str = ""
    signed: Attestation | None = None
    expires: date | None = None
    """The last day on which it stands."""

    @property
    def stands(self) -> bool:
        return self.status in STANDS

    @property
    def signable(self) -> bool:
        """Whether a person's word is what it waits for."""
        return self.status not in (Status.SHOWN, Status.LATER, Status.FAILS, Status.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Checklist:
    """Every item, category by category."""

    standings: tuple[Standing, ...]

    @property
    def applicable(self) -> tuple[Standing, ...]:
        return tuple(each for each in self.standings if each.status is not Status.NOT_APPLICABLE)

    @property
    def missing(self) -> tuple[Standing, ...]:
        """Required items that wait for a person's word."""
        return tuple(each for each in self.standings if each.required and each.signable and not each.stands)

    @property
    def failing(self) -> tuple[Standing, ...]:
        """Required items of which what shows them says no."""
        return tuple(each for each in self.standings if each.required and each.status is Status.FAILS)

    def of(self, category: str) -> tuple[Standing, ...]:
        return tuple(each for each in self.standings if each.category == category)

    @property
    def categories(self) -> tuple[str, ...]:
        """Those that have an item, in the order in which they are shown."""
        return tuple(name for name in CATEGORIES if self.of(name))


def judge(spec: Spec, items: Sequence[ChecklistItem], progress: Progress, now: datetime) -> Checklist:
    """Judge every item."""
    found = [_standing(spec, item, progress, now.date()) for item in items]
    return Checklist(tuple(sorted(found, key=lambda each: CATEGORIES.index(each.category))))


def score(standings: Sequence[Standing]) -> tuple[int, int]:
    """How many stand, of how many that apply."""
    counted = [each for each in standings if each.status is not Status.NOT_APPLICABLE]
    return sum(each.stands for each in counted), len(counted)


def score_words(found: Checklist) -> str:
    """The score as a person reads it."""
    stand, of = score([each for each in found.standings if each.required])
    others, of_others = score([each for each in found.standings if not each.required])
    return f"{stand} of {of} required" + (f", {others} of {of_others} recommended" if of_others else "")


def _standing(spec: Spec, item: ChecklistItem, progress: Progress, today: date) -> Standing:
    wanted = spec.readiness
    signed = progress.attested.get(item.id)
    waiver = wanted.waived.get(item.id) if wanted is not None else None
    owner = (wanted.owners.get(item.id, "") if wanted is not None else "") or (signed.owner if signed else "")
    expires: date | None = None
    if wanted is not None and item.id in wanted.not_applicable:
        status, says = Status.NOT_APPLICABLE, wanted.not_applicable[item.id]
    elif waiver is not None and (waiver.until is None or today <= waiver.until):
        status, says, expires = Status.WAIVED, _waived(waiver), waiver.until
        owner = waiver.owner or owner
    elif item.shown_by is not None and (item.shown_by != TOPOLOGY or spec.topology is not None):
        status, says = _shown(spec, item, progress)
    else:
        expires = _expires(item, signed)
        status, says = _signed(spec, item, signed, expires, today)
    if waiver is not None and status not in STANDS and status is not Status.NOT_APPLICABLE:
        says = f"the waiver ended on {waiver.until}; {says}"
    return Standing(item, item.category or CATEGORIES[0], _required(spec, item), status, says, owner, signed, expires)


def _required(spec: Spec, item: ChecklistItem) -> bool:
    """Whether it is required: by itself, by the availability asked for, or because the plan says so."""
    wanted = spec.readiness
    by_target = wanted is not None and item.required_from is not None and wanted.availability >= item.required_from
    return item.required or by_target or (wanted is not None and item.id in wanted.required)


def _shown(spec: Spec, item: ChecklistItem, progress: Progress) -> tuple[Status, str]:
    """What a step, or the plan's topology, says of the item."""
    if item.shown_by != TOPOLOGY:
        state = step_of(progress, StepName(str(item.shown_by)))
        if state.status is StepStatus.DONE:
            return Status.SHOWN, f"by the step {state.name}"
        if state.status is StepStatus.STALE:
            return Status.FAILS, f"{STEP[state.name].title} is stale, {state.why}"
        return Status.LATER, f"the step {state.name} shows it"
    short = next((each for each in shortfalls(spec) if each.demand.id == item.id), None)
    if short is not None:
        return Status.FAILS, short.evidence
    return Status.SHOWN, "by the plan's [topology]"


def _signed(
    spec: Spec, item: ChecklistItem, signed: Attestation | None, expires: date | None, today: date
) -> tuple[Status, str]:
    if signed is None:
        return Status.OPEN, "nobody has signed this"
    if expires is not None and today > expires:
        return Status.EXPIRED, f"signed by {signed.who} until {expires}"
    if signed.about is not None:
        now = spoken_of(spec, item)
        changed = changes(signed.about, {**dict.fromkeys(signed.about), **now})
        if changed:
            return Status.STALE, f"signed by {signed.who}; {changed}"
    link = f" {signed.link}" if signed.link else ""
    return Status.SIGNED, f"{signed.who}: {signed.note}{link}"


def _expires(item: ChecklistItem, signed: Attestation | None) -> date | None:
    """The earlier of what the signer said and what the item allows."""
    if signed is None:
        return None
    allowed = (signed.at + item.holds).date() if item.holds is not None else None
    return min((each for each in (signed.expires, allowed) if each is not None), default=None)


def _waived(waiver: WaiverSpec) -> str:
    until = f" (until {waiver.until})" if waiver.until is not None else ""
    return f"{waiver.reason}{until}"
