"""What a stream says of how far it is: in all, and of each table under way."""

from __future__ import annotations

import pytest

from switchover.postgres.stream import meter
from switchover.postgres.stream.meter import Meter
from switchover.postgres.stream.shape import Shape, Streamed


def table(name: str, bytes: int, rows: int) -> Streamed:
    return Streamed(1, "public", name, bytes, bytes // 8192, rows, ("id",), True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(meter.time, "monotonic", lambda: now[0])
    return now


def test_each_table_under_way_is_told_with_bytes_rows_and_time_left(clock: list[float]) -> None:
    said: list[tuple[str, float]] = []
    big = table("big", 8_000_000, 1000)
    at = Meter(
        10_000_000,
        {"public.big": 1000, 'public."Small"': 100},
        {"public.big": 8_000_000, 'public."Small"': 2_000_000},
        lambda say, done, total, unit: said.append((say, done)),
        started=90.0,
    )
    at.fill(big, 0.25)
    at.say([("public.big", 100), ('public."Small"', 50)], [])
    clock[0] += 10
    at.say([("public.big", 100), ("public.big", 150), ('public."Small"', 100)], [("big_v", "sorting")])
    assert said == [
        (
            "3.8 MB of 10.0 MB, about 16s left; public.big 35%, 2.8 MB of 8.0 MB, 350 rows; "
            'public."Small" 50%, 1.0 MB of 2.0 MB, 50 rows',
            3_800_000,
        ),
        (
            "6.0 MB of 10.0 MB, about 13s left; public.big 50%, 4.0 MB of 8.0 MB, about 10s left, 500 rows; "
            'public."Small" 100%, 2.0 MB of 2.0 MB, 100 rows; index on big_v: sorting',
            6_000_000,
        ),
    ]


def test_a_table_of_an_unknown_number_of_rows_is_told_by_its_rows_alone(clock: list[float]) -> None:
    said: list[str] = []
    at = Meter.of(Shape((table("new", 8192, 0),), {}, {}), lambda say, *_: said.append(say))
    clock[0] += 1
    at.say([("public.new", 12)], [])
    assert said == ["0 B of 8.2 kB; public.new 12 rows"]


def test_who_holds_a_lock_is_told_as_long_as_it_is_waited_for(clock: list[float]) -> None:
    said: list[str] = []
    at = Meter.of(Shape((table("t", 8192, 1),), {}, {}), lambda say, *_: said.append(say))
    for who in ("pid 7 dana since 3 s: LOCK TABLE t", ""):
        at.wait(who)
        at.say([], [])
    held_up = "waiting for a lock of the source, held up by pid 7 dana since 3 s: LOCK TABLE t"
    assert said == [f"0 B of 8.2 kB; {held_up}", "0 B of 8.2 kB"]
