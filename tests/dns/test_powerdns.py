"""PowerDNS itself, changed through its HTTP API and by signed updates; what the name server serves is what counts."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest

from switchover.dns.ask import ask
from switchover.dns.keys import Secret, read_key
from switchover.dns.message import Endpoint, Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, ChangeUnknown, ProviderError, Unreachable
from switchover.dns.providers.powerdns import PowerDns
from switchover.dns.providers.rfc2136 import Rfc2136
from tests.dns.conftest import NEW, OLD, ZONE
from tests.servers.cloud import ApiServer, forward
from tests.servers.dns import free_port
from tests.servers.http import Answer, HttpServer
from tests.servers.powerdns import PowerDnsPrimary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.cloud import TypeOfLoss

IP, OTHER = "127.0.0.11", "203.0.113.9"
WWW = "www.example.test"
SWITCH = Change("example.test", WWW, "A", (OLD,), 20, (NEW,), 5)


@pytest.fixture
def primary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PowerDnsPrimary]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    here = Endpoint(IP, free_port((IP,)))
    with PowerDnsPrimary(tmp_path / "pdns", here, "example.test.", ZONE, free_port((IP,))) as server:
        yield server


@pytest.fixture
def powerdns(primary: PowerDnsPrimary) -> PowerDns:
    return PowerDns(primary.url, "example.test", primary.api_key)


@pytest.fixture
def line(primary: PowerDnsPrimary) -> Iterator[ApiServer]:
    """A way to the API that loses what it is told to lose."""
    with ApiServer(forward(primary.url)) as made:
        yield made


@pytest.fixture
def by_line(powerdns: PowerDns, line: ApiServer) -> PowerDns:
    return replace(powerdns, url=line.url)


async def served(primary: PowerDnsPrimary, owner: str = WWW, rdtype: str = "A") -> Rrset | None:
    return (await ask(primary.endpoint, owner, rdtype)).rrset


async def test_the_swap_is_served(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    await powerdns.apply(SWITCH)
    assert await served(primary) == Rrset((NEW,), 5)
    assert await served(primary, "mail.example.test") == Rrset((OLD,), 3600)


async def test_a_change_of_the_ttl_alone_is_served(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    await powerdns.apply(replace(SWITCH, new_values=(OLD,)))
    assert await served(primary) == Rrset((OLD,), 5)


async def test_applying_twice_writes_once(line: ApiServer, by_line: PowerDns) -> None:
    await by_line.apply(SWITCH)
    await by_line.apply(SWITCH)
    assert line.made == 1


async def test_a_set_of_several_is_replaced_at_once(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    owner = "multi.example.test"
    many = Change("example.test", owner, "A", (OLD, "192.0.2.11"), 20, (NEW, "198.51.100.21"), 20)
    await powerdns.apply(many)
    assert await served(primary, owner) == many.new
    with pytest.raises(ChangeConflict, match=r"198\.51\.100\.20, 198\.51\.100\.21"):
        await powerdns.apply(replace(many, old_values=(NEW,), new_values=(OLD,)))


async def test_a_record_can_be_added_and_taken_away(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    added = Change("example.test", "new.example.test", "AAAA", (), 0, ("2001:db8::20",), 20)
    await powerdns.check(added)
    await powerdns.apply(added)
    assert await served(primary, "new.example.test", "AAAA") == added.new
    await powerdns.apply(replace(added, old_values=added.new_values, old_ttl=20, new_values=(), new_ttl=0))
    assert await served(primary, "new.example.test", "AAAA") is None


@pytest.mark.parametrize("there", [Rrset((OTHER,), 20), Rrset((OLD,), 3600)], ids=["value", "ttl"])
@pytest.mark.parametrize("call", ["check", "apply"])
async def test_a_record_that_somebody_changed_is_left_alone(
    primary: PowerDnsPrimary, line: ApiServer, by_line: PowerDns, there: Rrset, call: Literal["check", "apply"]
) -> None:
    primary.pdnsutil("replace-rrset", "example.test", "www", "A", str(there.ttl), *there.values)
    with pytest.raises(ChangeConflict, match="Somebody else") as conflict:
        await getattr(by_line, call)(SWITCH)
    assert conflict.value.seen == there == await served(primary)
    assert not any(each.writes for each in line.asked)


async def test_a_change_in_the_gap_is_overwritten_as_the_capabilities_say(
    primary: PowerDnsPrimary, line: ApiServer, by_line: PowerDns
) -> None:
    line.before_write = lambda: primary.pdnsutil("replace-rrset", "example.test", "www", "A", "20", OTHER)
    await by_line.apply(SWITCH)
    assert await served(primary) == Rrset((NEW,), 5)
    assert not by_line.capabilities.cas
    assert "gap is not atomic" in by_line.capabilities.says


async def test_the_check_reads_and_writes_nothing(line: ApiServer, by_line: PowerDns) -> None:
    assert "accepts the key" in await by_line.check(SWITCH)
    assert not any(each.writes for each in line.asked)


@pytest.mark.parametrize("call", ["check", "apply"])
async def test_a_wrong_key_is_refused_with_what_to_do(
    primary: PowerDnsPrimary, powerdns: PowerDns, call: Literal["check", "apply"]
) -> None:
    wrong = replace(powerdns, token=Secret(b"another-key"))
    with pytest.raises(ChangeRefused, match=r"HTTP 401.*does not hold the api-key.*Nothing has changed") as refused:
        await getattr(wrong, call)(SWITCH)
    assert "another-key" not in str(refused.value)
    assert not isinstance(refused.value, Unreachable)
    assert await served(primary) == SWITCH.old


async def test_a_zone_that_is_not_there_is_refused(powerdns: PowerDns) -> None:
    with pytest.raises(ChangeRefused, match=r"HTTP 404.*keeps no zone other\.test"):
        await replace(powerdns, zone="other.test").check(replace(SWITCH, zone="other.test"))


async def test_a_copy_of_a_zone_is_not_edited(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    primary.pdnsutil("set-kind", "example.test", "secondary")
    with pytest.raises(ChangeRefused, match=r"only a copy .*name the server that is its primary"):
        await powerdns.apply(SWITCH)


async def test_disabled_values_are_neither_served_nor_lost(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    primary.sql("UPDATE records SET disabled = 1 WHERE name = ? AND content = ?", "multi.example.test", OLD)
    change = replace(SWITCH, owner="multi.example.test", old_values=("192.0.2.11",))
    for call in (powerdns.check, powerdns.apply):
        with pytest.raises(ChangeRefused, match="has disabled values"):
            await call(change)
    assert await served(primary, "multi.example.test") == change.old == await powerdns.read("multi.example.test")


async def test_an_answer_without_end_is_given_up(
    line: ApiServer, by_line: PowerDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchover.dns.providers.http_api.MOST", 1 << 20)
    line.answer = lambda _: (200, b" " * ((1 << 20) + 1))
    with pytest.raises(Unreachable, match="longer than 1 MiB"):
        await by_line.check(SWITCH)


async def test_a_cname_is_never_given_an_address(powerdns: PowerDns) -> None:
    with pytest.raises(ChangeConflict, match="is a CNAME"):
        await powerdns.apply(replace(SWITCH, owner="app.example.test"))


async def test_what_answers_in_the_records_place_is_named_and_what_is_disabled_is_not(
    primary: PowerDnsPrimary, powerdns: PowerDns
) -> None:
    new = Change("example.test", "new.example.test", "A", (), 0, (NEW,), 20)
    for kind, content in (("ALIAS", "www.example.test."), ("LUA", f"A \"ifportup(443, {{'{OLD}'}})\"")):
        primary.pdnsutil("add-record", "example.test", "new", kind, "20", content)
        with pytest.raises(ChangeConflict, match=f"is a {kind}"):
            await powerdns.check(new)
        primary.pdnsutil("delete-rrset", "example.test", "new", kind)
    primary.pdnsutil("add-record", "example.test", "new", "LUA", "20", "TXT \"return '1'\"")
    await powerdns.check(new)
    primary.pdnsutil("delete-rrset", "example.test", "new", "LUA")
    primary.pdnsutil("add-record", "example.test", "new", "CNAME", "20", "www.example.test.")
    primary.sql("UPDATE records SET disabled = 1 WHERE name = ? AND type = ?", "new.example.test", "CNAME")
    await powerdns.check(new)


async def test_what_the_server_refuses_is_told_in_its_words(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    beside = Change("example.test", WWW, "CNAME", (), 0, ("mail.example.test.",), 20)
    with pytest.raises(ChangeRefused, match=r"did not make the change \(HTTP 422: .*[Cc]onflicts.*is absent as before"):
        await powerdns.apply(beside)
    assert await served(primary) == SWITCH.old


async def test_a_lost_reply_is_found_out_by_reading_back(
    primary: PowerDnsPrimary, line: ApiServer, by_line: PowerDns
) -> None:
    line.lose = "reply"
    await by_line.apply(SWITCH)
    assert await served(primary) == SWITCH.new


@pytest.mark.parametrize(
    ("loss", "said"),
    [("write", "connection was cut"), ("answer of a gateway", "HTTP 504"), ("time", r"no answer within 0\.3 s")],
)
async def test_a_write_whose_fate_is_not_known_is_not_called_refused(
    primary: PowerDnsPrimary, line: ApiServer, by_line: PowerDns, loss: TypeOfLoss, said: str
) -> None:
    line.lose = loss
    with pytest.raises(ChangeUnknown, match=rf"{said}.*192\.0\.2\.10 \(TTL 20\) as before, but .* may still be made"):
        await replace(by_line, timeout_s=0.3).apply(SWITCH)
    assert await served(primary) == SWITCH.old


async def test_a_server_killed_after_the_write_leaves_it_unknown_and_a_second_run_settles_it(
    primary: PowerDnsPrimary, powerdns: PowerDns, line: ApiServer, by_line: PowerDns
) -> None:
    line.lose = "everything after the write"
    with pytest.raises(ChangeUnknown, match=r"may be 192\.0\.2\.10 \(TTL 20\) or 198\.51\.100\.20 \(TTL 5\)"):
        await by_line.apply(SWITCH)
    primary.kill()
    with pytest.raises(Unreachable, match="nothing was sent"):
        await powerdns.apply(SWITCH)
    primary.start()
    await powerdns.apply(SWITCH)
    assert await served(primary) == SWITCH.new


async def test_a_silent_server_is_unreachable_in_time(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    primary.freeze()
    try:
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
            await replace(powerdns, timeout_s=0.3).check(SWITCH)
    finally:
        primary.thaw()


async def test_an_old_server_that_sends_the_whole_zone_is_read_right(line: ApiServer, by_line: PowerDns) -> None:
    through = line.answer
    line.answer = lambda asked: through(replace(asked, target=asked.target.partition("?")[0]))
    assert await by_line.read(WWW) == SWITCH.old
    assert await by_line.read("mail.example.test") == Rrset((OLD,), 3600)
    assert await by_line.read("multi.example.test") == Rrset((OLD, "192.0.2.11"), 20)


async def test_an_answer_that_trickles_in_is_given_up_in_time(powerdns: PowerDns) -> None:
    path = "/api/v1/servers/localhost/zones/example.test."
    with HttpServer({path: Answer(drips=True)}) as slow:
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
            await replace(powerdns, url=slow.url(""), timeout_s=0.3).check(SWITCH)
        assert [asked for asked, _ in slow.asked] == [path]


async def test_every_reason_that_the_server_gives_is_told(line: ApiServer, by_line: PowerDns) -> None:
    through = line.answer
    reasons = b'{"error": "Invalid", "errors": ["no such type", "no such name"]}'
    line.answer = lambda asked: (422, reasons) if asked.writes else through(asked)
    with pytest.raises(ChangeRefused, match=r"\(HTTP 422: Invalid; no such type; no such name\)"):
        await by_line.apply(SWITCH)


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"kind": "Native", "rrsets": [1]}', b"<html>"])
async def test_rubbish_is_no_answer_and_no_traceback(line: ApiServer, by_line: PowerDns, body: bytes) -> None:
    line.answer = lambda _: (200, body)
    with pytest.raises(Unreachable, match=r"no usable answer|not understood"):
        await by_line.read(WWW)


async def test_the_key_is_in_no_error_no_repr_no_log_and_no_address(
    primary: PowerDnsPrimary, line: ApiServer, by_line: PowerDns, caplog: pytest.LogCaptureFixture
) -> None:
    key = primary.api_key.raw.decode()
    caplog.set_level(logging.DEBUG)
    said = [repr(by_line), str(by_line.describe(SWITCH)), by_line.capabilities.says, await by_line.check(SWITCH)]
    for status in (200, 302, 401, 403, 404, 422, 500, 502):
        line.answer = lambda _, status=status: (status, f'{{"error": "not {key}"}}'.encode())  # type: ignore[misc]
        for call in (by_line.check, by_line.apply):
            with pytest.raises(ProviderError) as error:
                await call(SWITCH)
            said.append(f"{error.value!r} {error.value.__cause__!r}")
    said += [caplog.text, *(each.target for each in line.asked)]
    assert key not in "\n".join(said)


@pytest.mark.parametrize("tail", ["/", "/api/v1", "/api/v1/"])
async def test_the_url_may_end_as_people_write_it(primary: PowerDnsPrimary, powerdns: PowerDns, tail: str) -> None:
    assert await replace(powerdns, url=primary.url + tail).read(WWW) == SWITCH.old


async def test_a_zone_of_an_unusual_name_is_found(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    primary.pdnsutil("create-zone", "0/25.2.0.192.in-addr.arpa", "ns1.example.test")
    primary.pdnsutil("add-record", "0/25.2.0.192.in-addr.arpa", "_x", "A", "20", OLD)
    zone = replace(powerdns, zone="0/25.2.0.192.in-addr.arpa")
    assert await zone.read("_x.0/25.2.0.192.in-addr.arpa") == Rrset((OLD,), 20)


def test_the_preview_is_the_exact_change(primary: PowerDnsPrimary, powerdns: PowerDns) -> None:
    assert powerdns.describe(SWITCH) == (
        f"patch   zone example.test at {primary.url}",
        "require www.example.test A is exactly 192.0.2.10 (TTL 20), compared just before",
        "replace www.example.test A with 198.51.100.20 (TTL 5)",
        "then    read back what has become of it",
    )


@pytest.fixture
def updates(primary: PowerDnsPrimary, tmp_path: Path) -> Rfc2136:
    key = read_key(primary.key.write(tmp_path / "shop.key"))
    return Rfc2136(str(primary.endpoint), "example.test", key, primary.endpoint.port, timeout_s=2)


async def test_signed_updates_swap_the_record_too(primary: PowerDnsPrimary, updates: Rfc2136) -> None:
    before = (await ask(primary.endpoint, "example.test", "SOA")).serial
    assert "accepts updates" in await updates.check(SWITCH)
    assert (await ask(primary.endpoint, "example.test", "SOA")).serial == before, "the trial update changes nothing"
    await updates.apply(SWITCH)
    await updates.apply(SWITCH)
    assert await served(primary) == SWITCH.new


async def test_signed_updates_leave_a_changed_record_alone(primary: PowerDnsPrimary, updates: Rfc2136) -> None:
    primary.pdnsutil("replace-rrset", "example.test", "www", "A", "20", OTHER)
    for call in (updates.check, updates.apply):
        with pytest.raises(ChangeConflict, match=r"is 203\.0\.113\.9 \(TTL 20\)"):
            await call(SWITCH)
    assert await served(primary) == Rrset((OTHER,), 20)


@pytest.mark.parametrize("call", ["check", "apply"])
async def test_signed_updates_with_a_wrong_secret_are_refused(
    primary: PowerDnsPrimary, updates: Rfc2136, call: Literal["check", "apply"]
) -> None:
    wrong = replace(updates, key=replace(updates.key, secret=Secret(b"wrong" * 6)))
    with pytest.raises(ChangeRefused, match="key, zone or server is not the right one"):
        await getattr(wrong, call)(SWITCH)
    assert await served(primary) == SWITCH.old
