"""A person's statement about an item, as the journal keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from switchover.plan.journal import Draft, What
from switchover.plan.outline import StepName
from switchover.plan.spec import subtree
from switchover.plan.values import parse_duration
from switchover.words import plain

if TYPE_CHECKING:
    from datetime import datetime

    from switchover.plan.journal import Json
    from switchover.plan.spec import ChecklistItem, Spec


@dataclass(frozen=True, slots=True)
class Statement:
    """What its signer says of an item."""

    item: str
    note: str
    link: str = ""
    owner: str = ""
    expires: date | None = None
    """The last day on which it holds."""


def sign(spec: Spec, item: ChecklistItem, said: Statement) -> Draft:
    """The journal's entry: what was said, and what it speaks of as that is today."""
    data: dict[str, Json] = {"item": item.id, "note": plain(said.note)}
    more = {"link": said.link, "owner": said.owner, "expires": said.expires.isoformat() if said.expires else ""}
    data |= {key: plain(text, 500) for key, text in more.items() if text}
    return Draft(StepName.READINESS, "", What.ATTESTED, data | {"about": spoken_of(spec, item)})


def last_day(text: str, now: datetime) -> date | None:
    """The last day on which a statement holds: a day, or a length of time from now; None where nothing is said.

    Raises ValueError, in words.
    """
    text = text.strip()
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        try:
            length = parse_duration(text)
        except ValueError:
            raise ValueError(f"{plain(text, 60)}: a day such as 2027-06-30, or a length such as 90d") from None
        assert isinstance(length, timedelta)  # what parse_duration makes of a text
        day = (now + length).date()
    if day < now.date():
        raise ValueError(f"{day} is over")
    return day


def spoken_of(spec: Spec, item: ChecklistItem) -> dict[str, Json]:
    """What a statement about the item speaks of: its words, and the keys of the plan that it names."""
    now = subtree(spec, item.about) if item.about else {}
    there = {key: value for key, value in now.items() if value is not None}
    return {"title": item.title, **({"why": item.why} if item.why else {}), **there}
