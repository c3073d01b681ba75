"""Wording: what is said of durations, sizes and times, and what may come through the door."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from switchover.plan.progress import ActionStatus, StepStatus
from switchover.words import clock, count, duration, glyph, instant, moment, plain, size

HOSTILE = {
    "C0": "".join(map(chr, [*range(9), *range(11, 32)])),
    "DEL and C1": "".join(map(chr, range(0x7F, 0xA0))),
    "bidi": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u034f",
    "separators": "\u2028\u2029",
    "fillers": "\u115f\u1160\u3164\uffa0",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "lone surrogates": "\ud800\udbff\udc00\udfff",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_invisible_and_control_characters_do_not_come_in(kind: str) -> None:
    assert plain(f"a{HOSTILE[kind]}b") == "ab"


def test_no_control_format_or_surrogate_character_of_unicode_comes_in() -> None:
    everything = "".join(map(chr, range(0x110000)))

    left = {
        char for char in plain(everything, len(everything)) if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
    }

    assert left == {"\t", "\n"}


def test_no_escape_of_a_terminal_sequence_comes_in() -> None:
    assert plain("\x1b]0;owned\x07\x1b[2Jx\x9b31m") == "]0;owned[2Jx31m"


def test_markup_stays_as_text_for_the_views_to_escape() -> None:
    assert plain("[@click=app.quit()]x[/] <b>|") == "[@click=app.quit()]x[/] <b>|"


def test_words_in_any_script_stay_as_they_are() -> None:
    assert plain("Zoë 東京 שלום 👍🏽\tx\ny") == "Zoë 東京 שלום 👍🏽\tx\ny"


def test_bytes_that_are_no_utf_8_are_shown_as_replaced() -> None:
    assert plain(b"caf\xe9 \xff\xfe ok") == "caf\ufffd \ufffd\ufffd ok"


@pytest.mark.parametrize("char", ["a", "é", "東", "👍"])
def test_text_is_cut_at_the_limit_and_the_cut_is_marked(char: str) -> None:
    for text in (char * 11, (char * 11).encode()):
        assert plain(text, 10) == char * 10 + "…"
    for text in (char * 10, (char * 10).encode()):
        assert plain(text, 10) == char * 10


def test_a_megabyte_is_cut_like_any_other_text() -> None:
    assert plain("x" * (1 << 20)) == "x" * 2000 + "…"
    assert plain(b"\x1b\x00" * (1 << 19)) == "…"


def test_cleaning_twice_changes_nothing() -> None:
    once = plain("".join(HOSTILE.values()) + "text")

    assert plain(once) == once


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0s"),
        (0.001, "0s"),
        (0.25, "0.25 s"),
        (1.5, "1.5 s"),
        (9.999, "10s"),
        (10.4, "10s"),
        (42, "42s"),
        (59.6, "1m"),
        (67, "1m07s"),
        (3599.6, "1h"),
        (7500, "2h05m"),
        (48 * 3600, "48h"),
        (49 * 3600, "2d01h"),
        (timedelta(days=7), "7d"),
        (timedelta(minutes=15), "15m"),
        (-67, "-1m07s"),
        (-0.001, "0s"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float | timedelta, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_960, "100 kB"),
        (999_960, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (5_400_000_000_000, "5.4 TB"),
        (2_000_000_000_000_000, "2,000 TB"),
    ],
)
def test_a_size_never_shows_four_digits_below_the_largest_unit(number: int, said: str) -> None:
    assert size(number) == said


def test_a_count_agrees_with_its_noun() -> None:
    assert [count(0, "row"), count(1, "row"), count(1200, "row")] == ["0 rows", "1 row", "1,200 rows"]


def test_a_moment_is_said_in_the_plans_zone_with_its_offset() -> None:
    at = datetime(2026, 12, 6, 3, 0, tzinfo=UTC)
    toronto = ZoneInfo("America/Toronto")

    assert instant(at, toronto) == "2026-12-05 22:00:00 -05:00 (America/Toronto)"
    assert instant(at, toronto, named=False) == "2026-12-05 22:00:00 -05:00"
    assert instant(at) == "2026-12-06 03:00:00Z"
    assert instant(at.replace(microsecond=257_999), fine=True) == "2026-12-06 03:00:00.25Z"
    assert clock(at, toronto) == "22:00:00 EST"
    assert clock(at) == "03:00:00Z"


def test_a_moment_of_another_day_is_said_with_its_date() -> None:
    now = datetime(2026, 12, 6, 3, 0, tzinfo=UTC)

    assert moment(now, now) == moment(now, now + timedelta(hours=11)) == "03:00:00Z"
    assert moment(now, now + timedelta(hours=13)) == moment(now, now - timedelta(hours=13)) == "12-06 03:00Z"


def test_every_state_has_a_mark_and_one_for_plain_terminals() -> None:
    states = [*StepStatus, *ActionStatus]

    assert [len(glyph(state)) for state in states] == [1] * len(states)
    assert all(glyph(state, ascii_only=True).isascii() for state in states)


def test_good_bad_and_unknown_are_never_marked_alike() -> None:
    for ascii_only in (False, True):
        marks = [glyph(state, ascii_only=ascii_only) for state in ("done", "failed", "unknown", "todo", "stale")]
        assert len(set(marks)) == len(marks)
