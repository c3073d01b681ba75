"""Watching real servers until the last of them serves the new record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dns.message
import dns.query

from switchover.dns.authority import find_authority
from switchover.dns.keys import read_key
from switchover.dns.message import Rrset, State
from switchover.dns.providers import Change
from switchover.dns.providers.rfc2136 import Rfc2136
from switchover.dns.watch import Round, watch
from tests.dns.conftest import NEW, OLD, ZONE
from tests.servers.dns import NsdStatic
from tests.servers.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dns.conftest import Net

LOWER = Change("example.test", "www.example.test", "A", (OLD,), 20, (OLD,), 2)
WANTED = Rrset((OLD,), 2)


def provider(net: Net, folder: Path) -> Rfc2136:
    key = read_key(net.key.write(folder / "shop.key"))
    return Rfc2136(server=str(net.primary.endpoint), zone="example.test", key=key, port=net.port)


def ttl_at(ip: str, port: int) -> int:
    query = dns.message.make_query("www.example.test.", "A", flags=0)
    return dns.query.udp(query, ip, timeout=5, port=port).answer[0].ttl


async def test_t0_is_the_moment_at_which_the_last_address_was_seen_with_the_new_ttl(net: Net, tmp_path: Path) -> None:
    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    net.nsd.freeze()  # the primary's notify waits in its socket until it thaws
    await provider(net, tmp_path).apply(LOWER)
    until(lambda: ttl_at("127.0.0.12", net.port) == 2, "the secondary that is awake has the new TTL")
    rounds: list[Round] = []

    def thaw_later(now: Round) -> None:
        rounds.append(now)
        if len(rounds) == 1:
            net.nsd.thaw()

    result = await watch(authority, WANTED, rounds=3, spread_s=0.5, deadline_s=20, interval_s=0.2, on_round=thaw_later)
    assert result.ok
    firsts = {end.ip: track.first for end, track in result.tracks.items() if track.first is not None}
    assert len(firsts) == 3
    assert max(firsts.values(), key=lambda seen: seen.at).endpoint.ip == "127.0.0.13"
    assert max(seen.at for seen in firsts.values()) == result.t0
    assert {"127.0.0.13"} <= {missing.endpoint.ip for missing in rounds[0].missing}


async def test_a_stuck_secondary_is_named_and_never_gives_t0(net: Net, tmp_path: Path) -> None:
    net.nsd.stop()
    with NsdStatic(tmp_path / "stuck", net.at("127.0.0.13"), {"example.test.": ZONE}):
        authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
        await provider(net, tmp_path).apply(LOWER)
        result = await watch(authority, WANTED, rounds=2, spread_s=0.1, deadline_s=2.5, interval_s=0.2)
    assert (result.ok, result.t0) == (False, None)
    assert [(net.at("127.0.0.13"), "the value is right, its TTL is 20 instead of 2")] == [
        (missing.endpoint, missing.reason) for missing in result.missing
    ]


async def test_a_killed_server_is_named_with_what_is_wrong_with_it(net: Net, tmp_path: Path) -> None:
    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    await provider(net, tmp_path).apply(LOWER)
    net.knot.kill()
    result = await watch(authority, WANTED, rounds=2, spread_s=0.1, deadline_s=2, interval_s=0.2)
    assert not result.ok
    assert [net.at("127.0.0.12")] == [missing.endpoint for missing in result.missing]
    assert "no name server runs there" in result.missing[0].reason


async def test_a_server_that_falls_back_to_the_old_record_loses_its_proof(net: Net, tmp_path: Path) -> None:
    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    change = provider(net, tmp_path)
    await change.apply(LOWER)
    back = Change("example.test", "www.example.test", "A", (OLD,), 2, (OLD,), 20)
    first = await watch(authority, WANTED, rounds=2, spread_s=0.1, deadline_s=10, interval_s=0.1)
    assert first.ok
    await change.apply(back)
    again = await watch(authority, WANTED, rounds=2, spread_s=0.1, deadline_s=1, interval_s=0.2)
    assert net.primary.endpoint in {missing.endpoint for missing in again.missing}


async def test_an_interceptor_in_the_way_gives_no_proof(net: Net) -> None:
    """A hotel's resolver that answers for them counts an old TTL down through the new one."""
    from dataclasses import replace

    from switchover.dns.ask import ask

    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    await ask(net.resolver.endpoint, "www.example.test", "A", recursion=True)
    posing = replace(authority, servers=(replace(authority.servers[0], endpoint=net.resolver.endpoint),))
    result = await watch(posing, Rrset((OLD,), 20), rounds=1, spread_s=0, deadline_s=0)
    assert not result.ok
    assert "cache" in result.missing[0].reason
    assert [track.last.state for track in result.tracks.values()] == [State.CACHE]


async def test_the_new_address_is_proved_on_every_address(net: Net, tmp_path: Path) -> None:
    authority = await find_authority("www.example.test", resolver=net.resolver.endpoint, port=net.port)
    await provider(net, tmp_path).apply(Change("example.test", "www.example.test", "A", (OLD,), 20, (NEW,), 20))
    result = await watch(authority, Rrset((NEW,), 20), rounds=3, spread_s=0.5, deadline_s=15, interval_s=0.2)
    assert (result.ok, result.missing) == (True, ())
    assert {2} == {track.last.serial for track in result.tracks.values()}
