"""Cloudflare's API as its documents describe it, on a stand-in: swaps, conflicts, lost replies, what is left alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest

from switchover.dns.keys import Secret
from switchover.dns.message import Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, ChangeUnknown, ProviderError, Unreachable
from switchover.dns.providers.cloudflare import Cloudflare
from tests.servers.cloud import ApiServer, CloudflareApi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.cloud import TypeOfLoss

OLD, NEW, OTHER = "192.0.2.10", "198.51.100.20", "203.0.113.9"
WWW = "www.example.test"
SWITCH = Change("example.test", WWW, "A", (OLD,), 300, (NEW,), 60)
TOKEN = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY"


@pytest.fixture
def account() -> CloudflareApi:
    made = CloudflareApi(TOKEN)
    made.zones.append({"id": "023e105f4ecef8ad9ca31a8372d0c353", "name": "example.test", "status": "active"})
    for name in ("a.example.test", WWW, "example.test", "zzz.example.test"):
        made.add(name, OLD)
    return made


@pytest.fixture
def server(account: CloudflareApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ApiServer(account) as made:
        yield made


@pytest.fixture
def cloudflare(server: ApiServer) -> Cloudflare:
    return Cloudflare("example.test", Secret(TOKEN.encode()), server.url)


def record(account: CloudflareApi, name: str = WWW) -> dict[str, Any]:
    return next(each for each in account.records if each["name"] == name)


async def test_the_swap_patches_the_one_record_and_leaves_all_else_alone(
    account: CloudflareApi, server: ApiServer, cloudflare: Cloudflare
) -> None:
    others = [dict(each) for each in account.records if each["name"] != WWW]
    before = dict(record(account))
    await cloudflare.apply(SWITCH)
    assert record(account) == {**before, "content": NEW, "ttl": 60}
    assert [each for each in account.records if each["name"] != WWW] == others
    assert [each.method for each in server.asked if each.writes] == ["PATCH"]


async def test_a_change_of_the_ttl_alone_is_made(account: CloudflareApi, cloudflare: Cloudflare) -> None:
    await cloudflare.apply(replace(SWITCH, new_values=(OLD,)))
    assert (record(account)["content"], record(account)["ttl"]) == (OLD, 60)


async def test_applying_twice_writes_once(server: ApiServer, cloudflare: Cloudflare) -> None:
    await cloudflare.apply(SWITCH)
    await cloudflare.apply(SWITCH)
    assert server.made == 1


async def test_an_ipv6_address_is_compared_as_an_address(account: CloudflareApi, cloudflare: Cloudflare) -> None:
    account.add(WWW, "2001:DB8:0:0::10", type="AAAA")
    swap = replace(SWITCH, rdtype="AAAA", old_values=("2001:db8::10",), new_values=("2001:db8::20",))
    await cloudflare.apply(swap)
    assert await cloudflare.read(WWW, "AAAA") == Rrset(("2001:db8::20",), 60)
    assert record(account)["content"] == OLD


@pytest.mark.parametrize("there", [{"content": OTHER}, {"ttl": 3600}], ids=["value", "ttl"])
@pytest.mark.parametrize("call", ["check", "apply"])
async def test_a_record_that_somebody_changed_is_left_alone(
    account: CloudflareApi,
    server: ApiServer,
    cloudflare: Cloudflare,
    there: dict[str, Any],
    call: Literal["check", "apply"],
) -> None:
    record(account).update(there)
    with pytest.raises(ChangeConflict, match="Somebody else") as conflict:
        await getattr(cloudflare, call)(SWITCH)
    assert conflict.value.seen == Rrset((there.get("content", OLD),), there.get("ttl", 300))
    assert not any(each.writes for each in server.asked)


async def test_a_change_after_ours_is_a_conflict_that_shows_what_is_there(
    account: CloudflareApi, server: ApiServer, cloudflare: Cloudflare
) -> None:
    def somebody_is_quicker() -> None:
        record(account)["id"] = "f" * 32
        record(account)["content"] = OTHER

    server.before_write = somebody_is_quicker
    with pytest.raises(ChangeConflict, match=r"is 203\.0\.113\.9 \(TTL 300\) after the change .*81044") as conflict:
        await cloudflare.apply(SWITCH)
    assert conflict.value.seen == Rrset((OTHER,), 300)


async def test_the_check_reads_and_writes_nothing(server: ApiServer, cloudflare: Cloudflare) -> None:
    said = await cloudflare.check(SWITCH)
    assert "accepts the token for example.test" in said
    assert "writing was not tried" in said
    assert not any(each.writes for each in server.asked)


@pytest.mark.parametrize(
    ("token", "expected"),
    [("another-token-that-is-long-enough", r"HTTP 403: 9109 Invalid access token .*DNS Edit"), ("short", "HTTP 400")],
)
@pytest.mark.parametrize("call", ["check", "apply"])
async def test_a_wrong_token_is_refused_with_what_to_do(
    server: ApiServer, cloudflare: Cloudflare, token: str, expected: str, call: Literal["check", "apply"]
) -> None:
    with pytest.raises(ChangeRefused, match=f"{expected}.*Nothing has changed") as refused:
        await getattr(replace(cloudflare, token=Secret(token.encode())), call)(SWITCH)
    assert token not in str(refused.value)
    assert not isinstance(refused.value, Unreachable)
    assert not server.made


async def test_a_token_that_may_only_read_shows_when_it_writes(account: CloudflareApi, cloudflare: Cloudflare) -> None:
    account.may_write = False
    with pytest.raises(ChangeRefused, match=r"10000 Authentication error.*needs DNS Edit.*as before"):
        await cloudflare.apply(SWITCH)


async def test_a_zone_that_the_token_does_not_see_is_refused(cloudflare: Cloudflare) -> None:
    with pytest.raises(ChangeRefused, match=r"shows no zone other\.test .*zone = "):
        await replace(cloudflare, zone="other.test").check(replace(SWITCH, zone="other.test"))


async def test_of_two_zones_of_the_name_the_active_one_counts(
    account: CloudflareApi, server: ApiServer, cloudflare: Cloudflare
) -> None:
    account.zones.insert(0, {"id": "1" * 32, "name": "example.test", "status": "moved"})
    await cloudflare.apply(SWITCH)
    assert all("/zones/023e" in each.path for each in server.asked if "dns_records" in each.path)
    account.zones[0]["status"] = "active"
    with pytest.raises(ChangeRefused, match="several zones"):
        await cloudflare.check(SWITCH)


async def test_a_proxied_record_is_refused_with_an_explanation_and_untouched(
    account: CloudflareApi, server: ApiServer, cloudflare: Cloudflare
) -> None:
    record(account).update(proxied=True, ttl=1)
    before = dict(record(account))
    for call in (cloudflare.check(SWITCH), cloudflare.apply(SWITCH), cloudflare.read(WWW)):
        with pytest.raises(ChangeRefused, match=r"is proxied .*change the address of the origin there"):
            await call
    assert record(account) == before
    assert not any(each.writes for each in server.asked)


async def test_an_automatic_ttl_is_300_and_never_one_second(account: CloudflareApi, cloudflare: Cloudflare) -> None:
    record(account)["ttl"] = 1
    assert await cloudflare.read(WWW) == Rrset((OLD,), 300)
    assert "automatic TTL counts as 300" in cloudflare.capabilities.says
    await cloudflare.apply(SWITCH)
    assert record(account)["ttl"] == 60


@pytest.mark.parametrize("ttl", [1, 5])
async def test_a_ttl_that_would_mean_automatic_or_is_not_kept_is_refused(
    server: ApiServer, cloudflare: Cloudflare, ttl: int
) -> None:
    for call in (cloudflare.check, cloudflare.apply):
        with pytest.raises(ChangeRefused, match="keeps no TTL below 60"):
            await call(replace(SWITCH, new_ttl=ttl))
    assert not any(each.writes for each in server.asked)


async def test_a_ttl_that_cloudflare_refuses_is_told_in_its_words(cloudflare: Cloudflare) -> None:
    with pytest.raises(ChangeRefused, match=r"HTTP 400: 9021 Invalid TTL.*is 192\.0\.2\.10 \(TTL 300\) as before"):
        await cloudflare.apply(replace(SWITCH, new_ttl=45))


async def test_several_values_none_and_going_away_are_refused_and_untouched(
    account: CloudflareApi, server: ApiServer, cloudflare: Cloudflare
) -> None:
    for number in range(5):
        account.add("multi.example.test", f"192.0.2.{number}")
    several = tuple(f"192.0.2.{number}" for number in range(5))
    many = replace(SWITCH, owner="multi.example.test", old_values=several)
    assert await cloudflare.read("multi.example.test") == Rrset(several, 300), "on three pages"
    for change in (
        many,
        replace(SWITCH, owner="new.example.test", old_values=()),
        replace(SWITCH, new_values=()),
        replace(SWITCH, new_values=(NEW, OTHER)),
    ):
        for call in (cloudflare.check, cloudflare.apply):
            with pytest.raises(ChangeRefused, match="only one value that becomes one other"):
                await call(change)
    assert not any(each.writes for each in server.asked)


async def test_a_service_that_does_not_filter_is_read_right(
    account: CloudflareApi, server: ApiServer, cloudflare: Cloudflare
) -> None:
    account.zones.append({"id": "1" * 32, "name": "other.test", "status": "active"})
    record(account, "zzz.example.test")["content"] = OTHER
    through = server.answer
    server.answer = lambda asked: through(replace(asked, target=asked.target.replace("name=", "unknown=")))
    assert await cloudflare.read(WWW) == Rrset((OLD,), 300)
    assert await cloudflare.read("zzz.example.test") == Rrset((OTHER,), 300)


async def test_a_cname_is_never_given_an_address(account: CloudflareApi, cloudflare: Cloudflare) -> None:
    account.add("app.example.test", WWW, type="CNAME", proxied=True)
    with pytest.raises(ChangeConflict, match="is a CNAME"):
        await cloudflare.apply(replace(SWITCH, owner="app.example.test"))


async def test_only_addresses_are_changed(server: ApiServer, cloudflare: Cloudflare) -> None:
    with pytest.raises(ChangeRefused, match="only A and AAAA"):
        await cloudflare.read("example.test", "MX")
    assert not server.asked


async def test_a_lost_reply_is_found_out_by_reading_back(
    account: CloudflareApi, server: ApiServer, cloudflare: Cloudflare
) -> None:
    server.lose = "reply"
    await cloudflare.apply(SWITCH)
    assert record(account)["content"] == NEW


@pytest.mark.parametrize(
    ("loss", "said"),
    [("write", "connection was cut"), ("answer of a gateway", "HTTP 504"), ("time", r"no answer within 0\.3 s")],
)
async def test_a_write_whose_fate_is_not_known_is_not_called_refused(
    server: ApiServer, cloudflare: Cloudflare, loss: TypeOfLoss, said: str
) -> None:
    server.lose = loss
    with pytest.raises(ChangeUnknown, match=rf"{said}.*192\.0\.2\.10 \(TTL 300\) as before, but .* may still be made"):
        await replace(cloudflare, timeout_s=0.3).apply(SWITCH)
    server.lose = ""
    await cloudflare.apply(SWITCH)
    assert server.made == 1


async def test_what_cannot_be_read_back_is_unknown_and_a_second_run_settles_it(
    server: ApiServer, cloudflare: Cloudflare
) -> None:
    server.lose = "everything after the write"
    with pytest.raises(ChangeUnknown, match=r"may be 192\.0\.2\.10 \(TTL 300\) or 198\.51\.100\.20 \(TTL 60\)"):
        await cloudflare.apply(SWITCH)
    server.lose = ""
    await cloudflare.apply(SWITCH)
    assert server.made == 1


async def test_nobody_there_is_unreachable(server: ApiServer, cloudflare: Cloudflare) -> None:
    server.close()
    for call in (cloudflare.check, cloudflare.apply):
        with pytest.raises(Unreachable, match=r"cannot be reached at http://127\.0\.0\.1:.*nothing was sent"):
            await call(SWITCH)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'{"result": null}',
        b'{"result": "www"}',
        b'{"result": [1]}',
        b'{"result": [{"name": "example.test"}]}',
        b'{"result": [], "result_info": {"total_pages": "2"}}',
        b"[" * 100_000,
    ],
)
async def test_rubbish_is_no_answer_and_no_traceback(server: ApiServer, cloudflare: Cloudflare, body: bytes) -> None:
    server.answer = lambda _: (200, body)
    with pytest.raises(Unreachable, match=r"no usable answer|not understood"):
        await cloudflare.read(WWW)


async def test_being_asked_too_often_is_not_called_a_wrong_token(server: ApiServer, cloudflare: Cloudflare) -> None:
    server.answer = lambda _: (429, b'{"errors": [{"code": 971, "message": "Please wait"}]}')
    with pytest.raises(Unreachable, match=r"asked too often \(HTTP 429: 971 Please wait\): wait some minutes"):
        await cloudflare.check(SWITCH)


async def test_a_list_without_end_is_given_up(server: ApiServer, cloudflare: Cloudflare) -> None:
    server.answer = lambda _: (200, b'{"result": [], "result_info": {"total_pages": 1000000}}')
    with pytest.raises(ChangeRefused, match="more than 100 pages"):
        await cloudflare.read(WWW)


async def test_the_token_is_in_no_error_no_repr_no_log_and_no_address(
    server: ApiServer, cloudflare: Cloudflare, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = [repr(cloudflare), str(cloudflare.describe(SWITCH)), cloudflare.capabilities.says]
    said.append(await cloudflare.check(SWITCH))
    bodies = [f'{{"errors": [{{"code": 1, "message": "{TOKEN}"}}]}}', f"what is {TOKEN}?", f'{{"message": "{TOKEN}"}}']
    for status in (200, 302, 400, 401, 403, 404, 418, 429, 500, 502):
        for body in bodies:
            server.answer = lambda _, status=status, body=body: (status, body.encode())  # type: ignore[misc]
            for call in (cloudflare.check, cloudflare.apply):
                with pytest.raises(ProviderError) as error:
                    await call(SWITCH)
                said.append(f"{error.value!r} {error.value.__cause__!r}")
    unsendable = replace(cloudflare, token=Secret(f"{TOKEN}\n".encode()))
    with pytest.raises(ChangeRefused, match="cannot be sent") as refused:
        await unsendable.check(SWITCH)
    said += [str(refused.value), caplog.text, *(each.target for each in server.asked)]
    assert TOKEN not in "\n".join(said)


async def test_an_address_with_a_password_is_shown_without_it() -> None:
    elsewhere = Cloudflare("example.test", Secret(TOKEN.encode()), "http://me:hunter2@127.0.0.1:1/api")
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 ") as error:
        await elsewhere.check(SWITCH)
    assert "hunter2" not in str(error.value)
    with pytest.raises(ChangeRefused, match="is not a URL"):
        await replace(elsewhere, url="api.example.test").check(SWITCH)


async def test_a_proxy_setting_that_cannot_be_used_is_named(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(ChangeRefused, match="HTTPS_PROXY"):
        await cloudflare.check(SWITCH)


def test_the_preview_is_the_exact_patch(cloudflare: Cloudflare) -> None:
    assert cloudflare.describe(SWITCH) == (
        "patch   the record of www.example.test A in zone example.test at Cloudflare",
        "require www.example.test A is exactly 192.0.2.10 (TTL 300) and not proxied, compared just before",
        "set     198.51.100.20 (TTL 60); proxy, comment and tags stay as they are",
        "then    read back what has become of it",
    )
    assert "not verified against the live service" in cloudflare.capabilities.says
    assert "gap is not atomic" in cloudflare.capabilities.says
