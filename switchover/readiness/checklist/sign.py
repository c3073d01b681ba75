"""A person's statement about an item, as the journal keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.plan.journal import Draft, What
from switchover.plan.outline import StepName
from switchover.plan.spec import subtree
from switchover.words import plain

if TYPE_CHECKING:
    from datetime import date

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


def spoken_of(spec: Spec, item: ChecklistItem) -> dict[str, Json]:
    """What a statement about the item speaks of: its words, and the keys of the plan that it names."""
    there = {key: value for key, value in subtree(spec, item.about or ()).items() if value is not None}
    return {"title": item.title, **({"why": item.why} if item.why else {}), **there}
