"""The command on a small Internet of its own: found from the root down, IPv6 and all, with nothing able to leak."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.internet import Internet

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = {
    "192.0.2.53": "ns1.example.com",
    "2001:db8::53": "ns1.example.com",
    "192.0.2.54": "ns2.example.com",
    "2001:db8::54": "ns2.example.com",
}


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with Internet(tmp_path_factory.mktemp("internet")) as made:
        yield made


def survey(internet: Internet, name: str, resolver: str = "") -> tuple[int, dict[str, Any]]:
    ended = internet.python("-m", "switchover", "dns", name, "--json", "--at", resolver or internet.resolver)
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def troubles(document: dict[str, Any]) -> list[str]:
    return [
        f"{finding['id']} {finding['subject']}".strip()
        for finding in document["findings"]
        if finding["severity"] != "info"
    ]


REACH = """
import socket, sys
for family, address in ((socket.AF_INET, "1.1.1.1"), (socket.AF_INET6, "2606:4700:4700::1111")):
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 53))
        except OSError as error:
            print(error.errno)
        else:
            print("reached")
"""


def test_nothing_can_leak(internet: Internet) -> None:
    assert internet.python("-c", REACH).stdout.split() == ["101", "101"]  # ENETUNREACH


def test_every_address_of_both_servers_is_found_from_parent_and_zone(internet: Internet) -> None:
    code, seen = survey(internet, "www.example.com")
    assert (seen["owner"], seen["zone"], seen["primary"]) == ("www.example.com", "example.com", "ns1.example.com")
    assert {row["address"]: row["host"] for row in seen["authoritative"]} == ALL
    assert {tuple(row["values"]) for row in seen["authoritative"]} == {("192.0.2.10",)}
    assert (code, seen["agree"], troubles(seen)) == (0, True, [])
    assert [row["state"] for row in seen["resolvers"]] == ["same"]


def test_a_resolver_behind_a_resolver_tells_the_same(internet: Internet) -> None:
    code, seen = survey(internet, "www.example.com", internet.far)
    assert (code, len(seen["authoritative"])) == (0, 4)


def test_an_alias_is_followed_into_another_providers_zone(internet: Internet) -> None:
    code, seen = survey(internet, "shop.example.com")
    assert (seen["owner"], seen["zone"]) == ("shop.other.com", "other.com")
    assert [row["address"] for row in seen["authoritative"]] == ["198.51.100.53"]
    assert (code, troubles(seen)) == (0, ["cname"])


def test_a_delegation_below_the_zone_wins(internet: Internet) -> None:
    code, seen = survey(internet, "www.sub.example.com")
    assert (seen["zone"], [row["address"] for row in seen["authoritative"]]) == ("sub.example.com", ["198.51.100.53"])
    assert (code, troubles(seen)) == (0, [])


def test_a_name_that_does_not_exist_is_told_as_such(internet: Internet) -> None:
    ended = internet.python("-m", "switchover", "dns", "nope.example.com", "--at", internet.resolver)
    assert ended.returncode == 1
    assert "nope.example.com does not exist" in ended.stderr


def test_a_frozen_server_is_silent_and_a_dead_one_closed_on_both_its_addresses(internet: Internet) -> None:
    internet.secondary.freeze()
    try:
        code, frozen = survey(internet, "www.example.com")
    finally:
        internet.secondary.thaw()
    assert (code, troubles(frozen)) == (1, ["silent 192.0.2.54", "silent 2001:db8::54"])
    internet.secondary.kill()
    try:
        code, dead = survey(internet, "www.example.com")
    finally:
        internet.secondary.start()
    assert (code, troubles(dead)) == (1, ["silent 192.0.2.54", "silent 2001:db8::54"])
    assert all("closed" in row["says"] for row in dead["authoritative"] if row["host"] == "ns2.example.com")


@contextmanager
def without_ipv6(internet: Internet) -> Iterator[None]:
    for address in ("2001:db8::53", "2001:db8::54"):
        internet.ip("-6", "addr", "del", f"{address}/128", "dev", "lo")
    try:
        yield
    finally:
        for address in ("2001:db8::53", "2001:db8::54"):
            internet.ip("-6", "addr", "add", f"{address}/128", "dev", "lo", "nodad")


def test_no_route_over_ipv6_is_no_fault_of_the_servers(internet: Internet) -> None:
    with without_ipv6(internet):
        code, seen = survey(internet, "www.example.com")
    assert {row["state"] for row in seen["authoritative"] if ":" in row["address"]} == {"no-route"}
    assert (code, seen["agree"], troubles(seen)) == (0, True, [])
    assert any("2 of 4 addresses have no route from here" in finding["evidence"] for finding in seen["findings"])


def test_a_private_ipv6_that_leads_into_the_void_is_no_fault_of_the_servers_either(internet: Internet) -> None:
    internet.ip("link", "add", "void", "type", "veth", "peer", "name", "end")
    try:
        for link in ("void", "end"):
            internet.ip("link", "set", link, "up")
        internet.ip("-6", "addr", "add", "fd00::2/64", "dev", "void", "nodad")
        internet.ip("-6", "neigh", "add", "fd00::1", "lladdr", "02:00:00:00:00:01", "dev", "void")
        internet.ip("-6", "route", "add", "default", "via", "fd00::1", "dev", "void")
        with without_ipv6(internet):
            code, seen = survey(internet, "www.example.com")
    finally:
        internet.ip("link", "del", "void")
    assert {row["state"] for row in seen["authoritative"] if ":" in row["address"]} == {"no-route"}
    assert (code, troubles(seen)) == (0, [])


JOURNEY = """
import asyncio, json, sys
from datetime import UTC, datetime
from pathlib import Path
from switchover.dns.ask import ask
from switchover.dns.authority import find_authority
from switchover.dns.keys import read_key
from switchover.dns.message import Endpoint, Rrset
from switchover.dns.propagation import safe_instant
from switchover.dns.providers import Change
from switchover.dns.providers.rfc2136 import Rfc2136
from switchover.dns.watch import watch

async def main():
    key, resolvers = read_key(Path(sys.argv[1])), [Endpoint(each) for each in sys.argv[2:]]
    name, old = "www.example.com", "192.0.2.10"
    for resolver in reversed(resolvers):
        await ask(resolver, name, "A", recursion=True)
    authority = await find_authority(name, resolver=resolvers[0])
    await Rfc2136("192.0.2.53", "example.com", key).apply(Change("example.com", name, "A", (old,), 8, (old,), 2))
    watched = await watch(authority, Rrset((old,), 2), rounds=3, spread_s=1, deadline_s=20, interval_s=0.3)
    safe = safe_instant(watched.t0, 8)
    ttls = []
    while datetime.now(UTC) < safe:
        await asyncio.sleep(0.1)
    for _ in range(20):
        ttls += [(await ask(resolver, name, "A", recursion=True)).ttl for resolver in resolvers]
        await asyncio.sleep(0.15)
    await Rfc2136("192.0.2.53", "example.com", key).apply(Change("example.com", name, "A", (old,), 2, (old,), 8))
    print(json.dumps({"addresses": len(watched.tracks), "ttls": ttls}))

asyncio.run(main())
"""


def test_after_the_safe_instant_no_resolver_holds_the_old_ttl(internet: Internet) -> None:
    """The far one got its answer from the near one, and both are asked."""
    key = internet.key.write(internet.folder / "shop.key")
    ended = internet.python("-c", JOURNEY, str(key), internet.resolver, internet.far)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["addresses"] == 4
    assert max(told["ttls"]) <= 2
