"""What resolvers hold, judged against what is expected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from switchover.dns.ask import ask
from switchover.dns.keys import read_key
from switchover.dns.message import Answer, Endpoint, State
from switchover.dns.providers import Change
from switchover.dns.providers.rfc2136 import Rfc2136
from switchover.dns.resolvers import PUBLIC, Expected, PublicResolver, View, judge, named, sample
from tests.dns.conftest import NEW, OLD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dns.conftest import Net


EXPECTED = Expected(frozenset({OLD}), frozenset({NEW}))


async def test_a_resolver_keeps_the_old_answer_and_says_when_it_expires(net: Net, tmp_path: Path) -> None:
    await ask(net.resolver.endpoint, "www.example.test", "A", recursion=True)
    key = read_key(net.key.write(tmp_path / "shop.key"))
    primary = Rfc2136(server=str(net.primary.endpoint), zone="example.test", key=key, port=net.port)
    await primary.apply(Change("example.test", "www.example.test", "A", (OLD,), 20, (NEW,), 20))
    lab = [PublicResolver("lab", (net.resolver.endpoint, Endpoint("127.0.0.11", 9)))]
    held, closed = await sample(lab, "www.example.test", EXPECTED, 3)
    assert View.OLD is held.state
    assert held.expires is not None
    assert timedelta() < held.expires - datetime.now(UTC) <= timedelta(seconds=20)
    assert View.TIMEOUT is closed.state
    assert closed.expires is None


def answer(value: str = NEW, state: State = State.OK, ede: tuple[str, ...] = (), ttl: int = 60) -> Answer:
    values = (value,) if state is State.OK else ()
    return Answer(
        Endpoint("192.0.2.1"),
        "www.example.test",
        "A",
        datetime.now(UTC),
        state,
        ttl=ttl,
        values=values,
        ede=ede,
    )


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([answer(), answer()], View.NEW),
        ([answer(), answer(OLD)], View.MIXED),
        ([answer(OLD), answer(OLD)], View.OLD),
        ([answer(), answer("203.0.113.9")], View.OTHER),
        ([answer(), answer(state=State.SERVFAIL)], View.SERVFAIL),
        ([answer(), answer(state=State.TIMEOUT)], View.NEW),
        ([answer(state=State.TIMEOUT)] * 2, View.TIMEOUT),
        ([answer("0.0.0.0", ede=("17 Filtered",))], View.FILTERED),
        ([answer(state=State.NXDOMAIN)], View.NXDOMAIN),
        ([answer(state=State.REFUSED)], View.REFUSED),
        ([answer(OLD, ede=("3 Stale Answer",)), answer()], View.STALE),
        ([answer("0.0.0.0", ede=("17 Filtered",)), answer()], View.NEW),
        ([answer(state=State.NO_ROUTE)], View.NO_ROUTE),
    ],
)
def test_a_resolver_has_the_new_record_only_if_every_telling_sample_says_so(
    answers: list[Answer], expected: View
) -> None:
    assert expected is judge("lab", answers, EXPECTED).state


def test_the_last_old_answer_sets_the_expiry() -> None:
    view = judge("lab", [answer(OLD, ttl=5), answer(OLD, ttl=50), answer(ttl=500)], EXPECTED)
    assert view.expires is not None
    assert timedelta(seconds=40) < view.expires - datetime.now(UTC) <= timedelta(seconds=50)


def test_the_plan_may_name_its_own_resolvers() -> None:
    assert (PublicResolver("192.0.2.1:5301", (Endpoint("192.0.2.1", 5301),)),) == named(("192.0.2.1:5301",))
    assert named(None) == PUBLIC
    with pytest.raises(ValueError):
        named(("dns.example",))


@pytest.mark.parametrize(("ttl", "expected"), [(20, View.SAME), (21, View.FLOOR)])
def test_without_a_plan_a_resolver_is_measured_by_what_is_served(ttl: int, expected: View) -> None:
    assert expected is judge("lab", [answer(OLD, ttl=ttl)], Expected(frozenset(), frozenset({OLD}), 20)).state
