"""One question to one server: whatever the network does is a state."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from switchover.dns.ask import ask
from switchover.dns.message import BadName, Endpoint, State
from tests.servers.dns import KnotPrimary, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dns.conftest import Net


async def test_a_record_no_such_record_and_no_such_name_are_three_states(net: Net) -> None:
    there = net.primary.endpoint
    assert State.OK is (await ask(there, "www.example.test", "A")).state
    nodata = await ask(there, "www.example.test", "AAAA")
    assert (nodata.state, nodata.ttl, nodata.serial) == (State.NODATA, 30, 1)
    assert State.NXDOMAIN is (await ask(there, "nope.example.test", "A")).state


async def test_a_cname_is_no_record_of_its_own_without_recursion(net: Net) -> None:
    answer = await ask(net.primary.endpoint, "app.example.test", "A")
    assert (answer.state, answer.values, answer.detail) == (State.NODATA, (), "a CNAME to www.example.test")


async def test_a_cache_that_poses_as_the_authority_is_recognised(net: Net) -> None:
    warm = await ask(net.resolver.endpoint, "www.example.test", "A", recursion=True)
    assert State.OK is warm.state
    posing = await ask(net.resolver.endpoint, "www.example.test", "A")
    assert (posing.state, posing.aa, posing.ra) == (State.CACHE, False, True)
    assert "cache" in posing.detail


async def test_a_server_of_another_zone_is_lame_and_its_referral_kept(net: Net) -> None:
    answer = await ask(net.parent.endpoint, "www.example.test", "A")
    assert State.LAME is answer.state
    assert answer.delegation is not None
    assert (answer.delegation.zone, len(answer.delegation.glue)) == ("example.test", 3)
    assert State.REFUSED is (await ask(net.primary.endpoint, "www.example.org", "A")).state


async def test_a_closed_port_is_seen_without_waiting() -> None:
    answer = await ask(Endpoint("127.0.0.11", free_port()), "www.example.test", "A", timeout_s=3600)
    assert State.BROKEN is answer.state
    assert "closed" in answer.detail


async def test_silence_is_a_timeout_that_says_how_long() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.11", 0))
        answer = await ask(Endpoint(*silent.getsockname()), "www.example.test", "A", timeout_s=0.05, tries=2)
    assert (answer.state, answer.detail) == (State.TIMEOUT, "no reply over UDP within 0.1 s")


async def test_an_address_out_of_reach_is_told_apart_from_a_silent_server() -> None:
    answer = await ask(Endpoint("255.255.255.255"), "www.example.test", "A", timeout_s=0.1, tries=1)
    assert State.NO_ROUTE is answer.state


async def test_a_reply_too_large_for_udp_comes_over_tcp(tmp_path: Path) -> None:
    many = "".join(f"big A 10.0.{n // 250}.{n % 250}\n" for n in range(300))
    zone = f"$ORIGIN big.test.\n$TTL 20\n@ SOA ns1 h 1 2 1 86400 30\n@ NS ns1\nns1 A 127.0.0.11\n{many}"
    with KnotPrimary(tmp_path, Endpoint("127.0.0.11", free_port()), "big.test.", zone) as server:
        assert len((await ask(server.endpoint, "big.big.test", "A")).values) == 300


async def test_garbage_is_waited_out_and_never_taken_for_the_reply() -> None:
    import asyncio

    class Garbage(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(b"\x1b[31m" + data, addr)  # type: ignore[attr-defined]

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Garbage, local_addr=("127.0.0.11", 0))
    end = Endpoint(*transport.get_extra_info("sockname"))
    answer = await ask(end, "www.example.test", "A", timeout_s=0.1, tries=1)
    transport.close()
    assert State.TIMEOUT is answer.state


async def test_text_from_a_server_carries_no_control_characters(tmp_path: Path) -> None:
    head = "$ORIGIN evil.test.\n$TTL 20\n@ SOA ns1 h 1 2 1 86400 30\n@ NS ns1\nns1 A 127.0.0.11\n"
    zone = head + '@ TXT "\\027[31m\\202\\226"\n'
    with KnotPrimary(tmp_path, Endpoint("127.0.0.11", free_port()), "evil.test.", zone) as server:
        answer = await ask(server.endpoint, "evil.test", "TXT")
    assert State.OK is answer.state
    assert all(value.isprintable() for value in answer.values)


async def test_a_bad_name_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(BadName):
        await ask(Endpoint("127.0.0.11"), "a..b", "A")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", Endpoint("192.0.2.1", 53)),
        ("192.0.2.1:5301", Endpoint("192.0.2.1", 5301)),
        ("2001:db8::1", Endpoint("2001:db8::1", 53)),
        ("[2001:db8::1]:5301", Endpoint("2001:db8::1", 5301)),
    ],
)
def test_an_endpoint_reads_back_as_it_is_written(text: str, expected: Endpoint) -> None:
    assert expected == Endpoint.parse(text) == Endpoint.parse(str(expected))


@pytest.mark.parametrize("text", ["", "ns1.example.test", "192.0.2.1:0", "192.0.2.1:99999", "192.0.2.1:x"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Endpoint.parse(text)
