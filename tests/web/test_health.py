"""Checks and the soak: what could not be measured is a failure, and a soak ends with a look."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from switchover.plan.spec import ExpectSpec, HealthSpec
from switchover.web.health import Soak, SoakResult, check_all, soak
from tests.servers.http import Answer, HttpServer
from tests.web.conftest import NAME

if TYPE_CHECKING:
    import trustme

HERE = "127.0.0.1"


def check_of(server: HttpServer, path: str = "/", **expect: object) -> HealthSpec:
    return HealthSpec(name=f"page {path}", url=server.url(path, NAME), expect=ExpectSpec.model_validate(expect))


async def here(_: str) -> str | None:
    return HERE


def unheard(say: str, done: float, total: float, unit: str) -> None:
    """Progress that nobody follows."""


async def test_every_check_is_asked_once_and_answered_in_its_order(plain_server: HttpServer) -> None:
    checks = [check_of(plain_server), check_of(plain_server, "/missing"), check_of(plain_server, contains="all ok")]

    answers = await check_all(checks, HERE)

    assert [answer.ok for answer in answers] == [True, False, True]
    assert sorted(path for path, _ in plain_server.asked) == ["/", "/", "/missing"]


async def test_a_check_works_over_https_before_dns_points_there(tls_server: HttpServer, authority: trustme.CA) -> None:
    (answer,) = await check_all([check_of(tls_server)], HERE)

    assert answer.ok, answer.reason
    assert answer.certificate_days is not None


async def test_a_clean_soak_asks_pinned_and_public_from_its_first_to_its_last_second(plain_server: HttpServer) -> None:
    told: list[tuple[str, float, float, str]] = []

    result = await soak(
        [check_of(plain_server)],
        Soak(0.2, 0.1, 0),
        pinned=HERE,
        resolve=here,
        on_progress=lambda *said: told.append(said),
    )

    assert result.ok
    assert (result.failures, result.first_failure) == (0, "")
    assert result.probes == len(plain_server.asked)
    assert result.probes >= 4
    assert result.probes % 2 == 0
    assert result.watched_s >= 0.2
    assert told[-1] == (f"{result.probes} probes, 0 failed", 0.2, 0.2, "s")


async def test_a_soak_that_is_shorter_than_its_pause_still_ends_with_a_look(plain_server: HttpServer) -> None:
    result = await soak([check_of(plain_server)], Soak(0.1, 5, 0), pinned=HERE, resolve=here, on_progress=unheard)

    assert result.probes == 4


async def test_one_failure_more_than_allowed_ends_the_soak_at_once(plain_server: HttpServer) -> None:
    number = count(1)
    plain_server.answers["/"] = lambda: Answer(200 if next(number) <= 4 else 503)

    result = await soak([check_of(plain_server)], Soak(3600, 0.01, 1), pinned=HERE, resolve=here, on_progress=unheard)

    assert not result.ok
    assert (result.probes, result.failures) == (6, 2)
    assert result.first_failure == f"page / at {HERE}: status 503, not 200"


async def test_as_many_failures_as_allowed_do_not_fail_the_soak(plain_server: HttpServer) -> None:
    number = count(1)
    plain_server.answers["/"] = lambda: Answer(503 if next(number) == 1 else 200)

    result = await soak([check_of(plain_server)], Soak(0.05, 0.01, 1), pinned=HERE, resolve=here, on_progress=unheard)

    assert result.ok
    assert result.failures == 1
    assert result.bound == ""


async def test_a_name_that_no_resolver_answers_is_a_failure_not_a_skipped_probe(plain_server: HttpServer) -> None:
    """Falling back to the system's resolver would measure what this machine sees, not what users see."""

    async def nowhere(_: str) -> str | None:
        return None

    result = await soak(
        [check_of(plain_server)], Soak(3600, 0.01, 0), pinned=HERE, resolve=nowhere, on_progress=unheard
    )

    assert not result.ok
    assert result.failures == 1
    assert result.first_failure == f"page / at no address: no resolver gives an address for {NAME}"


def result_of(probes: int, failures: int = 0) -> SoakResult:
    return SoakResult(not failures, probes, failures, "", 1.0, 2.0, 3.0, 60.0)


def test_clean_probes_bound_the_failure_rate_and_never_prove_it_nought() -> None:
    assert result_of(3000).bound == "under 0.1 % of requests fail, at 95 %"
    assert result_of(360).bound == "under 0.83 % of requests fail, at 95 %"


def test_a_handful_of_probes_or_a_failure_bounds_nothing() -> None:
    assert [result_of(0).bound, result_of(3).bound, result_of(3000, 1).bound] == ["", "", ""]


def test_what_a_soak_saw_goes_into_the_journal_whole() -> None:
    said = result_of(3000).to_json()

    assert said["p95_ms"] == 2.0
    assert said["longest_ms"] == 3.0
    assert said["bound"] == "under 0.1 % of requests fail, at 95 %"
