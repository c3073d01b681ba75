"""The rules of T0 and the safe instant, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from switchover.dns.message import Answer, Endpoint, Rrset, State
from switchover.dns.propagation import (
    Observation,
    Proof,
    Track,
    agreed,
    exposure,
    follow,
    safe_instant,
    t0,
)

A, B, SIX = Endpoint("192.0.2.1"), Endpoint("192.0.2.2"), Endpoint("2001:db8::1")
START = datetime(2026, 12, 1, tzinfo=UTC)
WANTED = Rrset(("192.0.2.10",), 60)
PROOF = Proof(rounds=3, spread=timedelta(seconds=20))


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def saw(second: float, ttl: int | None = 60, state: State = State.OK, end: Endpoint = A) -> Observation:
    return Observation(end, at(second), state, ttl, ("192.0.2.10",) if state is State.OK else ())


def said(end: Endpoint, ttl: int = 60, value: str = "192.0.2.10", state: State = State.OK) -> Answer:
    return Answer(end, "www.example.test", "A", START, state, ttl=ttl, values=(value,) if state is State.OK else ())


def track(*seen: Observation) -> Track:
    """The track after these probes."""
    made = None
    for each in seen:
        made = follow(made, each, WANTED)
    assert made is not None
    return made


def first_new(*seen: Observation) -> datetime | None:
    first = track(*seen).first
    return first.at if first is not None else None


def test_first_new_is_the_first_answer_with_exactly_the_new_ttl() -> None:
    assert at(10) == first_new(saw(0, 3600), saw(10), saw(20))


def test_a_ttl_below_the_new_one_is_a_cache_counting_down() -> None:
    assert first_new(saw(0, 59), saw(1, 58)) is None


@pytest.mark.parametrize("later", [saw(20, 3600), saw(20, state=State.NXDOMAIN), saw(20, state=State.NODATA)])
def test_a_regression_clears_what_was_seen_before(later: Observation) -> None:
    assert first_new(saw(0), saw(10), later) is None
    assert at(30) == first_new(saw(0), saw(10), later, saw(30))


@pytest.mark.parametrize("state", [State.TIMEOUT, State.NO_ROUTE, State.SERVFAIL, State.REFUSED, State.CACHE])
def test_silence_neither_clears_nor_counts(state: State) -> None:
    seen = [saw(0), saw(10), saw(20, state=state)]
    assert at(0) == first_new(*seen)
    assert not track(*seen).proves(Proof(2, timedelta()))
    assert track(*seen, saw(30)).proves(Proof(3, timedelta(seconds=30)))


def test_a_proof_needs_enough_probes_over_enough_time() -> None:
    assert not track(saw(0), saw(30)).proves(PROOF)
    assert not track(saw(0), saw(1), saw(2)).proves(PROOF)
    assert track(saw(0), saw(1), saw(20)).proves(PROOF)


def test_t0_comes_from_the_last_address_to_change() -> None:
    quick = track(*(saw(second) for second in (1, 11, 21, 31)))
    late = track(saw(1, 3600, end=B), *(saw(second, end=B) for second in (11, 21, 31)))
    assert at(11) == t0({A: quick, B: late}, PROOF)


def test_one_stale_address_means_there_is_no_t0() -> None:
    quick = track(*(saw(second) for second in (1, 11, 21)))
    stale = track(*(saw(second, 3600, end=B) for second in (1, 11, 21)))
    assert t0({A: quick, B: stale}, PROOF) is None
    assert t0({}, PROOF) is None


def test_the_safe_instant_is_t0_and_the_old_ttl_and_two_seconds_for_rounding() -> None:
    assert at(3602) == safe_instant(at(0), 3600)


def test_exposure_shrinks_to_the_new_ttl_and_no_further() -> None:
    assert timedelta(seconds=3600) == exposure(at(0), None, 3600, 60)
    assert timedelta(seconds=2602) == exposure(at(1000), at(0), 3600, 60)
    assert timedelta(seconds=60) == exposure(at(9999), at(0), 3600, 60)


def test_agreement_names_each_address_that_differs_and_how() -> None:
    verdict = agreed([said(A), said(B, 3600)], WANTED.values, 60)
    assert not verdict.ok
    assert [(m.endpoint, m.reason) for m in verdict.missing] == [
        (B, "the value is right, its TTL is 3600 instead of 60")
    ]
    assert agreed([said(A), said(B, 3600)], WANTED.values).ok
    assert not agreed([said(A, value="192.0.2.99")], WANTED.values).ok


def test_nobody_asked_is_not_agreement() -> None:
    assert not agreed([], WANTED.values).ok


def test_an_address_without_a_route_is_set_aside_only_if_its_server_was_heard_elsewhere() -> None:
    answers = [said(A), said(SIX, state=State.NO_ROUTE)]
    assert not agreed(answers, WANTED.values, 60).ok
    assert not agreed(answers, WANTED.values, 60, {A: "ns1", SIX: "ns2"}).ok
    verdict = agreed(answers, WANTED.values, 60, {A: "ns1", SIX: "ns1"})
    assert (verdict.ok, verdict.unseen) == (True, (SIX,))


def test_an_observation_survives_json() -> None:
    import json

    seen = Observation(Endpoint("2001:db8::1", 5301), at(1.5), State.OK, 60, ("192.0.2.10",), 7, "site 1")
    assert seen == Observation.from_json(json.loads(json.dumps(seen.to_json())))


@pytest.mark.parametrize("wrong", [{}, {"at": "2026-12-01T00:00:00"}, {"values": 1}, {"ttl": "60"}, {"state": "fine"}])
def test_what_is_no_observation_is_refused(wrong: dict[str, object]) -> None:
    good = saw(0).to_json()
    with pytest.raises(ValueError):
        Observation.from_json({**good, **wrong} if wrong else {})  # type: ignore[dict-item]
