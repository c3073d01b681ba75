"""The outage meter: what users had, to a quarter of a second, and nothing that nobody saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from switchover.plan.spec import HealthSpec
from switchover.web.outage import BLIND_S, PATIENCE_S, Meter, Sample, outages, read_samples
from tests.servers.http import Answer, HttpServer
from tests.web.conftest import NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

T = datetime(2026, 12, 6, 3, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def samples(text: str, start: float = 0.0) -> list[Sample]:
    """One letter a quarter second: "+" good, "-" refused, "m" maintenance page, " " nobody looked."""
    reasons = {"+": "", "-": "Connection refused", "m": "status 503, not 200"}
    return [
        Sample(at(start + number / 4), letter == "+", reasons[letter], "192.0.2.1")
        for number, letter in enumerate(text)
        if letter != " "
    ]


def test_no_failed_request_is_no_outage() -> None:
    summary = outages(samples("++++++++"))

    assert (summary.outages, summary.unobserved, summary.total_s, summary.samples) == ((), (), 0.0, 8)
    assert (summary.first, summary.last) == (at(0), at(1.75))


def test_an_outage_lasts_from_the_first_failed_request_to_the_next_good_one() -> None:
    (outage,) = outages(samples("++----++")).outages

    assert (outage.start, outage.end, outage.seconds, outage.ended) == (at(0.5), at(1.5), 1.0, True)


def test_a_maintenance_page_is_an_outage_and_each_reason_is_told_once() -> None:
    summary = outages(samples("+mm-m+"))

    assert summary.total_s == 1.0
    assert summary.outages[0].reason == "status 503, not 200; Connection refused"


def test_two_outages_are_two() -> None:
    summary = outages(samples("+--+-++"))

    assert [outage.seconds for outage in summary.outages] == [0.5, 0.25]
    assert summary.total_s == 0.75


def test_an_outage_that_nobody_saw_end_is_open() -> None:
    (outage,) = outages(samples("++--")).outages

    assert not outage.ended
    assert (outage.start, outage.end) == (at(0.5), at(0.75))


def test_time_that_nobody_observed_is_neither_up_nor_down() -> None:
    summary = outages([*samples("+--"), *samples("++", 60)])

    assert summary.unobserved == ((at(0.5), at(60)),)
    assert summary.total_s == 0.25
    assert not summary.outages[0].ended


def test_an_outage_on_both_sides_of_a_gap_counts_only_what_was_seen() -> None:
    summary = outages([*samples("+--"), *samples("--+", 60)])

    assert [outage.seconds for outage in summary.outages] == [0.25, 0.5]
    assert [outage.ended for outage in summary.outages] == [False, True]


def test_one_slow_tick_is_no_gap() -> None:
    assert outages(samples("++   ++")).unobserved == ()
    assert outages(samples("++    ++")).unobserved == ((at(0.25), at(1.5)),)


def test_no_samples_say_nothing() -> None:
    summary = outages([])

    assert (summary.samples, summary.first, summary.last, summary.outages) == (0, None, None, ())


def test_outage_and_observed_time_never_exceed_the_time_there_was() -> None:
    """Any mix of good, failed and missing samples: parts are in order, apart, and outside the gaps."""
    chance = random.Random(7)
    for _ in range(300):
        some = samples("".join(chance.choices("+-m ", (4, 2, 1, 3), k=60)))
        summary = outages(some)
        spans = sorted([(each.start, each.end) for each in summary.outages] + list(summary.unobserved))
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        assert all(summary.first <= start <= end <= summary.last for start, end in spans)  # type: ignore[operator]
        assert all((end - start).total_seconds() > BLIND_S for start, end in summary.unobserved)
        failed = {sample.at for sample in some if not sample.ok}
        assert failed == {
            moment for moment in failed if any(each.start <= moment <= each.end for each in summary.outages)
        }


def test_the_journal_form_is_whole_and_in_utc() -> None:
    said = outages(samples("+--+")).to_json()

    assert json.loads(json.dumps(said)) == {
        "total_s": 0.5,
        "samples": 4,
        "precision_s": 0.25,
        "first": "2026-12-06T03:00:00.000+00:00",
        "last": "2026-12-06T03:00:00.750+00:00",
        "outages": [
            {
                "start": "2026-12-06T03:00:00.250+00:00",
                "end": "2026-12-06T03:00:00.750+00:00",
                "seconds": 0.5,
                "reason": "Connection refused",
                "ended": True,
            }
        ],
        "unobserved": [],
    }


def test_a_torn_or_overwritten_line_is_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = '{"at": "2026-12-06T03:00:%02d+00:00", "ok": true, "reason": "", "address": null}\n'
    file = tmp_path / "samples"
    file.write_bytes(
        (whole % 2).encode()
        + (whole % 1).encode()
        + (whole % 3).encode()[:20]
        + (whole % 4).encode()
        + b"\xff\xfe\x00\n[]\n7\n"
        + (whole % 5).encode()[:-9]
    )

    assert [sample.at.second for sample in read_samples(file)] == [1, 2]


async def until(happens: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happens():
            await asyncio.sleep(0.01)


def meter(server: HttpServer, sink: Path, resolve: Callable[[], Awaitable[str | None]]) -> Meter:
    return Meter(HealthSpec(name="front", url=server.url(name=NAME)), resolve, sink)


async def here() -> str | None:
    return "127.0.0.1"


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_the_meter_sees_the_service_go_and_come_back(plain_server: HttpServer, tmp_path: Path) -> None:
    sink = tmp_path / "samples"
    task = asyncio.create_task(meter(plain_server, sink, here).run())
    for answer in (Answer(), Answer(503, b"maintenance"), Answer()):
        plain_server.answers["/"] = answer
        before = len(plain_server.asked)
        await until(lambda before=before: len(plain_server.asked) >= before + 2)
    await stop(task)

    (outage,) = outages(read_samples(sink)).outages
    assert outage.ended
    assert outage.reason == "status 503, not 200"
    assert sink.stat().st_mode & 0o777 == 0o600


async def test_a_hanging_server_does_not_hold_up_the_next_request(plain_server: HttpServer, tmp_path: Path) -> None:
    """Each request would wait out its deadline of seconds if one had to end before the next began."""
    plain_server.answers["/"] = Answer(hangs=True)
    sink = tmp_path / "samples"
    task = asyncio.create_task(meter(plain_server, sink, here).run())
    await until(lambda: len(plain_server.asked) >= 4)

    await stop(task)

    seen = read_samples(sink)
    assert seen[3].at - seen[0].at < 3 * timedelta(seconds=PATIENCE_S)
    assert {sample.reason for sample in seen} == {"no answer in 3 s"}


async def test_the_meter_follows_the_authoritative_answer(tmp_path: Path) -> None:
    answer = ["127.0.0.1"]

    async def authoritative() -> str | None:
        return answer[0]

    with (
        HttpServer({"/": Answer()}) as old,
        HttpServer({"/": Answer()}, address="127.0.0.2", port=old.port) as new,
    ):
        sink = tmp_path / "samples"
        task = asyncio.create_task(meter(old, sink, authoritative).run())
        await until(lambda: len(old.asked) >= 1)
        answer[0] = "127.0.0.2"
        await until(lambda: len(new.asked) >= 1)
        await stop(task)

    assert [sample.address for sample in read_samples(sink)][-1] == "127.0.0.2"
    assert outages(read_samples(sink)).outages == ()


async def test_without_an_authoritative_answer_nothing_is_claimed(plain_server: HttpServer, tmp_path: Path) -> None:
    """The system's resolver would answer for this machine, not for users."""
    asked = []

    async def nowhere() -> str | None:
        asked.append(1)
        return None

    sink = tmp_path / "samples"
    task = asyncio.create_task(meter(plain_server, sink, nowhere).run())
    await until(lambda: len(asked) >= 2)
    await stop(task)

    assert read_samples(sink) == ()
    assert plain_server.asked == []


async def test_a_second_meter_on_the_same_file_adds_to_it(plain_server: HttpServer, tmp_path: Path) -> None:
    sink = tmp_path / "samples"
    for _ in range(2):
        before = len(plain_server.asked)
        task = asyncio.create_task(meter(plain_server, sink, here).run())
        await until(lambda before=before: len(plain_server.asked) > before)
        await stop(task)

    assert len(read_samples(sink)) == len(plain_server.asked)
