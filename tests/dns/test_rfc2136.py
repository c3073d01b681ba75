"""Compare-and-swap on a real Knot: refusals, conflicts, lost replies; the record read back decides."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

import pytest

from switchover.dns.ask import ask
from switchover.dns.keys import Secret, read_key
from switchover.dns.message import Endpoint, Rrset
from switchover.dns.providers import (
    Change,
    ChangeConflict,
    ChangeRefused,
    ChangeUnknown,
    Unreachable,
)
from switchover.dns.providers.rfc2136 import Rfc2136
from tests.dns.conftest import NEW, OLD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.dns.conftest import Net

SWITCH = Change("example.test", "www.example.test", "A", (OLD,), 20, (NEW,), 20)


@pytest.fixture
def primary(net: Net, tmp_path: Path) -> Rfc2136:
    key = read_key(net.key.write(tmp_path / "shop.key"))
    return Rfc2136(server=str(net.primary.endpoint), zone="example.test", key=key, port=net.port, timeout_s=2)


async def serial(net: Net) -> int | None:
    return (await ask(net.primary.endpoint, "example.test", "SOA")).serial


async def test_the_swap_replaces_the_record(net: Net, primary: Rfc2136) -> None:
    await primary.apply(SWITCH)
    assert (await ask(net.primary.endpoint, "www.example.test", "A")).values == (NEW,)


async def test_a_change_of_the_ttl_alone_is_made(net: Net, primary: Rfc2136) -> None:
    await primary.apply(replace(SWITCH, new_values=(OLD,), new_ttl=2))
    assert Rrset((OLD,), 2) == await primary.read("www.example.test")
    assert await serial(net) == 2


async def test_applying_twice_changes_once(net: Net, primary: Rfc2136) -> None:
    await primary.apply(SWITCH)
    await primary.apply(SWITCH)
    assert await serial(net) == 2


async def test_a_record_that_somebody_changed_is_left_alone(net: Net, primary: Rfc2136) -> None:
    await primary.apply(replace(SWITCH, new_values=("203.0.113.9",)))
    with pytest.raises(ChangeConflict, match=r"is 203\.0\.113\.9 \(TTL 20\).*Somebody else") as conflict:
        await primary.apply(SWITCH)
    assert Rrset(("203.0.113.9",), 20) == conflict.value.seen == await primary.read("www.example.test")


async def test_a_ttl_that_somebody_changed_is_a_conflict_too(primary: Rfc2136) -> None:
    with pytest.raises(ChangeConflict, match=r"TTL 20"):
        await primary.apply(replace(SWITCH, old_ttl=3600))


async def test_a_part_of_the_old_set_is_not_the_old_set(net: Net, primary: Rfc2136) -> None:
    part = replace(SWITCH, owner="multi.example.test")
    with pytest.raises(ChangeConflict, match=r"192\.0\.2\.10, 192\.0\.2\.11"):
        await primary.apply(part)
    assert await serial(net) == 1


async def test_the_server_itself_refuses_when_the_record_changes_after_our_look(net: Net, primary: Rfc2136) -> None:
    """Without the prerequisites the last look and the write would leave a gap; here the gap is used."""

    async def somebody_is_quicker() -> None:
        await primary.apply(replace(SWITCH, new_values=("203.0.113.9",)))

    async with between(net, "forward", before=somebody_is_quicker) as there:
        with pytest.raises(ChangeConflict, match=r"203\.0\.113\.9 .*NXRRSET"):
            await replace(primary, server=str(there)).apply(SWITCH)
    assert Rrset(("203.0.113.9",), 20) == await primary.read("www.example.test")


async def test_an_alias_is_never_given_an_address(primary: Rfc2136) -> None:
    with pytest.raises(ChangeConflict, match=r"a CNAME to www\.example\.test"):
        await primary.apply(replace(SWITCH, owner="app.example.test"))


async def test_a_record_can_be_added_and_taken_away(primary: Rfc2136) -> None:
    added = Change("example.test", "new.example.test", "AAAA", (), 0, ("2001:db8::20",), 20)
    await primary.check(added)
    await primary.apply(added)
    assert Rrset(("2001:db8::20",), 20) == await primary.read("new.example.test", "AAAA")
    removed = replace(added, old_values=added.new_values, old_ttl=20, new_values=(), new_ttl=0)
    await primary.apply(removed)
    assert await primary.read("new.example.test", "AAAA") is None


async def test_the_armed_check_proves_everything_and_changes_nothing(net: Net, primary: Rfc2136) -> None:
    said = await primary.check(SWITCH)
    assert "accepts updates of www.example.test signed by switchover" in said
    assert await serial(net) == 1
    with pytest.raises(ChangeConflict):
        await primary.check(replace(SWITCH, old_values=("203.0.113.9",)))


@pytest.mark.parametrize(
    ("change_key", "expected"),
    [
        (lambda key: replace(key, secret=Secret(b"wrong" * 6)), "secret of key switchover"),
        (lambda key: replace(key, name="stranger"), "knows no key stranger"),
        (lambda key: replace(key, algorithm="hmac-sha512"), "key switchover"),
    ],
    ids=["secret", "name", "algorithm"],
)
@pytest.mark.parametrize("call", ["check", "apply"])
async def test_a_wrong_key_is_refused_and_the_cause_named(
    net: Net,
    primary: Rfc2136,
    change_key: Callable[..., object],
    expected: str,
    call: Literal["check", "apply"],
) -> None:
    wrong = replace(primary, key=change_key(primary.key))  # type: ignore[arg-type]
    with pytest.raises(ChangeRefused, match=f"{expected}.*Nothing has changed") as refused:
        await getattr(wrong, call)(SWITCH)
    assert "wrong" not in str(refused.value)
    assert await serial(net) == 1


async def test_a_clock_an_hour_off_is_named(primary: Rfc2136, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dns.message.time", SimpleNamespace(time=lambda: time.time() - 3600))
    monkeypatch.setattr("dns.renderer.time", SimpleNamespace(time=lambda: time.time() - 3600))
    with pytest.raises(ChangeRefused, match="clock"):
        await primary.check(SWITCH)


async def test_a_key_that_may_only_read_is_refused_by_the_trial_update(net: Net, primary: Rfc2136) -> None:
    net.primary.stop()
    net.primary.allow = ["transfer"]
    net.primary.start()
    with pytest.raises(ChangeRefused, match=r"does not let it do this.*Nothing has changed"):
        await primary.check(SWITCH)


async def test_a_server_that_takes_no_updates_is_refused(net: Net, primary: Rfc2136) -> None:
    with pytest.raises(ChangeRefused):
        await replace(primary, server=str(net.nsd.endpoint)).check(SWITCH)
    with pytest.raises(ChangeRefused):
        await replace(primary, server=str(net.parent.endpoint)).check(SWITCH)


async def test_a_server_that_is_down_is_unreachable_and_nothing_was_sent(net: Net, primary: Rfc2136) -> None:
    net.primary.kill()
    for call in (primary.check, primary.apply):
        with pytest.raises(Unreachable, match="cannot be reached over TCP"):
            await call(SWITCH)


async def test_a_host_name_that_does_not_resolve_is_unreachable(primary: Rfc2136) -> None:
    with pytest.raises(Unreachable, match="could not be looked up"):
        await replace(primary, server="no-such-host.invalid").read("www.example.test")


async def test_a_lost_reply_is_found_out_by_reading_back(net: Net, primary: Rfc2136) -> None:
    async with between(net, "lose the reply") as there:
        await replace(primary, server=str(there)).apply(SWITCH)
    assert (await ask(net.primary.endpoint, "www.example.test", "A")).values == (NEW,)


async def test_a_lost_update_is_found_out_by_reading_back(net: Net, primary: Rfc2136) -> None:
    async with between(net, "lose the update") as there:
        with pytest.raises(
            ChangeUnknown, match=r"192\.0\.2\.10 \(TTL 20\) as before, but the change may still be made"
        ):
            await replace(primary, server=str(there)).apply(SWITCH)
    assert await serial(net) == 1


async def test_a_server_killed_after_the_update_leaves_it_unknown_and_a_second_run_settles_it(
    net: Net, primary: Rfc2136
) -> None:
    async with between(net, "lose the reply", after=net.primary.kill) as there:
        with pytest.raises(ChangeUnknown, match=r"may be 192\.0\.2\.10.*or 198\.51\.100\.20"):
            await replace(primary, server=str(there)).apply(SWITCH)
    net.primary.start()
    await primary.apply(SWITCH)
    assert Rrset((NEW,), 20) == await primary.read("www.example.test")


def test_the_preview_is_the_exact_update(primary: Rfc2136) -> None:
    assert (
        f"update  zone example.test at {primary.server} over TCP",
        "sign    with key switchover (hmac-sha256)",
        "require www.example.test A is exactly 192.0.2.10",
        "require www.example.test CNAME does not exist",
        "replace www.example.test 20 A 198.51.100.20",
    ) == primary.describe(SWITCH)


@dataclass(slots=True)
class Between:
    """A line to the primary that loses what it is told to lose."""

    net: Net
    mode: Literal["forward", "lose the reply", "lose the update"]
    before: Callable[[], object] | None
    after: Callable[[], object] | None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._carry(reader, writer)
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = await reader.readexactly(2)
        message = await reader.readexactly(int.from_bytes(size))
        update = (message[2] >> 3) & 0xF == 5
        if update and self.mode == "lose the update":
            return
        if update and self.before is not None:
            await self.before()  # type: ignore[misc]
        there = self.net.primary.endpoint
        far_reader, far_writer = await asyncio.open_connection(there.ip, there.port)
        try:
            far_writer.write(size + message)
            answer_size = await far_reader.readexactly(2)
            answer = await far_reader.readexactly(int.from_bytes(answer_size))
        finally:
            far_writer.close()
        if update and self.after is not None:
            self.after()
        if not (update and self.mode == "lose the reply"):
            writer.write(answer_size + answer)
            await writer.drain()


@contextlib.asynccontextmanager
async def between(
    net: Net,
    mode: Literal["forward", "lose the reply", "lose the update"],
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> AsyncIterator[Endpoint]:
    line = Between(net, mode, before, after)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    try:
        yield Endpoint(*server.sockets[0].getsockname())
    finally:
        server.close()
        await asyncio.gather(*line.tasks)
        await server.wait_closed()
