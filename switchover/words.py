"""The one place where wording is made: glyphs, durations, sizes, times, and the door for text from outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_DROP = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def plain(text: str | bytes, limit: int = 2000) -> str:
    """The text without control, bidirectional and invisible characters, cut to ``limit`` characters.

    Newlines and tabs stay. Whatever came from outside (names, bodies, errors, tool output) enters here.
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "replace")
    cut = len(text) > limit
    text = _DROP.sub("", text[:limit])
    return text + "…" if cut else text


def duration(seconds: float | timedelta) -> str:
    """A length of time as a person says it: "0.25 s", "42s", "1m07s", "2h05m", "2d01h"."""
    value = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
    if value < 0:
        return "-" + duration(-value)
    if value < 10 and value != int(value):
        return f"{value:.2f}".rstrip("0").rstrip(".") + " s"
    whole = round(value)
    for unit, part, big, small in ((86400, 3600, "d", "h"), (3600, 60, "h", "m"), (60, 1, "m", "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit}{big}{rest:02d}{small}" if rest else f"{whole // unit}{big}"
    return f"{whole}s"


def size(number: float) -> str:
    """Bytes in decimal units: "512 B", "1.2 GB"."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 table", "1,200 rows"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def instant(at: datetime, zone: ZoneInfo | None = None) -> str:
    """A moment in the plan's zone with its offset, or in UTC with Z."""
    if zone is None:
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    local = at.astimezone(zone)
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:]} ({zone.key})"


def clock(at: datetime, zone: ZoneInfo | None = None) -> str:
    """The time of day, with Z or the zone's abbreviation."""
    return f"{at.astimezone(zone):%H:%M:%S %Z}" if zone is not None else f"{at.astimezone(UTC):%H:%M:%S}Z"


_GLYPHS = {
    "waiting": ("○", "-"),
    "todo": ("○", "-"),
    "ready": ("▷", ">"),
    "running": ("▶", "#"),
    "held": ("‖", "="),
    "done": ("✓", "v"),
    "already": ("✓", "v"),
    "stale": ("≠", "~"),
    "failed": ("✗", "x"),
    "unknown": ("?", "?"),
    "undoing": ("↶", "<"),
    "undone": ("↶", "<"),
    "warn": ("!", "!"),
}


def glyph(state: str, *, ascii_only: bool = False) -> str:
    """The mark of a state; the word always stands beside it."""
    return _GLYPHS[str(state)][1 if ascii_only else 0]
