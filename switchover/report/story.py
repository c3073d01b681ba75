"""What happened, line by line, and who said what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from switchover.plan.journal import What
from switchover.plan.outline import FIRST_WRITE, OPEN_TARGET
from switchover.report.service import number
from switchover.words import count, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.plan.journal import Entry

UNTOLD = (What.GATES, What.INTENT, What.RUN, What.ENDED, What.UNDO)
PEOPLE = (What.DECIDED, What.ATTESTED)


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    at: str
    """UTC."""
    who: str
    where: str
    what: str
    says: str
    times: int = 1
    """How often in a row; a hold is journaled anew by every run that meets it."""


def people(entries: Sequence[Entry]) -> tuple[Moment, ...]:
    """Who decided and attested what, with their notes."""
    return tuple(_moment(entry) for entry in entries if entry.what in PEOPLE)


def timeline(entries: Sequence[Entry]) -> tuple[Moment, ...]:
    """Every outcome, hold and statement; a run that ended without a word is told too."""
    told: list[Moment] = []
    begun: set[tuple[str, str]] = set()
    run: Entry | None = None
    for entry in entries:
        if entry.what is What.RUN:
            if run is not None:
                lost = f"run {run.data.get('run', '')} ended without a word: it was killed or its machine stopped"
                told.append(Moment(_iso(entry), entry.who, "run", "lost", lost))
            run = entry
        elif entry.what is What.ENDED:
            run = None
        if entry.what is What.BEGIN:
            attempt = (entry.step, str(entry.data.get("attempt")))
            if attempt in begun:
                continue
            begun.add(attempt)
        opens = entry.what is What.INTENT and entry.action == OPEN_TARGET
        if entry.what not in UNTOLD or opens:
            _add(told, _moment(entry))
    return tuple(told)


def _add(told: list[Moment], new: Moment) -> None:
    last = told[-1] if told else None
    if last is not None and (last.where, last.what, last.says) == (new.where, new.what, new.says):
        told[-1] = replace(last, times=last.times + 1)
    else:
        told.append(new)


def _moment(entry: Entry) -> Moment:
    data = entry.data
    subject = next((str(data[key]) for key in ("hold", "item", "key") if data.get(key)), entry.action)
    where = f"{entry.step} {subject}".strip() or "plan"
    return Moment(_iso(entry), entry.who, where, str(entry.what), _says(entry))


def _says(entry: Entry) -> str:
    data = entry.data
    match entry.what:
        case What.DECIDED:
            return ". ".join(str(data[key]) for key in ("choice", "note") if data.get(key))
        case What.ATTESTED:
            named = (f"{key} {data[key]}" for key in ("owner", "expires") if data.get(key))
            return ", ".join([*(str(data[key]) for key in ("note", "link") if data.get(key)), *named])
        case What.RECOVERED:
            cut = count(int(number(data.get("bytes")) or 0), "byte")
            return f"a torn end of the plan was cut off: {cut}, kept in {data.get('file', 'no file')}"
        case What.INTENT:
            return "the target opens: from here the point of no return may be passed"
        case What.EVIDENCE if data.get("kind") == FIRST_WRITE:
            return f"a user's write was seen in {data.get('table', 'a table')}: the point of no return is passed"
        case What.BEGIN:
            return f"attempt {data.get('attempt', '')}"
    keys = ("kind", "file") if entry.what is What.EVIDENCE else ("reason", "note", "text", "signal")
    known = [str(data[key]) for key in keys if data.get(key)]
    seconds = number(data.get("seconds"))
    return ", ".join([*known, *([duration(seconds)] if seconds is not None else [])])


def _iso(entry: Entry) -> str:
    return entry.at.isoformat(timespec="seconds")
