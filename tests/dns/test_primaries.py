"""The same compare-and-swap on each make of primary that takes signed updates; and what a zone of each looks like."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from switchover.dns.ask import ask
from switchover.dns.keys import Secret, read_key
from switchover.dns.message import Endpoint, Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused
from switchover.dns.providers.rfc2136 import Rfc2136
from tests.dns.conftest import NEW, OLD, ZONE
from tests.dns.scenes import Scene, play
from tests.servers.bind import BindPrimary
from tests.servers.dns import Key, KnotPrimary, free_port
from tests.servers.powerdns import PowerDnsPrimary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.dns.conftest import Net
    from tests.servers.dns import Server

WWW = "www.example.test"
SWITCH = Change("example.test", WWW, "A", (OLD,), 20, (NEW,), 20)


def make(kind: str, folder: Path, there: Endpoint, text: str, key: Key) -> Server:
    zone = "example.test."
    if kind == "bind":
        return BindPrimary(folder, there, zone, text, key)
    if kind == "powerdns":
        return PowerDnsPrimary(folder, there, zone, text, there.port + 1, key)
    return KnotPrimary(folder, there, zone, text, key)


@pytest.fixture(params=["bind", "knot", "powerdns"])
def primary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rfc2136]:
    there, key = Endpoint("127.0.0.1", free_port(("127.0.0.1",))), Key()
    server = make(request.param, tmp_path / "primary", there, ZONE, key)
    with server:
        yield Rfc2136(str(there), "example.test", read_key(key.write(tmp_path / "shop.key")), there.port)


async def serial(primary: Rfc2136) -> int | None:
    return (await ask(Endpoint.parse(primary.server), "example.test", "SOA")).serial


async def test_armed_swapped_and_swapped_again(primary: Rfc2136) -> None:
    before = await serial(primary)
    assert "accepts updates" in await primary.check(SWITCH)
    assert await serial(primary) == before
    await primary.apply(SWITCH)
    once = await serial(primary)
    await primary.apply(SWITCH)
    assert (await serial(primary), await primary.read(WWW)) == (once, Rrset((NEW,), 20))


async def test_a_change_of_the_ttl_alone_is_made(primary: Rfc2136) -> None:
    await primary.apply(replace(SWITCH, new_values=(OLD,), new_ttl=2))
    assert await primary.read(WWW) == Rrset((OLD,), 2)


async def test_a_record_changed_by_somebody_else_between_plan_and_apply_is_left_alone(primary: Rfc2136) -> None:
    await primary.check(SWITCH)
    await primary.apply(replace(SWITCH, new_values=("203.0.113.9",)))
    for call in (primary.check, primary.apply):
        with pytest.raises(ChangeConflict, match=r"203\.0\.113\.9"):
            await call(SWITCH)
    assert await primary.read(WWW) == Rrset(("203.0.113.9",), 20)


async def test_the_primary_itself_refuses_what_is_no_longer_so(primary: Rfc2136) -> None:
    """Sent without a look before it, as if somebody had been quicker: the prerequisite holds the line."""
    await primary.apply(replace(SWITCH, new_values=("203.0.113.9",)))
    said = await primary._write(SWITCH)
    assert said.startswith("NXRRSET")
    assert await primary.read(WWW) == Rrset(("203.0.113.9",), 20)


async def test_a_wrong_key_changes_nothing(primary: Rfc2136) -> None:
    wrong = replace(primary, key=replace(primary.key, secret=Secret(b"wrong" * 6)))
    before = await serial(primary)
    for call in (wrong.check, wrong.apply):
        with pytest.raises(ChangeRefused):
            await call(SWITCH)
    assert await serial(primary) == before


@pytest.mark.parametrize("kind", ["bind", "powerdns"])
async def test_a_zone_on_another_make_is_surveyed_and_proved_without_alarm(net: Net, tmp_path: Path, kind: str) -> None:
    """One server alone, at the address that BIND can listen on."""
    async with AsyncExitStack() as stack:
        scene = Scene(net, tmp_path, stack)
        for each in (net.primary, net.knot, net.nsd):
            each.stop()
        here = "127.0.0.1"
        text = ZONE.replace("@ NS ns2\n@ NS ns3\n", "").replace("ns1 A 127.0.0.11", f"ns1 A {here}")
        scene.start(make(kind, tmp_path / kind, scene.at(here), text, net.key))
        alone = ("example NS ns2.example\nexample NS ns3.example\n", "")
        scene.parent(alone, ("ns1.example A 127.0.0.11", f"ns1.example A {here}"))
        scene.stub("example.test.", here)
        scene.server = scene.at(here)
        outcome = await play(scene, deadline_s=8)
    assert outcome.troubles == {"stays example.test": "warn"}
    assert outcome.watched.ok, outcome.missing
