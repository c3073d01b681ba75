"""Editing by hand: exact instructions, and the usual slips recognised on real servers."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from switchover.dns.authority import Authority, ServerAddress
from switchover.dns.message import Answer, Endpoint, Rrset, State
from switchover.dns.providers import Change, ChangeConflict, NeedsEdit, Unreachable
from switchover.dns.providers.manual import Manual, look_around, typical_mistake
from tests.dns.conftest import NEW, OLD, ZONE
from tests.servers.dns import KnotPrimary, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dns.conftest import Net

SWITCH = Change("example.test", "www.example.test", "A", (OLD,), 20, (NEW,), 20)
RECORD = f"www 20 A {OLD}\n"


async def test_the_instructions_name_every_field_of_the_console() -> None:
    with pytest.raises(NeedsEdit) as needs:
        await Manual().apply(SWITCH)
    text = "\n".join(needs.value.instructions)
    for part in (
        "Zone:   example.test",
        "Host:   www ",
        "www.example.test.",
        "Type:   A",
        f"Value:  {NEW}",
        "TTL:    20 seconds",
    ):
        assert part in text
    assert needs.value.instructions == Manual().describe(SWITCH)


def test_the_zone_itself_is_written_as_an_at_sign() -> None:
    assert any("Host:   @" in line for line in Manual().describe(replace(SWITCH, owner="example.test")))


async def test_the_record_is_read_from_all_its_servers(net: Net) -> None:
    manual = Manual(net.port, net.resolver.endpoint)
    assert Rrset((OLD,), 20) == await manual.read("www.example.test")
    assert await manual.read("www.example.test", "AAAA") is None
    assert "as expected" in await manual.check(SWITCH)
    with pytest.raises(ChangeConflict):
        await manual.check(replace(SWITCH, old_ttl=60))
    net.knot.kill()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.12"):
        await manual.read("www.example.test")


async def edited(folder: Path, zone: str) -> str | None:
    """What is said after somebody edited the zone on its only server."""
    with KnotPrimary(folder, Endpoint("127.0.0.11", free_port()), "example.test.", zone) as server:
        name, address = "www.example.test", ServerAddress("ns1.example.test", server.endpoint, "both")
        authority = Authority(name, (), name, "example.test", "ns1.example.test", (address,), (), (), ())
        return typical_mistake(await look_around(authority, SWITCH), SWITCH)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (f"www 20 A {NEW}\n", None),
        (RECORD, None),
        (f"www.example.test 20 A {NEW}\n{RECORD}", "made as www.example.test.example.test.*Write www"),
        ("www 20 A 198.51.100.21\n", "is 198.51.100.21; it should be 198.51.100.20"),
        (f"{RECORD}www 20 A {NEW}\n", "kept beside the new one: delete 192.0.2.10"),
        (f"www 300 A {NEW}\n", "the TTL has become 300: set 20 seconds"),
        (f"www 20 CNAME mail\nmail 20 A {NEW}\n", "was made a CNAME to mail.example.test"),
        (f"www 20 A {NEW}\nwww 20 AAAA 2001:db8::10\n", "AAAA record .2001:db8::10. still stands"),
    ],
    ids=["right", "untouched", "zone-doubled", "wrong-value", "old-kept", "ttl", "cname", "aaaa"],
)
async def test_a_usual_slip_is_recognised_and_said_how_to_mend(
    tmp_path: Path, record: str, expected: str | None
) -> None:
    said = await edited(tmp_path, ZONE.replace(RECORD, record).replace("app 300 CNAME www\n", ""))
    if expected is None:
        assert said is None
    else:
        assert said is not None
        assert re.search(expected, said)


def test_a_record_that_nobody_touched_yet_is_no_mistake() -> None:
    lower = replace(SWITCH, new_values=(OLD,), old_ttl=3600, new_ttl=60)
    at = datetime.now(UTC)
    answer = Answer(Endpoint("192.0.2.1"), lower.owner, "A", at, State.OK, ttl=3600, values=(OLD,))
    assert typical_mistake([answer], lower) is None


def test_an_address_changed_without_its_ttl_is_named() -> None:
    both = replace(SWITCH, old_ttl=3600, new_ttl=60)
    at = datetime.now(UTC)
    answer = Answer(Endpoint("192.0.2.1"), both.owner, "A", at, State.OK, ttl=3600, values=(NEW,))
    assert "the TTL has not been changed: set 60 seconds" in (typical_mistake([answer], both) or "")
