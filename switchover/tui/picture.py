"""One look at a name as the command ``dns`` prints it, read into what is drawn; anything may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

Phase = Literal["before", "lowered", "cut", ""]
MOST_ROWS = 400
MOST_SECONDS = 2**31
"""The highest TTL there is (RFC 2181 section 8)."""


@dataclass(frozen=True, slots=True)
class Server:
    """One address of an authoritative server; ``good`` when its latest answer was the wanted one."""

    host: str
    address: str
    state: str
    says: str
    values: tuple[str, ...]
    ttl: int | None
    serial: int | None
    since: datetime | None
    good: bool
    waived: bool


@dataclass(frozen=True, slots=True)
class Cache:
    """One address of a public resolver; ``until`` is when what it holds runs out."""

    name: str
    address: str
    state: str
    says: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Oddity:
    """A finding."""

    name: str
    severity: str
    evidence: str
    fix: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of one name after one round."""

    name: str
    at: datetime | None
    round: int | None
    zone: str
    primary: str
    aliases: tuple[str, ...]
    phase: Phase
    low_ttl: int | None
    servers: tuple[Server, ...]
    caches: tuple[Cache, ...]
    oddities: tuple[Oddity, ...]
    t0: datetime | None
    safe: datetime | None
    exposure_s: int | None
    weaker: str
    proved: bool


def read(document: object) -> Picture | None:
    """The picture that a document tells; None when it is none."""
    if not isinstance(document, dict) or not _text(document.get("name")):
        return None
    expected = _table(document.get("expected"))
    return Picture(
        _text(document["name"]),
        _time(document.get("at")),
        _whole(document.get("round")),
        _text(document.get("zone")),
        _text(document.get("primary")),
        tuple(_alias(row) for row in _rows(document.get("chain"))),
        _phase(expected.get("phase")),
        _whole(expected.get("low_ttl")),
        tuple(_server(row) for row in _rows(document.get("authoritative"))),
        tuple(_cache(row) for row in _rows(document.get("resolvers"))),
        tuple(_oddity(row) for row in _rows(document.get("findings"))),
        _time(document.get("t0")),
        _time(document.get("safe")),
        _whole(document.get("exposure_s")),
        _text(document.get("weaker")),
        document.get("proved") is True,
    )


def _server(row: Mapping[str, object]) -> Server:
    values = row.get("values")
    return Server(
        _text(row.get("host")),
        _text(row.get("address")),
        _text(row.get("state")),
        _text(row.get("says")),
        tuple(_text(value) for value in values[:20]) if isinstance(values, list) else (),
        _whole(row.get("ttl")),
        _whole(row.get("serial"), 2**32),
        _time(row.get("since")),
        row.get("good") is True,
        row.get("waived") is True,
    )


def _cache(row: Mapping[str, object]) -> Cache:
    until, at, ttl = _time(row.get("expires")), _time(row.get("at")), _whole(row.get("ttl"))
    if until is None and at is not None and ttl is not None:
        until = _time_from(at.timestamp() + ttl)
    return Cache(
        _text(row.get("name")), _text(row.get("address")), _text(row.get("state")), _text(row.get("says")), until
    )


def _oddity(row: Mapping[str, object]) -> Oddity:
    name = f"{_text(row.get('id'))} {_text(row.get('subject'))}".strip()
    return Oddity(name, _text(row.get("severity")), _text(row.get("evidence"), 600), _text(row.get("fix"), 600))


def _alias(row: Mapping[str, object]) -> str:
    ttl = _whole(row.get("ttl"))
    kept = f" (TTL {ttl})" if ttl is not None else ""
    return f"{_text(row.get('owner'))} is an alias of {_text(row.get('target'))}{kept}"


def _phase(value: object) -> Phase:
    for phase in ("before", "lowered", "cut"):
        if value == phase:
            return phase
    return ""


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> list[Mapping[str, object]]:
    return [row for row in value[:MOST_ROWS] if isinstance(row, dict)] if isinstance(value, list) else []


def _text(value: object, limit: int = 255) -> str:
    """One line of clean text."""
    return " ".join(plain(value, limit).split()) if isinstance(value, str) else ""


def _whole(value: object, most: int = MOST_SECONDS) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def _time(value: object) -> datetime | None:
    """A moment with an offset, in the years where clocks can be counted with."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return _time_from(at.timestamp()) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _time_from(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if 0 <= seconds < 2**33 else None
