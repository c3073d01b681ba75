"""Every state of DNS that is met in the wild, on real servers: what is found, what is proved, and no false alarm."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from switchover.dns.leftovers import Move
from switchover.dns.message import Endpoint
from switchover.dns.resolvers import PublicResolver
from tests.dns.conftest import OLD, ZONE
from tests.dns.scenes import LOW, Outcome, Scene, play, warm
from tests.servers.dns import KnotPrimary, NsdStatic, Unbound
from tests.servers.front import Dnsdist, line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.dns.conftest import Net

STAYS = {"stays example.test": "warn"}
"""The zone itself stays at the old host while its www moves: true in every scene about www."""


@dataclass(frozen=True, slots=True)
class Case:
    """A scene, and what must come of it."""

    arrange: Callable[[Scene], Awaitable[None]]
    troubles: dict[str, str]
    safe: bool = True
    missing: str = ""
    refused: str = ""

    @property
    def name(self) -> str:
        return self.arrange.__name__


# ------------------------------------------------------------------ nothing is wrong


async def plain(scene: Scene) -> None: ...


async def upper_case_and_dot(scene: Scene) -> None:
    scene.name, scene.owner = "WWW.Example.TEST.", "www.example.test"


async def alias_in_the_zone(scene: Scene) -> None:
    scene.name, scene.owner = "app.example.test", "www.example.test"


async def ttl_is_low_already(scene: Scene) -> None:
    await scene.edit(("www 20 A", f"www {LOW} A"))
    scene.lower = plain


async def one_server_alone(scene: Scene) -> None:
    scene.parent(("example NS ns2.example\n", ""), ("example NS ns3.example\n", ""))
    await scene.edit(("@ NS ns2\n", ""), ("@ NS ns3\n", ""))
    scene.net.knot.stop()
    scene.net.nsd.stop()


async def lagging_secondary(scene: Scene) -> None:
    """Frozen while the change is made, and a moment longer."""

    async def lower(scene: Scene) -> None:
        import asyncio

        scene.net.nsd.freeze()
        await scene.swap((OLD,), (OLD,))
        asyncio.get_running_loop().call_later(1.5, scene.net.nsd.thaw)

    scene.lower = lower


async def slow_line(scene: Scene) -> None:
    await _front(scene, lose=0.0, delay_s=0.3)


async def lossy_line(scene: Scene) -> None:
    await _front(scene, lose=0.3, delay_s=0.0)


async def server_without_edns(scene: Scene) -> None:
    """It answers FORMERR to whoever asks with EDNS."""
    scene.net.nsd.stop()
    rule = "addAction(EDNSOptionRule(3), RCodeAction(DNSRCode.FORMERR))"
    old = Dnsdist(
        scene.folder / "old", scene.at("127.0.0.13"), (scene.net.knot.endpoint,), "example.test.", rules=(rule,)
    )
    scene.start(old)


async def _front(scene: Scene, *, lose: float, delay_s: float) -> None:
    """The third server is reached over a line of its own."""
    scene.net.nsd.stop()
    await scene.stack.enter_async_context(
        line(scene.at("127.0.0.13"), scene.net.knot.endpoint, lose=lose, delay_s=delay_s)
    )


async def truncated_answers(scene: Scene) -> None:
    """Every reply over UDP is cut; over TCP it is whole."""
    scene.net.nsd.stop()
    rule = "addAction(NotRule(TCPRule(true)), TCAction())"
    short = Dnsdist(
        scene.folder / "short", scene.at("127.0.0.13"), (scene.net.knot.endpoint,), "example.test.", rules=(rule,)
    )
    scene.start(short)


async def resolver_behind_several_caches(scene: Scene) -> None:
    first = _forwarder(scene, "127.0.0.22", scene.net.resolver.endpoint)
    second = _forwarder(scene, "127.0.0.23", first)
    scene.resolvers = (PublicResolver("far", (second,)),)
    await warm(second, "www.example.test")


class Forwarder(Unbound):
    """Asks other resolvers instead of servers."""

    def configure(self) -> Sequence[str]:
        arguments = super().configure()
        config = self.folder / "unbound.conf"
        config.write_text(
            config.read_text().replace("stub-zone:", "forward-zone:").replace("stub-addr:", "forward-addr:")
        )
        return arguments


def _forwarder(scene: Scene, ip: str, to: Endpoint) -> Endpoint:
    return scene.start(Forwarder(scene.folder / f"forward-{ip}", scene.at(ip), {"test.": [to.ip]})).endpoint


# ------------------------------------------------------------------ servers


async def stale_secondary(scene: Scene) -> None:
    scene.net.nsd.stop()
    scene.start(scene.stuck("127.0.0.13"))


async def secondary_with_another_address(scene: Scene) -> None:
    await scene.edit(("www 20 A", "other 20 A 192.0.2.77\nwww 20 A"))
    scene.net.nsd.stop()
    scene.start(scene.stuck("127.0.0.13", ("www 20 A 192.0.2.10", "www 20 A 192.0.2.99")))


async def same_serial_other_data(scene: Scene) -> None:
    scene.net.nsd.stop()
    scene.start(scene.stuck("127.0.0.13", ("www 20 A 192.0.2.10", "www 20 A 192.0.2.99")))


async def secondary_without_the_name(scene: Scene) -> None:
    scene.net.nsd.stop()
    scene.start(scene.stuck("127.0.0.13", ("www 20 A 192.0.2.10\n", ""), ("app 300 CNAME www\n", "")))


async def secondary_with_another_ttl(scene: Scene) -> None:
    scene.net.nsd.stop()
    scene.start(scene.stuck("127.0.0.13", ("www 20 A", "www 300 A")))


async def silent_server(scene: Scene) -> None:
    scene.net.nsd.freeze()
    scene.stack.callback(scene.net.nsd.thaw)


async def dead_server(scene: Scene) -> None:
    scene.net.nsd.stop()


async def one_address_of_a_host_dead(scene: Scene) -> None:
    scene.parent(("ns2.example A 127.0.0.12\n", "ns2.example A 127.0.0.12\nns2.example A 127.0.0.14\n"))
    await scene.edit(("ns2 A 127.0.0.12\n", "ns2 A 127.0.0.12\nns2 A 127.0.0.14\n"))


async def dead_server_accepted(scene: Scene) -> None:
    scene.net.nsd.stop()
    scene.accept = ("silent 127.0.0.13",)


async def lame_server(scene: Scene) -> None:
    scene.net.nsd.stop()
    scene.start(NsdStatic(scene.folder / "lame", scene.at("127.0.0.13"), {"other.test.": _other_zone()}))


def _other_zone() -> str:
    return (
        "$ORIGIN other.test.\n$TTL 60\n@ SOA ns1 hostmaster 1 60 60 600 30\n@ NS ns1\n"
        "ns1 A 127.0.0.13\nwww A 192.0.2.10\n"
    )


async def resolver_as_server(scene: Scene) -> None:
    scene.net.nsd.stop()
    scene.start(
        Unbound(
            scene.folder / "posing",
            scene.at("127.0.0.13"),
            {"example.test.": ["127.0.0.11"], "test.": ["127.0.0.10"]},
        )
    )
    await warm(scene.at("127.0.0.13"), "www.example.test")


async def intercepted_port(scene: Scene) -> None:
    """The real servers have moved; at the addresses that the world knows, resolvers answer in their place."""
    hidden = scene.at("127.0.0.14")
    scene.net.primary.stop()
    scene.net.knot.stop()
    scene.net.nsd.stop()
    scene.start(NsdStatic(scene.folder / "hidden", hidden, {"example.test.": ZONE}))
    for ip in ("127.0.0.11", "127.0.0.12", "127.0.0.13"):
        scene.start(Unbound(scene.folder / f"hotel-{ip}", scene.at(ip), {"example.test.": [hidden.ip]}))
        await warm(scene.at(ip), "www.example.test")
    scene.lower = plain


async def edge_cache(scene: Scene) -> None:
    """A provider's cache that claims authority; it forgets when the old TTL has run out, and no sooner."""
    scene.net.nsd.stop()
    scene.start(
        Dnsdist(scene.folder / "edge", scene.at("127.0.0.13"), (scene.net.knot.endpoint,), "example.test.", cache=True)
    )


async def two_minds_behind_one_address(scene: Scene) -> None:
    """Every second question for the address goes to a server with another one; a flattened name looks like this too."""
    scene.net.nsd.stop()
    other = scene.start(scene.stuck("127.0.0.14", ("www 20 A 192.0.2.10", "www 20 A 192.0.2.99"))).endpoint
    rules = (
        f'newServer{{address="{other.ip}:{other.port}", pool="other", healthCheckMode="up"}}',
        "asked = 0",
        "function turn(dq)",
        '  if dq.qname:toString() ~= "www.example.test." or dq:getDO() then return DNSAction.None, "" end',
        "  asked = asked + 1",
        '  if asked % 2 == 0 then return DNSAction.Pool, "other" end',
        '  return DNSAction.None, ""',
        "end",
        "addAction(QTypeRule(DNSQType.A), LuaAction(turn))",
    )
    front = (scene.net.knot.endpoint,)
    scene.start(Dnsdist(scene.folder / "front", scene.at("127.0.0.13"), front, "example.test.", rules=rules))


async def parent_lists_one_more(scene: Scene) -> None:
    scene.parent(("ns1.example A", "example NS ns4.example\nns4.example A 127.0.0.12\nns1.example A"))


async def zone_lists_one_more(scene: Scene) -> None:
    await scene.edit(("@ NS ns3\n", "@ NS ns3\n@ NS ns4\nns4 A 127.0.0.12\n"))


async def server_without_address(scene: Scene) -> None:
    await scene.edit(("@ NS ns3\n", "@ NS ns3\n@ NS nowhere\n"))


async def server_in_a_broken_zone(scene: Scene) -> None:
    """Its address cannot be looked up: that is not the same as having none."""
    scene.parent(("ns1.example A", "broken NS ns1.broken\nns1.broken A 127.0.0.14\nns1.example A"))
    await scene.edit(("@ NS ns3\n", "@ NS ns3\n@ NS ns.broken.test.\n"))


async def other_glue(scene: Scene) -> None:
    scene.parent(("ns3.example A 127.0.0.13", "ns3.example A 127.0.0.14"))
    scene.start(scene.stuck("127.0.0.14"))


# ------------------------------------------------------------------ what is left behind


async def aaaa_left(scene: Scene) -> None:
    scene.name = "six.example.test"


async def https_hint_left(scene: Scene) -> None:
    scene.name = "example.test"


async def svcb_hint_left(scene: Scene) -> None:
    await scene.edit(("www 20 A", "www 20 SVCB 1 . port=443 ipv4hint=192.0.2.10\nwww 20 A"))


async def wildcard(scene: Scene) -> None:
    scene.name = "shop.wild.example.test"
    scene.lower = plain


async def several_addresses(scene: Scene) -> None:
    scene.name = "multi.example.test"
    scene.lower = plain


async def address_of_somebody_else(scene: Scene) -> None:
    scene.move = Move((), "192.0.2.66", "198.51.100.20")
    scene.lower = plain


async def proxied(scene: Scene) -> None:
    await scene.edit(("www 20 A 192.0.2.10", "www 20 A 104.16.132.229"))
    scene.move = Move((), "104.16.132.229", "198.51.100.20")


async def alias_into_another_zone(scene: Scene) -> None:
    key = scene.net.key
    second = scene.at("127.0.0.14")
    text = _other_zone().replace("127.0.0.13", "127.0.0.14").replace("www A", "www 20 A")
    scene.parent(("ns1.example A", "other NS ns1.other\nns1.other A 127.0.0.14\nns1.example A"))
    scene.stub("other.test.", "127.0.0.14")
    scene.start(KnotPrimary(scene.folder / "other", second, "other.test.", text, key))
    await scene.edit(("www 20 A 192.0.2.10", "www 20 CNAME www.other.test."))
    scene.zone, scene.owner, scene.server = "other.test", "www.other.test", second


async def delegation_below_the_zone(scene: Scene) -> None:
    key, second = scene.net.key, scene.at("127.0.0.14")
    text = (
        "$ORIGIN sub.example.test.\n$TTL 60\n@ SOA ns1 hostmaster 1 60 60 600 30\n@ NS ns1\n"
        "ns1 A 127.0.0.14\nshop 20 A 192.0.2.10\n"
    )
    scene.stub("sub.example.test.", "127.0.0.14")
    scene.start(KnotPrimary(scene.folder / "sub", second, "sub.example.test.", text, key))
    await scene.edit(("www 20 A", "sub NS ns1.sub\nns1.sub A 127.0.0.14\nwww 20 A"))
    scene.name, scene.zone, scene.server = "shop.sub.example.test", "sub.example.test", second


# ------------------------------------------------------------------ the change


async def ttl_unchanged(scene: Scene) -> None:
    scene.lower = plain


async def ttl_raised_by_the_provider(scene: Scene) -> None:
    scene.lower = lambda scene: scene.swap((OLD,), (OLD,), ttl=300)


async def second_address_kept(scene: Scene) -> None:
    scene.lower = lambda scene: scene.swap((OLD,), (OLD, "198.51.100.20"))


async def changed_by_somebody_else(scene: Scene) -> None:
    async def lower(scene: Scene) -> None:
        await scene.swap((OLD,), ("203.0.113.9",), ttl=20)
        await scene.swap((OLD,), (OLD,))

    scene.lower = lower


async def made_an_alias(scene: Scene) -> None:
    async def lower(scene: Scene) -> None:
        await scene.edit(("www 20 A 192.0.2.10", "www 20 CNAME six"))

    scene.lower = lower


async def taken_away(scene: Scene) -> None:
    scene.lower = lambda scene: scene.swap((OLD,), ())


CASES = (
    Case(plain, STAYS),
    Case(upper_case_and_dot, STAYS),
    Case(alias_in_the_zone, STAYS),
    Case(ttl_is_low_already, STAYS),
    Case(one_server_alone, STAYS),
    Case(lagging_secondary, STAYS),
    Case(slow_line, STAYS),
    Case(server_without_edns, STAYS),
    Case(lossy_line, STAYS),
    Case(truncated_answers, STAYS),
    Case(resolver_behind_several_caches, STAYS),
    Case(stale_secondary, STAYS, False, "127.0.0.13 the value is right, its TTL is 20 instead of 2"),
    Case(
        secondary_with_another_address,
        {"differs 127.0.0.13": "error", **STAYS},
        False,
        "127.0.0.13 says 192.0.2.99",
    ),
    Case(same_serial_other_data, {"differs 127.0.0.13": "error", **STAYS}, False, "127.0.0.13 says 192.0.2.99"),
    Case(secondary_without_the_name, {"differs 127.0.0.13": "error", **STAYS}, False, "127.0.0.13 no such name"),
    Case(secondary_with_another_ttl, {"ttl-differs": "warn", **STAYS}, False, "TTL is 300 instead of 2"),
    Case(silent_server, {"silent 127.0.0.13": "error", **STAYS}, False, "127.0.0.13 no reply"),
    Case(dead_server, {"silent 127.0.0.13": "error", **STAYS}, False, "127.0.0.13 UDP port"),
    Case(one_address_of_a_host_dead, {"silent 127.0.0.14": "error", **STAYS}, False, "127.0.0.14 UDP port"),
    Case(dead_server_accepted, {"silent 127.0.0.13": "error", **STAYS}),
    Case(lame_server, {"lame ns3.example.test": "error", **STAYS}, False, "127.0.0.13 REFUSED"),
    Case(resolver_as_server, {"cached ns3.example.test": "error", **STAYS}, False, "127.0.0.13 answered from a cache"),
    Case(
        intercepted_port,
        {"intercepted": "error", "not-looked": "error", "servers-unknown": "error"},
        False,
        "127.0.0.11 answered from a cache",
    ),
    Case(edge_cache, {"edge-cache ns3.example.test": "warn", **STAYS}, False, "127.0.0.13 the value is right"),
    Case(
        two_minds_behind_one_address,
        {"drifts ns3.example.test": "warn", **STAYS},
        False,
        "127.0.0.13",
    ),
    Case(parent_lists_one_more, {"parent-child": "warn", "glue ns4.example.test": "warn", **STAYS}),
    Case(zone_lists_one_more, {"parent-child": "warn", **STAYS}),
    Case(
        server_without_address,
        {"parent-child": "warn", "server-without-address nowhere.example.test": "warn", **STAYS},
    ),
    Case(
        server_in_a_broken_zone,
        {"parent-child": "warn", "server-lookup ns.broken.test": "error", **STAYS},
    ),
    Case(other_glue, {"glue ns3.example.test": "warn", **STAYS}, False, "127.0.0.14 the value is right"),
    Case(aaaa_left, {"aaaa": "error"}),
    Case(https_hint_left, {"svcb-hint": "error", "stays www.example.test": "warn"}),
    Case(svcb_hint_left, {"svcb-hint": "error", **STAYS}),
    Case(wildcard, {"wildcard": "warn"}, False, "TTL is 20 instead of 2"),
    Case(several_addresses, {"several-a": "error"}, False, "says 192.0.2.10, 192.0.2.11"),
    Case(address_of_somebody_else, {"not-from": "error"}, False, "says 192.0.2.10"),
    Case(proxied, {"proxied": "error"}),
    Case(alias_into_another_zone, {"cname": "warn"}),
    Case(delegation_below_the_zone, {}),
    Case(ttl_unchanged, STAYS, False, "127.0.0.11 the value is right, its TTL is 20 instead of 2"),
    Case(ttl_raised_by_the_provider, STAYS, False, "its TTL is 300 instead of 2"),
    Case(second_address_kept, STAYS, False, "says 192.0.2.10, 198.51.100.20"),
    Case(changed_by_somebody_else, STAYS, False, "says 203.0.113.9", "ChangeConflict: www.example.test A"),
    Case(made_an_alias, STAYS, False, "a CNAME to six.example.test"),
    Case(taken_away, STAYS, False, "no such name (NXDOMAIN)"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_is_found_and_what_is_proved(
    net: Net, tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.arrange is not edge_cache:  # only a TTL that counts down needs whole seconds between two looks
        monkeypatch.setattr("switchover.dns.conduct.BETWEEN_S", 0.1)
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        await case.arrange(scene)
        outcome = await play(scene, deadline_s=30 if case.safe else 2.5)
    check(outcome, case)


def check(outcome: Outcome, case: Case) -> None:
    """The findings exactly; the proof only where it is due; the reason where it is not."""
    troubles = {name: weight for name, weight in outcome.troubles.items() if name not in ANYWAY.get(case.name, ())}
    assert troubles == case.troubles
    assert (outcome.watched.t0 is not None) is case.safe, outcome.missing
    assert case.missing in outcome.missing
    assert case.refused in outcome.refused
    assert bool(outcome.refused) is bool(case.refused), outcome.refused


ANYWAY = {"secondary_without_the_name": ("denied www.example.test",)}
"""What is found or not by whom the resolver happens to have asked."""
