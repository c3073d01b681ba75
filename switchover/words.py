"""The one place where wording is made: glyphs, durations, sizes, times, and the door for text from outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_DROP = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"  # C0 but tab and newline, C1, lone surrogates
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # bidirectional marks, line and paragraph separators
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # invisible
)

DAYS_ABOVE_S = 48 * 3600
"""Up to here hours are said: a TTL lead is 48h, not 2d."""


def plain(text: str | bytes, limit: int = 2000) -> str:
    """The text without control, bidirectional and invisible characters, cut to ``limit`` characters.

    Newlines and tabs stay. Whatever came from outside (names, bodies, errors, tool output) enters here.
    """
    if isinstance(text, bytes):
        text = text[: 4 * (limit + 1)].decode("utf-8", "replace")  # one character more, so that a cut is seen
    cut = len(text) > limit
    text = _DROP.sub("", text[:limit])
    return text + "…" if cut else text


def duration(seconds: float | timedelta) -> str:
    """A length of time as a person says it: "0.25 s", "42s", "1m07s", "2h05m", "48h", "2d01h"."""
    value = round(seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds), 2)
    if value < 0:
        return "-" + duration(-value)
    if value < 10 and value != int(value):
        return f"{value:g} s"
    whole = round(value)
    units = ((86400, 3600, "d", "h"), (3600, 60, "h", "m"), (60, 1, "m", "s"))
    for unit, part, big, small in units if whole > DAYS_ABOVE_S else units[1:]:
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit}{big}{rest:02d}{small}" if rest else f"{whole // unit}{big}"
    return f"{whole}s"


def size(number: float) -> str:
    """Bytes in decimal units: "512 B", "1.2 GB"."""
    value = float(number)
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 99.95:
            return f"{value:.1f} {unit}"
        if value < 999.5:
            return f"{value:.0f} {unit}"
    return f"{value:,.0f} TB"


def left(passed_s: float, done: float, whole: float) -> float | None:
    """Seconds that the rest takes at the rate so far; None while that is not known."""
    return passed_s / done * max(0.0, whole - done) if done > 0 and passed_s > 0 else None


def so_far(done: float, whole: float, left_s: float | None) -> str:
    """How much of so many bytes is done: "1.2 GB of 4.0 GB, about 3m left"."""
    rest = f", about {duration(round(left_s))} left" if left_s is not None and done < whole else ""
    return f"{size(done)} of {size(whole)}{rest}"


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 table", "1,200 rows"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def instant(at: datetime, zone: ZoneInfo | None = None, *, named: bool = True, fine: bool = False) -> str:
    """A moment in the plan's zone with its offset, or in UTC with Z.

    ``named`` False leaves the zone's name out, where it is said once for all; ``fine`` shows hundredths.
    """
    part = f".{at.microsecond // 10000:02d}" if fine else ""
    if zone is None:
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}{part}Z"
    local = at.astimezone(zone)
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S}{part} {offset[:3]}:{offset[3:]}" + (f" ({zone.key})" if named else "")


def clock(at: datetime, zone: ZoneInfo | None = None) -> str:
    """The time of day, with Z or the zone's abbreviation."""
    return f"{at.astimezone(zone):%H:%M:%S %Z}" if zone is not None else f"{at.astimezone(UTC):%H:%M:%S}Z"


def moment(at: datetime, now: datetime) -> str:
    """The time of day in UTC; with the date where it is not about today."""
    near = abs((at - now).total_seconds()) < 12 * 3600
    return clock(at) if near else f"{at.astimezone(UTC):%m-%d %H:%MZ}"


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
    "signed": ("✓", "v"),
    "shown": ("✓", "v"),
    "waived": ("≈", "w"),
    "not applicable": ("·", "."),
    "open": ("○", "-"),
    "later": ("○", "-"),
    "expired": ("≠", "~"),
    "fails": ("✗", "x"),
}


def glyph(state: str, *, ascii_only: bool = False) -> str:
    """The mark of a state; the word always stands beside it."""
    return _GLYPHS[str(state)][1 if ascii_only else 0]
