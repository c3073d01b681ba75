"""The report as Markdown; whatever came from outside is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.words import duration, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from switchover.report.facts import Moment, Report

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def escape(text: object, limit: int = 300) -> str:
    """Text that Markdown and HTML show as it is, on one line."""
    return (
        _SPECIAL.sub(r"\\\1", plain(str(text), limit).replace("\n", " ")).replace("<", "&lt;").replace("\\&lt;", "&lt;")
    )


def markdown(report: Report) -> str:
    """The whole report."""
    parts = [
        f"# {escape(report.name)}\n\n**{escape(report.verdict)}**\n",
        f"{', '.join(escape(name) for name in report.names)}: {report.from_address} to {report.to_address}. "
        f"Point of no return: {report.passed}.\n",
        _bullets("Proved", report.proved),
        _bullets("Not proved", report.not_proved),
        _bullets("Reasons given", report.reasons),
        _outage(report),
        _changes(report),
        _timing(report),
        _comparisons(report),
        _moments("Who decided what", report.people),
        _moments("Timeline", report.timeline),
        _dns(report),
        f"---\n\nPlan {report.plan_id}, {report.entries} entries, head `{report.head}`, spec `{report.spec_digest}`. "
        "The chain shows accidents and edits in the middle; it is no signature.\n",
    ]
    return "\n".join(part for part in parts if part)


def _bullets(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "".join(f"- {escape(line)}\n" for line in lines) if lines else ""


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    top = "| " + " | ".join(head) + " |\n|" + " --- |" * len(head)
    return f"## {title}\n\n{top}\n" + "\n".join(lines) + "\n"


def _outage(report: Report) -> str:
    if not report.outages:
        return "## Outage\n\nNot measured: unknown.\n"
    total = sum(float(str(each.get("total_s", 0))) for each in report.outages)
    lines = [
        f"Users were without service for **{total:.2f} s** (measured four times a second, each end known to 0.25 s).\n"
    ]
    for each in report.outages:
        for outage in _dicts(each.get("outages")):
            lines.append(
                f"- {escape(each['step'])}: {escape(outage['start'])} to {escape(outage['end'])}, "
                f"{float(str(outage['seconds'])):.2f} s: {escape(outage.get('reason', ''))}"
            )
        blind = each.get("unobserved")
        if isinstance(blind, list) and blind:
            lines.append(f"- {escape(each['step'])}: not observed, so unknown: {escape(blind)}")
    return "## Outage\n\n" + "\n".join(lines) + "\n"


def _changes(report: Report) -> str:
    rows = [
        [each.get(key, "") for key in ("step", "table", "inserted", "updated", "deleted")] for each in report.changes
    ]
    kept = f"\nThese rows are kept in the database `{report.kept}` of the target server.\n" if report.kept else ""
    return (
        _table(
            "Rows written on the target since it opened",
            ("step", "table", "inserted", "updated", "deleted"),
            rows,
        )
        + kept
    )


def _timing(report: Report) -> str:
    if not report.timings:
        return ""
    rows = [
        (
            each.phase,
            duration(each.rehearsed_s) if each.rehearsed_s is not None else "",
            duration(each.took_s) if each.took_s is not None else "",
        )
        for each in report.timings
    ]
    text = _table("Durations", ("phase", "rehearsal", "cutover"), rows)
    if report.cutover_s is not None and report.forecast_s is not None:
        low, high = report.forecast_s
        copy = f"Forecast of the copy: {duration(low)} to {duration(high)}"
        text += f"\n{copy}; the whole cutover took {duration(report.cutover_s)}.\n"
    return text


def _comparisons(report: Report) -> str:
    rows = [
        [each.get(key, "") for key in ("step", "verdict", "tables", "rows", "sequences", "differing")]
        for each in report.comparisons
    ]
    return _table("Comparison", ("step", "verdict", "tables", "rows", "sequences", "differing"), rows)


def _moments(title: str, moments: Sequence[Moment]) -> str:
    rows = [(each.at, each.who, each.where, each.what, each.says) for each in moments]
    return _table(title, ("when", "who", "where", "what", ""), rows)


def _dns(report: Report) -> str:
    keys = ("change", "host", "address", "state", "values", "ttl", "serial", "at")
    return _table("DNS, address by address", keys, ([each.get(key, "") for key in keys] for each in report.dns))


def _dicts(value: object) -> list[dict[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
