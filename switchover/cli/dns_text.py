"""The survey of a name as lines of text."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from switchover.words import duration, glyph, instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from switchover.plan.journal import Json

_GOOD = frozenset({"ok", "same", "new", "low"})
_SILENT = frozenset({"timeout", "no-route", "filtered", "refused", "broken"})
_WEIGHT = {"error": "failed", "warn": "warn", "info": "todo"}


def text(survey: Mapping[str, Json]) -> str:
    """Chain, zone, servers, resolvers, findings, and until when caches may keep the old answer."""
    return "\n".join(_lines(survey))


def _lines(survey: Mapping[str, Json]) -> Iterator[str]:
    yield f"{survey['name']}: zone {survey['zone']}, primary {survey['primary']}" + (
        ", signed" if survey["signed"] else ""
    )
    for hop in _rows(survey["chain"]):
        yield f"  {hop['owner']} is an alias of {hop['target']} (TTL {hop['ttl']})"
    yield f"authoritative ({len(_rows(survey['authoritative']))}); what these serve is the truth"
    for row in _rows(survey["authoritative"]):
        serial = f", serial {row['serial']}" if row["serial"] is not None else ""
        yield f"  {_mark(str(row['state']))} {row['host']} {row['address']}: {row['says']}{serial}"
    yield from _resolvers(_rows(survey["resolvers"]))
    findings = _rows(survey["findings"])
    for severity in ("error", "warn", "info"):
        for each in (each for each in findings if each["severity"] == severity):
            name = f"{each['id']} {each['subject']}".strip()
            yield f"{glyph(_WEIGHT[severity])} {name}: {each['evidence']}"
            yield f"    {each['fix']}"
    if survey["weaker"]:
        yield f"{glyph('failed')} {survey['weaker']}"
    yield from _clock(survey)


def _resolvers(rows: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    if not rows:
        return
    silent = [row for row in rows if row["state"] in _SILENT]
    yield f"resolvers ({len(rows)}, {len(silent)} said nothing); they colour the picture and prove nothing"
    for row in rows:
        expires = f", until {instant(_time(row['expires']))}" if row["expires"] else ""
        ttl = f", kept {duration(int(str(row['ttl'])))} more" if row["ttl"] is not None else ""
        who = str(row["address"]) if row["name"] == row["address"] else f"{row['name']} {row['address']}"
        yield f"  {_mark(str(row['state']))} {who}: {row['says']}{ttl}{expires}"


def _clock(survey: Mapping[str, Json]) -> Iterator[str]:
    if survey["expected"] is None:
        until = instant(_time(survey["safe_if_changed_now"]))
        yield f"if it were changed everywhere now, caches may keep the old answer until {until}"
        return
    if survey["t0"] is None:
        yield "T0 is not known: not every address has proved that it serves the low TTL"
    else:
        yield f"T0 {instant(_time(survey['t0']))}, safe from {instant(_time(survey['safe']))}"
    yield f"if you cut now, caches may keep the old address for up to {duration(int(str(survey['exposure_s'])))}"


def _mark(state: str) -> str:
    return glyph("done" if state in _GOOD else "unknown" if state in _SILENT else "warn")


def _rows(value: Json) -> list[dict[str, Json]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _time(value: Json) -> datetime:
    return datetime.fromisoformat(str(value))
