"""Who has the last word on a name, found on real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from switchover.dns.ask import ask
from switchover.dns.authority import NoAuthority, find_authority, observe
from switchover.dns.keys import read_key
from switchover.dns.message import State
from switchover.dns.providers import Change
from switchover.dns.providers.rfc2136 import Rfc2136

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dns.conftest import Net


async def test_every_address_that_parent_and_zone_list_is_found(net: Net) -> None:
    found = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    assert (
        found.owner,
        found.zone,
        found.primary,
    ) == ("www.example.test", "example.test", "ns1.example.test")
    assert tuple(map(net.at, ("127.0.0.11", "127.0.0.12", "127.0.0.13"))) == found.endpoints
    assert {"both"} == {server.source for server in found.servers}
    assert (found.parent_missing, found.child_missing, found.problems) == ((), (), ())


async def test_a_cname_is_followed_to_the_name_that_holds_the_record(net: Net) -> None:
    found = await find_authority("APP.example.test.", resolver=net.resolver.endpoint, port=net.port)
    assert (found.qname, found.owner) == ("app.example.test", "www.example.test")
    assert [(alias.owner, alias.target) for alias in found.chain] == [("app.example.test", "www.example.test")]


async def test_every_address_answers_with_authority_and_its_serial(net: Net) -> None:
    found = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    answers = await observe(found)
    assert len(answers) == 3
    for answer in answers:
        assert (
            answer.state,
            answer.aa,
            answer.values,
            answer.ttl,
            answer.serial,
        ) == (State.OK, True, ("192.0.2.10",), 20, 1)
    assert [answer.nsid for answer in answers] == ["knot 127.0.0.11", "knot 127.0.0.12", "nsd"]


async def test_a_silent_resolver_is_not_read_as_no_such_record(net: Net) -> None:
    net.resolver.stop()
    with pytest.raises(NoAuthority, match=r"could not say .* closed.* Nothing is known"):
        await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)


async def test_a_refusing_resolver_is_not_read_as_no_such_record(net: Net) -> None:
    with pytest.raises(NoAuthority, match=r"REFUSED.*Nothing is known"):
        await find_authority("www.example.org", resolver=net.resolver.endpoint, port=net.port)


async def test_a_name_that_does_not_exist_is_said_to_not_exist(net: Net) -> None:
    with pytest.raises(NoAuthority, match=r"nope\.example\.test does not exist.*30 s"):
        await find_authority("nope.example.test", resolver=net.resolver.endpoint, port=net.port)


async def test_a_text_that_is_no_name_is_said_to_be_none(net: Net) -> None:
    with pytest.raises(NoAuthority, match="not a domain name"):
        await find_authority("x" * 70 + ".example.test", resolver=net.resolver.endpoint, port=net.port)


async def test_without_a_parent_the_zones_own_list_is_used_and_that_is_said(net: Net) -> None:
    net.resolver.stop()
    net.resolver.stubs = {zone: ips for zone, ips in net.resolver.stubs.items() if zone != "test."}
    net.resolver.start()
    found = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    assert len(found.servers) == 3
    assert {"child"} == {server.source for server in found.servers}
    assert "the parent's list of servers for example.test is not known" in found.problems[0].evidence


async def test_servers_that_only_one_side_lists_are_named_and_watched(net: Net) -> None:
    net.parent.stop()
    net.parent.zones = {
        "test.": net.parent.zones["test."].replace("example NS ns3.example\n", "example NS ns9.example\n")
    }
    net.parent.start()
    found = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    assert (found.parent_missing, found.child_missing) == (("ns3.example.test",), ("ns9.example.test",))
    assert net.at("127.0.0.13") in found.endpoints
    assert any("ns9.example.test has no address" in problem.evidence for problem in found.problems)


async def test_a_killed_server_and_a_silent_one_are_told_apart(net: Net) -> None:
    found = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    net.knot.kill()
    net.nsd.freeze()
    states = {answer.endpoint.ip: answer.state for answer in await observe(found)}
    assert states == {"127.0.0.11": State.OK, "127.0.0.12": State.BROKEN, "127.0.0.13": State.TIMEOUT}


async def test_a_resolvers_no_such_name_is_not_believed_before_the_servers_were_asked(net: Net, tmp_path: Path) -> None:
    """The record was missing a moment ago: the resolver keeps that, the servers know better."""
    fresh = "fresh.example.test"
    assert (await ask(net.resolver.endpoint, fresh, "A", recursion=True)).state is State.NXDOMAIN
    key = read_key(net.key.write(tmp_path / "shop.key"))
    primary = Rfc2136(str(net.primary.endpoint), "example.test", key, net.port)
    await primary.apply(Change("example.test", fresh, "A", (), 0, ("192.0.2.10",), 20))
    found = await find_authority(fresh, resolver=net.resolver.endpoint, port=net.port)
    assert (found.owner, len(found.servers)) == (fresh, 3)
    assert [problem.name for problem in found.problems] == [f"denied {fresh}"]
    with pytest.raises(NoAuthority, match=r"does not exist.*no server of its zone that answered has it"):
        await find_authority("nope.example.test", resolver=net.resolver.endpoint, port=net.port)
