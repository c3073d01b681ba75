"""The report as Markdown; whatever came from outside is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from switchover.report.escape import code, escape, said
from switchover.report.service import moment
from switchover.words import duration, instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from switchover.plan.journal import Json
    from switchover.report.evidence import Proved
    from switchover.report.facts import Report
    from switchover.report.pauses import Pause
    from switchover.report.service import Down, Service
    from switchover.report.story import Moment


FINDING = ("rule", "severity", "service", "place", "evidence", "accepted")
CLIENT = ("address", "application_name", "user", "count")


def markdown(report: Report) -> str:
    """The whole report."""
    zone = ZoneInfo(report.timezone) if report.timezone else None
    parts = [
        f"# {escape(report.name)}\n\n**{escape(report.verdict, 1000)}**\n",
        f"{', '.join(escape(name) for name in report.names)}: {report.from_address} to {report.to_address}. "
        f"{_point_of_no_return(report, zone)} Times are in {escape(report.timezone or 'UTC')}.\n",
        _bullets("Proved", report.proved),
        _bullets("Not proved", report.not_proved),
        _bullets("Reasons given", report.reasons),
        _pauses(report, zone),
        _outage(report, zone),
        _changes(report),
        _timing(report),
        _rows("What the preflight warned of", ("id", "severity", "evidence", "accepted"), report.remarks),
        _rows("What stands in the Compose files", FINDING, report.files),
        _bullets("Made on the new server", report.made),
        _comparisons(report),
        _rows("Who was connected to the old database", CLIENT, report.clients),
        _rows("Who came back to it after the fence", CLIENT, report.came_back),
        _moments("Who decided what", report.people, zone),
        _moments("Timeline", report.timeline, zone),
        _dns(report, zone),
        _proofs(report),
        _relied(report),
        _files(report.service),
        f"---\n\nPlan {code(report.plan_id)}, {report.entries} entries, head of chain {code(report.head)}, "
        f"spec {code(report.spec_digest)}. The chain shows accidents, not forgery; it is no signature.\n",
    ]
    return "\n".join(part for part in parts if part)


def _point_of_no_return(report: Report, zone: ZoneInfo | None) -> str:
    text = f"Point of no return: {report.passed}"
    if report.opened:
        text += f"; the target was opened at {_when(report.opened, zone)}"
    if report.first_write:
        table = escape(report.first_write.get("table", ""))
        where = f" in {table}" if table else ""
        text += f", a user's write{where} was first seen at {_when(report.first_write.get('seen'), zone)}"
    return text + "."


def _pauses(report: Report, zone: ZoneInfo | None) -> str:
    """Two clocks: a user who can read may not be able to write, and one who reaches the old host may do neither."""
    return _ready(
        "How long writes were paused, and how long until clients reached the other host",
        ("step", "attempt", "from", "writes paused", "clients led over after", "how it ended"),
        (
            (
                escape(each.step),
                str(each.attempt),
                _when(each.start, zone, fine=True),
                f"**{each.paused_s:.2f} s**" if each.paused_s is not None else "not known to have ended",
                f"{each.reached_s:.2f} s" if each.reached_s is not None else "",
                _ended(each),
            )
            for each in report.pauses
        ),
    )


def _ended(pause: Pause) -> str:
    if pause.undone:
        return escape(f"undone: {pause.undone}", 1000)
    return "writes went on at the other host" if pause.end else ""


def _outage(report: Report, zone: ZoneInfo | None) -> str:
    service = report.service
    if service is None:
        return "## Outage\n\nNone: nothing that users depend on has been touched.\n"
    lines = [_total(service, report.low_ttl_s), ""]
    lines += [f"- {_down(each, zone)}" for each in service.downs]
    lines += [
        f"- not observed, so unknown: {_span(start, end, zone)}, {duration(seconds)}"
        for start, end, seconds in service.unobserved
    ]
    return "## Outage\n\n" + "\n".join(lines) + "\n"


def _total(service: Service, low_ttl_s: int) -> str:
    if service.total_s is None:
        return "Not measured: unknown."
    least = "" if service.complete else "at least "
    text = (
        f"Users were without service for {least}**{service.total_s:.2f} s** "
        f"(measured four times a second, each end known to {service.precision_s:g} s)."
    )
    if service.downs:
        text += (
            " So it was by the authoritative answer; a cache that held the old address "
            f"may have kept its users out for up to {duration(low_ttl_s)} more."
        )
    return text


def _down(down: Down, zone: ZoneInfo | None) -> str:
    text = f"{escape(down.step)}: {_span(down.start, down.end, zone)}, {down.seconds:.2f} s"
    text += f": {escape(down.reason)}" if down.reason else ""
    if not down.seen_to_start:
        text += " (so at the first look)"
    if not down.seen_to_end:
        text += " (nobody saw it come back)"
    return text


def _changes(report: Report) -> str:
    title = "Rows written on the target since it opened"
    if not report.changes:
        if not report.opened:
            return ""
        says = "None was found." if report.changes_known else "Not counted: unknown."
        return f"## {title}\n\n{says}\n"
    kept = f"\nThese rows are kept in the database {code(report.kept)} of the target server.\n" if report.kept else ""
    return _rows(title, ("step", "action", "table", "inserted", "updated", "deleted"), report.changes) + kept


def _timing(report: Report) -> str:
    took = [(each.phase, *(_seconds(value) for value in (each.rehearsed_s, each.took_s))) for each in report.timings]
    text = _table("Durations", ("phase", "rehearsal", "cutover"), took)
    if report.forecast_s is not None:
        low, high = report.forecast_s
        text += f"\nForecast from the rehearsal, without waiting for DNS: {duration(low)} to {duration(high)}."
        if report.cutover_s is not None:
            text += f" The cutover took {duration(report.cutover_s)}, DNS and caches included."
        text += "\n"
    return text


def _comparisons(report: Report) -> str:
    return _rows(
        "Comparison", ("step", "action", "verdict", "tables", "rows", "sequences", "differing"), report.comparisons
    )


def _moments(title: str, moments: Sequence[Moment], zone: ZoneInfo | None) -> str:
    rows = (
        (
            _when(each.at, zone),
            escape(each.who),
            escape(each.where),
            escape(each.what) + (f", {each.times} times" if each.times > 1 else ""),
            escape(each.says, 1000),
        )
        for each in moments
    )
    return _ready(title, ("when", "who", "where", "what", ""), rows)


def _dns(report: Report, zone: ZoneInfo | None) -> str:
    shown = [{**each, "at": _moment_or_text(each.get("at"), zone)} for each in report.dns]
    keys = ("step", "action", "host", "address", "state", "values", "ttl", "serial", "at")
    return _rows("DNS, address by address", keys, shown)


def _proofs(report: Report) -> str:
    rows = ((each.step, each.action, each.status, _seconds(each.seconds), _found(each)) for each in report.proofs)
    return _table("What each action found", ("step", "action", "state", "took", "found"), rows)


def _relied(report: Report) -> str:
    rows = ((each.step, each.digest, each.stale or "as it is now") for each in report.relied)
    return _table("What of the plan each step relied on", ("step", "digest", "since"), rows)


def _files(service: Service | None) -> str:
    rows = ((each.step, each.file, each.samples, each.sha256) for each in (service.meters if service else ()))
    return _table("Side files of the outage meter", ("step", "file", "requests", "sha256"), rows)


def _bullets(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "".join(f"- {escape(line, 1000)}\n" for line in lines) if lines else ""


def _rows(title: str, first: Sequence[str], rows: Sequence[Mapping[str, Json]]) -> str:
    """A table of these keys, those that occur, and then of every other key there is."""
    there = {key: None for row in rows for key in row}
    keys = [*(key for key in first if key in there), *(key for key in there if key not in first)]
    return _table(title, keys, ([said(row.get(key)) for key in keys] for row in rows))


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return _ready(title, head, ([escape(cell) for cell in row] for row in rows))


def _ready(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return ""
    top = "| " + " | ".join(escape(cell) for cell in head) + " |\n|" + " --- |" * len(head)
    return f"## {title}\n\n{top}\n" + "\n".join(lines) + "\n"


def _seconds(value: float | None) -> str:
    return duration(value) if value is not None else ""


def _found(proved: Proved) -> str:
    return "; ".join(part for part in (proved.reason, said(proved.facts)) if part)


def _span(start: str, end: str, zone: ZoneInfo | None) -> str:
    return f"{_when(start, zone, fine=True)} to {_when(end, zone, fine=True)}"


def _when(text: object, zone: ZoneInfo | None, *, fine: bool = False) -> str:
    return escape(_moment_or_text(text, zone, fine=fine))


def _moment_or_text(text: object, zone: ZoneInfo | None, *, fine: bool = False) -> str:
    """The moment in the plan's zone, or the text as it stands."""
    at = moment(text)
    return said(text) if at is None else instant(at, zone, named=False, fine=fine)
