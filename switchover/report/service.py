"""When users were without service, from the meters' summaries in the journal, and when nobody looked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from switchover.plan.journal import What
from switchover.plan.outline import StepName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from switchover.plan.journal import Entry, Json

    Span = tuple[datetime, datetime]

BLIND_S = 1.0
"""A shorter pause between two looks is what the meter's four requests a second leave."""

PRECISION_S = 0.25
"""Four requests a second; a summary may say otherwise."""

EXPOSED = (StepName.CUTOVER, StepName.VERIFY, StepName.ROLLBACK)


@dataclass(frozen=True, slots=True)
class Down:
    """A time without service; instants as the meter wrote them."""

    step: str
    start: str
    end: str
    seconds: float
    reason: str
    seen_to_start: bool
    """False when it was so at a meter's first look, and that came late."""
    seen_to_end: bool
    """False when nobody saw the service come back."""


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter's side file."""

    step: str
    file: str
    sha256: str
    samples: int


@dataclass(frozen=True, slots=True)
class Service:
    """What users had while the switchover touched it."""

    total_s: float | None
    """Seconds without service; None where nothing was measured."""
    precision_s: float
    complete: bool
    """Whether the whole time was observed and every outage was seen to start and to end; else ``total_s`` is a part."""
    downs: tuple[Down, ...]
    unobserved: tuple[tuple[str, str, float], ...]
    """(from, to, seconds)"""
    meters: tuple[Meter, ...]


def service(entries: Sequence[Entry]) -> Service | None:
    """Put the meters' summaries together; None while nothing has been touched and nothing measured."""
    measured = [(entry, summary) for entry in entries if (summary := _summary(entry)) is not None]
    exposed = _exposed(entries)
    if not measured and not exposed:
        return None
    downs = tuple(down for entry, summary in measured for down in _downs(entry, summary, exposed))
    gaps = tuple(
        (_iso(start), _iso(end), round((end - start).total_seconds(), 2))
        for start, end in _minus(exposed, _covered(summary for _, summary in measured))
        if (end - start).total_seconds() > BLIND_S
    )
    totals = [number(summary.get("total_s")) for _, summary in measured if number(summary.get("samples"))]
    known = [total for total in totals if total is not None]
    precisions = [number(summary.get("precision_s")) for _, summary in measured]
    whole = bool(known) and len(known) == len(measured) and not gaps
    return Service(
        total_s=round(sum(known), 2) if known else None,
        precision_s=max((each for each in precisions if each is not None), default=PRECISION_S),
        complete=whole and all(down.seen_to_start and down.seen_to_end for down in downs),
        downs=downs,
        unobserved=gaps,
        meters=tuple(
            Meter(
                entry.step,
                str(entry.data.get("file", "")),
                str(entry.data.get("sha256", "")),
                int(number(summary.get("samples")) or 0),
            )
            for entry, summary in measured
        ),
    )


def number(value: object) -> float | None:
    """The value where it is a number, and not only looks like one."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def moment(value: object) -> datetime | None:
    """The value where it is an instant with its offset."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def _summary(entry: Entry) -> dict[str, Json] | None:
    summary = entry.data.get("summary")
    measured = entry.what is What.EVIDENCE and entry.data.get("kind") == "outage"
    return summary if measured and isinstance(summary, dict) else None


def _downs(entry: Entry, summary: dict[str, Json], exposed: Sequence[Span]) -> list[Down]:
    """The summary's outages; one that stands at the first look began there if nothing was touched much earlier."""
    listed = summary.get("outages")
    first = moment(summary.get("first"))
    early = first is not None and any(abs((first - start).total_seconds()) <= PRECISION_S for start, _ in exposed)
    return [
        Down(
            entry.step,
            str(each.get("start", "")),
            str(each.get("end", "")),
            number(each.get("seconds")) or 0.0,
            str(each.get("reason", "")),
            early or each.get("start") != summary.get("first"),
            each.get("ended") is not False,
        )
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    ]


def _exposed(entries: Sequence[Entry]) -> list[Span]:
    """From the first change of a cutover or rollback until it was undone, rolled back or verified, or until now."""
    spans: list[Span] = []
    start: datetime | None = None
    for entry in entries:
        if entry.step not in EXPOSED:
            continue
        if start is None and entry.what in (What.INTENT, What.UNDO) and entry.step != StepName.VERIFY:
            start = entry.at
        elif start is not None and not entry.action and _settles(entry):
            spans.append((start, entry.at))
            start = None
    if start is not None:
        spans.append((start, entries[-1].at))
    return spans


def _settles(entry: Entry) -> bool:
    match entry.step:
        case StepName.CUTOVER:
            return entry.what is What.UNDONE
        case _:
            return entry.what is What.COMPLETE


def _covered(summaries: Iterable[dict[str, Json]]) -> list[Span]:
    """The times in which a meter looked, without its own gaps."""
    spans: list[Span] = []
    for summary in summaries:
        first, last = moment(summary.get("first")), moment(summary.get("last"))
        if first is None or last is None:
            continue
        listed = summary.get("unobserved")
        pairs = [pair for pair in (listed if isinstance(listed, list) else []) if isinstance(pair, list)]
        blind = [(moment(pair[0]), moment(pair[1])) for pair in pairs if len(pair) == 2]
        spans += _minus([(first, last)], [(start, end) for start, end in blind if start and end])
    return spans


def _minus(spans: Sequence[Span], taken: Sequence[Span]) -> list[Span]:
    """What is left of the spans when the others are cut out of them."""
    left = list(spans)
    for cut_start, cut_end in taken:
        left = [
            piece
            for start, end in left
            for piece in ((start, min(end, cut_start)), (max(start, cut_end), end))
            if piece[0] < piece[1]
        ]
    return left


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
