"""What real resolvers hold after a change: each state that a cache can be in, told from the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from switchover.dns.ask import ask
from switchover.dns.message import Endpoint, State
from switchover.dns.resolvers import Expected, PublicResolver, Sweep, View, sample
from switchover.dns.survey import Surveyor
from tests.dns.conftest import NEW, OLD, ZONE
from tests.dns.scenes import Scene, warm
from tests.servers.dns import NsdStatic, Unbound
from tests.servers.front import Dnsdist
from tests.servers.kresd import Kresd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.dns.conftest import Net

WWW = "www.example.test"
SERVERS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


@dataclass(frozen=True, slots=True)
class Case:
    """A resolver in a certain state, what is seen of it, and what its words must say."""

    arrange: Callable[[Scene], Awaitable[Endpoint]]
    view: View
    says: str = ""
    expires: bool = False
    ttl: int = 20
    """What the authority gives."""

    @property
    def name(self) -> str:
        return self.arrange.__name__


def unbound(scene: Scene, ip: str, *extra: str, servers: Sequence[str] = SERVERS) -> Unbound:
    """One more resolver, with lines of its own."""
    stubs = {"test.": ["127.0.0.10"], "example.test.": list(servers)}
    server = Unbound(scene.folder / f"unbound-{ip}", scene.at(ip), stubs, extra)
    scene.start(server)
    return server


async def change(scene: Scene) -> None:
    """The address changes on the primary, and on every secondary."""
    await scene.swap((OLD,), (NEW,), ttl=20)
    await scene.until_serial(2)


async def fresh(scene: Scene) -> Endpoint:
    await change(scene)
    return scene.net.resolver.endpoint


async def warmed_before(scene: Scene) -> Endpoint:
    await warm(scene.net.resolver.endpoint, WWW)
    await change(scene)
    return scene.net.resolver.endpoint


async def two_caches_behind_one_address(scene: Scene) -> Endpoint:
    one, two = unbound(scene, "127.0.0.22"), unbound(scene, "127.0.0.23")
    front = Dnsdist(scene.folder / "front", scene.at("127.0.0.24"), (one.endpoint, two.endpoint), "example.test.")
    scene.start(front)
    await warm(one.endpoint, WWW)
    await change(scene)
    return front.endpoint


async def floor_under_ttls(scene: Scene) -> Endpoint:
    server = unbound(scene, "127.0.0.22", "cache-min-ttl: 120")
    await warm(server.endpoint, WWW)
    await change(scene)
    return server.endpoint


async def floor_of_five_seconds(scene: Scene) -> Endpoint:
    """What knot-resolver gives out by itself for an answer that it has just fetched."""
    await scene.swap((OLD,), (OLD,), ttl=1)
    await scene.until_serial(2)
    server = Kresd(scene.folder / "kresd", scene.at("127.0.0.25"), {"example.test.": SERVERS})
    scene.start(server)
    return server.endpoint


async def serves_what_has_run_out(scene: Scene) -> Endpoint:
    """Its answer has run out, and nobody can be asked for a new one: it serves the old and says so."""
    server = unbound(
        scene,
        "127.0.0.22",
        "serve-expired: yes",
        "serve-expired-client-timeout: 100",
        "serve-expired-reply-ttl: 30",
        "ede: yes",
        "ede-serve-expired: yes",
    )
    await scene.swap((OLD,), (OLD,), ttl=1)
    await scene.until_serial(2)
    await warm(server.endpoint, WWW)
    for each in (scene.net.primary, scene.net.knot, scene.net.nsd):
        each.freeze()
        scene.stack.callback(each.thaw)
    deadline = datetime.now(UTC) + timedelta(seconds=10)
    while datetime.now(UTC) < deadline:
        answer = await ask(server.endpoint, WWW, "A", recursion=True)
        if answer.ede:
            break
        await asyncio.sleep(0.2)
    return server.endpoint


async def cannot_ask_anyone(scene: Scene) -> Endpoint:
    """Whom it asks does not know the zone."""
    lame = {"other.test.": "$ORIGIN other.test.\n@ 60 SOA a b 1 60 60 600 30\n@ 60 NS a\na 60 A 127.0.0.14\n"}
    scene.start(NsdStatic(scene.folder / "lame", scene.at("127.0.0.14"), lame))
    return unbound(scene, "127.0.0.22", servers=("127.0.0.14",)).endpoint


async def refuses(scene: Scene) -> Endpoint:
    return unbound(scene, "127.0.0.22", 'local-zone: "www.example.test" always_refuse').endpoint


async def filters(scene: Scene) -> Endpoint:
    """And says so: "blocked"."""
    rule = "policy.add(policy.suffix(policy.DENY, {todname('www.example.test.')}))"
    server = Kresd(scene.folder / "kresd", scene.at("127.0.0.25"), {"example.test.": SERVERS}, rules=(rule,))
    scene.start(server)
    return server.endpoint


async def says_it_does_not_exist(scene: Scene) -> Endpoint:
    return unbound(scene, "127.0.0.22", 'local-zone: "www.example.test" always_nxdomain').endpoint


async def knows_the_name_and_no_address(scene: Scene) -> Endpoint:
    return unbound(scene, "127.0.0.22", 'local-zone: "www.example.test" always_nodata').endpoint


async def has_a_zone_of_its_own(scene: Scene) -> Endpoint:
    lines = ('local-zone: "www.example.test" redirect', 'local-data: "www.example.test A 10.1.2.3"')
    return unbound(scene, "127.0.0.22", *lines).endpoint


async def nobody_there(scene: Scene) -> Endpoint:
    return scene.at("127.0.0.22")


async def no_way_there(scene: Scene) -> Endpoint:
    """An address that the system gives to nobody unasked: nothing is sent."""
    return Endpoint("255.255.255.255", scene.net.port)


async def old_and_new_together(scene: Scene) -> Endpoint:
    await scene.swap((OLD,), (OLD, NEW), ttl=20)
    await scene.until_serial(2)
    return scene.net.resolver.endpoint


CASES = (
    Case(fresh, View.NEW, "new in 6 of 6"),
    Case(warmed_before, View.OLD, "old in 6 of 6", expires=True),
    Case(two_caches_behind_one_address, View.MIXED, "new in", expires=True),
    Case(floor_under_ttls, View.FLOOR, "floor in 6 of 6", expires=True),
    Case(floor_of_five_seconds, View.FLOOR, "floor in", expires=True, ttl=1),
    Case(serves_what_has_run_out, View.STALE, "extended error 3", expires=True),
    Case(cannot_ask_anyone, View.SERVFAIL, "SERVFAIL"),
    Case(refuses, View.REFUSED, "REFUSED"),
    Case(filters, View.FILTERED, "extended error 15"),
    Case(says_it_does_not_exist, View.NXDOMAIN),
    Case(knows_the_name_and_no_address, View.NODATA),
    Case(has_a_zone_of_its_own, View.OTHER),
    Case(nobody_there, View.TIMEOUT, "closed"),
    Case(no_way_there, View.NO_ROUTE),
    Case(old_and_new_together, View.BOTH, expires=True),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_a_resolver_holds(net: Net, tmp_path: Path, case: Case) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        there = await case.arrange(scene)
        expected = Expected(frozenset({OLD}), frozenset({NEW}), case.ttl, datetime.now(UTC) + timedelta(seconds=22))
        (view,) = await sample([PublicResolver("lab", (there,))], WWW, expected, 6)
    assert (view.state, view.expires is not None) == (case.view, case.expires), view.detail
    assert case.says in view.detail


@pytest.fixture
def authority_of_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A certificate for the lab's resolver, from an authority that this process trusts."""
    authority = trustme.CA()
    made = authority.issue_cert("resolver.example.test", "127.0.0.22")
    certificate, key, roots = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "roots.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    made.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    return certificate, key


def private(scene: Scene, files: tuple[Path, Path], *servers: str) -> tuple[Endpoint, Endpoint]:
    """A resolver that is asked over TLS and over HTTPS alone."""
    at = scene.at("127.0.0.22")
    tls, https = at.port + 1, at.port + 2
    unbound(
        scene,
        at.ip,
        f"interface: {at.ip}@{tls}",
        f"interface: {at.ip}@{https}",
        f"tls-port: {tls}",
        f"https-port: {https}",
        f'tls-service-pem: "{files[0]}"',
        f'tls-service-key: "{files[1]}"',
        servers=servers or SERVERS,
    )
    return (
        Endpoint.parse(f"tls://{at.ip}:{tls}#resolver.example.test"),
        Endpoint.parse(f"https://{at.ip}:{https}/dns-query"),
    )


async def test_over_tls_and_over_https_the_answer_is_the_same(
    net: Net, tmp_path: Path, authority_of_tests: tuple[Path, Path]
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        for there in private(scene, authority_of_tests):
            answer = await ask(there, WWW, "A", recursion=True, timeout_s=3)
            assert (answer.state, answer.values) == (State.OK, (OLD,)), answer


async def test_a_certificate_for_another_name_is_no_answer(
    net: Net, tmp_path: Path, authority_of_tests: tuple[Path, Path]
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        tls, _ = private(scene, authority_of_tests)
        wrong = Endpoint.parse(str(tls).replace("#resolver.", "#other."))
        answer = await ask(wrong, WWW, "A", recursion=True)
    assert answer.state is State.BROKEN
    assert answer.values == ()


async def test_where_port_53_is_blocked_resolvers_are_asked_over_https_and_the_look_says_it_is_weaker(
    net: Net, tmp_path: Path, authority_of_tests: tuple[Path, Path]
) -> None:
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        hidden = scene.start(NsdStatic(tmp_path / "hidden", scene.at("127.0.0.14"), {"example.test.": ZONE}))
        _, https = private(scene, authority_of_tests, hidden.endpoint.ip)
        for each in (net.primary, net.knot, net.nsd):
            each.stop()
        public = PublicResolver("lab", (scene.at("127.0.0.23"),), (https,))
        survey = await Surveyor(WWW, resolver=https, port=net.port, resolvers=(public,)).look()
    assert "only resolvers could be asked" in survey.weaker
    assert [(view.endpoint, view.state) for view in survey.resolvers] == [(https, View.OTHER)]
    assert survey.t0 is None
    assert not survey.agree


async def test_a_resolver_is_not_asked_again_before_its_answer_can_have_run_out(net: Net) -> None:
    sweep = Sweep([PublicResolver("lab", (net.resolver.endpoint,))], WWW)
    expected = Expected(frozenset({OLD}), frozenset({NEW}))
    (first,) = await sweep.round(expected)
    (again,) = await sweep.round(expected)
    assert again is first
    due = sweep.due[net.resolver.endpoint]
    assert timedelta(seconds=30) <= due - first.at <= timedelta(seconds=34)
