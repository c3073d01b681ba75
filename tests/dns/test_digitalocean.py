"""DigitalOcean's API as its documents describe it, on a stand-in: swaps, conflicts, lost replies, what is untouched."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest

from switchover.dns.keys import Secret
from switchover.dns.message import Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, ChangeUnknown, ProviderError, Unreachable
from switchover.dns.providers.digitalocean import DigitalOcean
from tests.servers.cloud import ApiServer, DigitalOceanApi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.cloud import TypeOfLoss

OLD, NEW, OTHER = "192.0.2.10", "198.51.100.20", "203.0.113.9"
WWW = "www.example.test"
SWITCH = Change("example.test", WWW, "A", (OLD,), 300, (NEW,), 30)
TOKEN = "dop_v1_0123456789abcdef0123456789abcdef"


@pytest.fixture
def team() -> DigitalOceanApi:
    made = DigitalOceanApi(TOKEN, domains=("example.test",))
    for name in ("@", "a", "www", "zzz"):
        made.add(name, OLD)
    return made


@pytest.fixture
def server(team: DigitalOceanApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ApiServer(team) as made:
        yield made


@pytest.fixture
def digitalocean(server: ApiServer) -> DigitalOcean:
    return DigitalOcean("example.test", Secret(TOKEN.encode()), server.url)


def record(team: DigitalOceanApi, name: str = "www") -> dict[str, Any]:
    return next(each for each in team.records if each["name"] == name)


@pytest.mark.parametrize(("owner", "host"), [(WWW, "www"), ("example.test", "@")])
async def test_the_swap_patches_the_one_record_and_leaves_all_else_alone(
    team: DigitalOceanApi, server: ApiServer, digitalocean: DigitalOcean, owner: str, host: str
) -> None:
    others = [dict(each) for each in team.records if each["name"] != host]
    before = dict(record(team, host))
    await digitalocean.apply(replace(SWITCH, owner=owner))
    assert record(team, host) == {**before, "data": NEW, "ttl": 30}
    assert [each for each in team.records if each["name"] != host] == others
    assert [each.method for each in server.asked if each.writes] == ["PATCH"]


async def test_a_change_of_the_ttl_alone_is_made(team: DigitalOceanApi, digitalocean: DigitalOcean) -> None:
    await digitalocean.apply(replace(SWITCH, new_values=(OLD,)))
    assert (record(team)["data"], record(team)["ttl"]) == (OLD, 30)


async def test_applying_twice_writes_once(server: ApiServer, digitalocean: DigitalOcean) -> None:
    await digitalocean.apply(SWITCH)
    await digitalocean.apply(SWITCH)
    assert server.made == 1


@pytest.mark.parametrize("there", [{"data": OTHER}, {"ttl": 3600}], ids=["value", "ttl"])
@pytest.mark.parametrize("call", ["check", "apply"])
async def test_a_record_that_somebody_changed_is_left_alone(
    team: DigitalOceanApi,
    server: ApiServer,
    digitalocean: DigitalOcean,
    there: dict[str, Any],
    call: Literal["check", "apply"],
) -> None:
    record(team).update(there)
    with pytest.raises(ChangeConflict, match="Somebody else") as conflict:
        await getattr(digitalocean, call)(SWITCH)
    assert conflict.value.seen == Rrset((there.get("data", OLD),), there.get("ttl", 300))
    assert not any(each.writes for each in server.asked)


async def test_a_change_after_ours_is_a_conflict_that_shows_what_is_there(
    team: DigitalOceanApi, server: ApiServer, digitalocean: DigitalOcean
) -> None:
    server.before_write = lambda: record(team).update(id=1, data=OTHER)
    with pytest.raises(ChangeConflict, match=r"is 203\.0\.113\.9 \(TTL 300\) after the change \(HTTP 404"):
        await digitalocean.apply(SWITCH)


async def test_the_check_reads_and_writes_nothing(server: ApiServer, digitalocean: DigitalOcean) -> None:
    assert "accepts the token for example.test" in await digitalocean.check(SWITCH)
    assert not any(each.writes for each in server.asked)


@pytest.mark.parametrize("call", ["check", "apply"])
async def test_a_wrong_token_is_refused_with_what_to_do(
    server: ApiServer, digitalocean: DigitalOcean, call: Literal["check", "apply"]
) -> None:
    wrong = replace(digitalocean, token=Secret(b"dop_v1_another"))
    with pytest.raises(ChangeRefused, match=r"HTTP 401: Unable to auth.*make one at .*Nothing has changed") as refused:
        await getattr(wrong, call)(SWITCH)
    assert "dop_v1_another" not in str(refused.value)
    assert not isinstance(refused.value, Unreachable)
    assert not server.made


async def test_a_token_that_may_only_read_shows_when_it_writes(
    team: DigitalOceanApi, digitalocean: DigitalOcean
) -> None:
    team.may_write = False
    with pytest.raises(ChangeRefused, match=r"not authorized.*needs the scope domain:update.*as before"):
        await digitalocean.apply(SWITCH)


async def test_a_domain_that_the_account_does_not_have_is_refused(digitalocean: DigitalOcean) -> None:
    with pytest.raises(ChangeRefused, match=r"HTTP 404.*has no domain other\.test.*zone = "):
        await replace(digitalocean, zone="other.test").check(replace(SWITCH, zone="other.test"))


async def test_a_ttl_below_the_minimum_is_refused(server: ApiServer, digitalocean: DigitalOcean) -> None:
    for call in (digitalocean.check, digitalocean.apply):
        with pytest.raises(ChangeRefused, match="keeps no TTL below 30"):
            await call(replace(SWITCH, new_ttl=29))
    assert not any(each.writes for each in server.asked)


async def test_what_the_service_refuses_is_told_in_its_words(server: ApiServer, digitalocean: DigitalOcean) -> None:
    ask = server.answer
    server.answer = lambda asked: (422, b'{"message": "no such data"}') if asked.writes else ask(asked)
    with pytest.raises(ChangeRefused, match=r"HTTP 422: no such data\); .* is 192\.0\.2\.10 \(TTL 300\) as before"):
        await digitalocean.apply(SWITCH)


async def test_a_ttl_that_the_service_raises_is_no_success(
    team: DigitalOceanApi, server: ApiServer, digitalocean: DigitalOcean
) -> None:
    ask = server.answer

    def raising(asked: Any) -> tuple[int, bytes]:
        said = ask(asked)
        record(team)["ttl"] = max(record(team)["ttl"], 120)
        return said

    server.answer = raising
    with pytest.raises(ChangeConflict, match=r"is 198\.51\.100\.20 \(TTL 120\) after the change \(HTTP 200\)"):
        await digitalocean.apply(SWITCH)


async def test_several_values_none_and_going_away_are_refused_and_untouched(
    team: DigitalOceanApi, server: ApiServer, digitalocean: DigitalOcean
) -> None:
    several = tuple(f"192.0.2.{number}" for number in range(5))
    for address in several:
        team.add("multi", address)
    team.add("twice", OLD)
    team.add("twice", OLD)
    assert await digitalocean.read("multi.example.test") == Rrset(several, 300), "on three pages"
    for change in (
        replace(SWITCH, owner="multi.example.test", old_values=several),
        replace(SWITCH, owner="twice.example.test"),
        replace(SWITCH, owner="new.example.test", old_values=()),
        replace(SWITCH, new_values=()),
        replace(SWITCH, new_values=(NEW, OTHER)),
    ):
        for call in (digitalocean.check, digitalocean.apply):
            with pytest.raises(ChangeRefused, match="only one value that becomes one other"):
                await call(change)
    assert not any(each.writes for each in server.asked)


async def test_a_service_that_does_not_filter_is_read_right(
    team: DigitalOceanApi, server: ApiServer, digitalocean: DigitalOcean
) -> None:
    record(team, "zzz")["data"] = OTHER
    team.add("www", "2001:db8::10", type="AAAA")
    through = server.answer
    server.answer = lambda asked: through(replace(asked, target=asked.target.replace("name=", "unknown=")))
    assert await digitalocean.read(WWW) == Rrset((OLD,), 300)
    assert await digitalocean.read(WWW, "AAAA") == Rrset(("2001:db8::10",), 300)
    assert [each.query["page"] for each in server.asked] == ["1", "2", "3"] * 2
    assert {each.headers["host"] for each in server.asked} == {server.url.removeprefix("http://")}


async def test_a_cname_is_never_given_an_address(team: DigitalOceanApi, digitalocean: DigitalOcean) -> None:
    team.add("app", "@", type="CNAME")
    with pytest.raises(ChangeConflict, match="is a CNAME"):
        await digitalocean.apply(replace(SWITCH, owner="app.example.test"))


async def test_a_lost_reply_is_found_out_by_reading_back(
    team: DigitalOceanApi, server: ApiServer, digitalocean: DigitalOcean
) -> None:
    server.lose = "reply"
    await digitalocean.apply(SWITCH)
    assert record(team)["data"] == NEW


@pytest.mark.parametrize(
    ("loss", "said"),
    [("write", "connection was cut"), ("answer of a gateway", "HTTP 504"), ("time", r"no answer within 0\.3 s")],
)
async def test_a_write_whose_fate_is_not_known_is_not_called_refused(
    server: ApiServer, digitalocean: DigitalOcean, loss: TypeOfLoss, said: str
) -> None:
    server.lose = loss
    with pytest.raises(ChangeUnknown, match=rf"{said}.*192\.0\.2\.10 \(TTL 300\) as before, but .* may still be made"):
        await replace(digitalocean, timeout_s=0.3).apply(SWITCH)
    server.lose = ""
    await digitalocean.apply(SWITCH)
    assert server.made == 1


async def test_what_cannot_be_read_back_is_unknown_and_a_second_run_settles_it(
    server: ApiServer, digitalocean: DigitalOcean
) -> None:
    server.lose = "everything after the write"
    with pytest.raises(ChangeUnknown, match=r"may be 192\.0\.2\.10 \(TTL 300\) or 198\.51\.100\.20 \(TTL 30\)"):
        await digitalocean.apply(SWITCH)
    server.lose = ""
    await digitalocean.apply(SWITCH)
    assert server.made == 1


async def test_nobody_there_is_unreachable(server: ApiServer, digitalocean: DigitalOcean) -> None:
    server.close()
    for call in (digitalocean.check, digitalocean.apply):
        with pytest.raises(Unreachable, match="nothing was sent"):
            await call(SWITCH)


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b'{"domain_records": null}',
        b'{"domain_records": [{"name": "www", "type": "A"}]}',
        b'{"domain_records": [{"name": "www", "type": "A", "id": "../x", "data": "192.0.2.1", "ttl": 60}]}',
        b'{"domain_records": [{"name": "www", "type": "A", "id": 1, "data": "no address", "ttl": 60}]}',
        b'{"domain_records": [{"name": "www", "type": "A", "id": 1, "data": "192.0.2.1", "ttl": -1}]}',
        b'{"domain_records": [], "links": [1]}',
    ],
)
async def test_rubbish_is_no_answer_and_no_traceback(
    server: ApiServer, digitalocean: DigitalOcean, body: bytes
) -> None:
    server.answer = lambda _: (200, body)
    with pytest.raises(Unreachable, match=r"no usable answer|not understood"):
        await digitalocean.read(WWW)


async def test_pages_without_end_are_given_up(server: ApiServer, digitalocean: DigitalOcean) -> None:
    server.answer = lambda _: (200, b'{"domain_records": [], "links": {"pages": {"next": "x"}}}')
    with pytest.raises(ChangeRefused, match="more than 100 pages"):
        await digitalocean.read(WWW)


async def test_the_token_is_in_no_error_no_repr_no_log_and_no_address(
    server: ApiServer, digitalocean: DigitalOcean, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(digitalocean), str(digitalocean.describe(SWITCH)), digitalocean.capabilities.says]
    said.append(await digitalocean.check(SWITCH))
    for status in (200, 302, 401, 403, 404, 422, 429, 500, 502):
        server.answer = lambda _, status=status: (status, f'{{"message": "{TOKEN}"}}'.encode())  # type: ignore[misc]
        for call in (digitalocean.check, digitalocean.apply):
            with pytest.raises(ProviderError) as error:
                await call(SWITCH)
            said.append(f"{error.value!r} {error.value.__cause__!r}")
    said += [caplog.text, *(each.target for each in server.asked)]
    assert TOKEN not in "\n".join(said)


def test_the_preview_is_the_exact_patch(digitalocean: DigitalOcean) -> None:
    assert digitalocean.describe(SWITCH) == (
        "patch   the record www A of example.test at DigitalOcean",
        "require www.example.test A is exactly 192.0.2.10 (TTL 300), compared just before",
        "set     198.51.100.20 (TTL 30)",
        "then    read back what has become of it",
    )
    assert "not verified against the live service" in digitalocean.capabilities.says
    assert "gap is not atomic" in digitalocean.capabilities.says
