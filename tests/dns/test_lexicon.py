"""Lexicon's DNSimple code, whose API can be pointed elsewhere by its settings, against a small server on this machine.

The server is no DNSimple: it knows the four requests that lexicon's code makes, one zone and plain records.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from switchover.dns.message import Rrset
from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, ChangeUnknown, Unreachable
from switchover.dns.providers.lexicon import TRUSTED, Lexicon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD, NEW, OTHER = "192.0.2.10", "198.51.100.20", "203.0.113.9"
WWW = "www.shop.example.test"
SWITCH = Change("shop.example.test", WWW, "A", (OLD,), 300, (NEW,), 60)
TOKEN = "not-a-real/token+but secret"


@dataclass(slots=True)
class Dnsimple:
    """One account with one zone."""

    records: list[dict[str, Any]] = field(default_factory=list)
    writes: list[dict[str, Any]] = field(default_factory=list)
    lists: int = 0
    url: str = ""
    mode: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    before_write: Callable[[], object] | None = None
    on_list: dict[int, Callable[[], object]] = field(default_factory=dict)

    def put(self, *addresses: str, ttl: int = 300, name: str = "www") -> None:
        self.records = [
            {"id": number, "type": "A", "name": name, "content": address, "ttl": ttl, "priority": None}
            for number, address in enumerate(addresses, 7)
        ]

    def answer(self, method: str, path: str, asked: dict[str, list[str]], body: dict[str, Any]) -> Any:
        match method, path:
            case "GET", "/accounts":
                return [{"id": 1, "plan_identifier": "gold", "email": "me@example.test"}]
            case "GET", "/1/domains":
                return [{"id": 2}] if asked["name_like"] == ["shop.example.test"] else []
            case "GET", "/1/zones/shop.example.test/records":
                self.lists += 1
                self.on_list.get(self.lists, lambda: None)()
                # The other record is what a service lists that filters by the start of a name, or not at all.
                more = {**self.records[0], "id": 99, "name": "www2"} if self.records else None
                wanted = [each for each in self.records if [each["name"]] == asked.get("name", [each["name"]])]
                return wanted + ([more] if more else [])
            case "PATCH", _:
                number = int(path.rpartition("/")[2])
                self.writes.append(body)
                if self.mode != "ignore":
                    next(each for each in self.records if each["id"] == number).update(body)
                return {"id": number}
        raise AssertionError(f"{method} {path}")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dnsimple]:
    made = Dnsimple()
    made.put(OLD)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            write = self.command == "PATCH"
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.say(401, {"message": f"bad {TOKEN}"})
                return
            if write and made.before_write is not None:
                made.before_write()
            if write and made.mode == "lose the request":
                return
            if write and made.mode == "hang":
                made.released.wait(20)
            if write and made.mode == "refuse":
                self.say(403, {"message": f"bad {TOKEN}"})
                return
            if write and made.mode == "fail":
                self.say(500, {"message": f"bad {TOKEN}"})
                return
            if not write and made.mode == "blind after the write" and made.writes:
                self.say(503, {})
                return
            said = made.answer(self.command, parts.path, parse_qs(parts.query), body)
            if write and made.mode == "lose the reply":
                return
            self.say(200, {"data": said})

        do_PATCH = do_GET

        def say(self, status: int, body: object) -> None:
            data = json.dumps(body).encode() if made.mode != "rubbish" else b"<html>\x1b[31m"
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "LEXICON_TTL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LEXICON_DNSIMPLE_AUTH_TOKEN", TOKEN)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("LEXICON_DNSIMPLE_API_ENDPOINT", made.url)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield made
        finally:
            made.released.set()
            server.shutdown()
            thread.join()
            for left in threading.enumerate():
                if left.name == "lexicon":
                    left.join(5)


@pytest.fixture
def lexicon(there: Dnsimple) -> Lexicon:
    return Lexicon("dnsimple", "shop.example.test")


async def test_the_swap_is_one_update_with_the_ttl(there: Dnsimple, lexicon: Lexicon) -> None:
    await lexicon.apply(SWITCH)
    assert Rrset((NEW,), 60) == await lexicon.read(WWW)
    assert there.writes == [{"name": "www", "content": NEW, "ttl": 60}]


async def test_a_change_of_the_ttl_alone_is_made(there: Dnsimple, lexicon: Lexicon) -> None:
    await lexicon.apply(replace(SWITCH, new_values=(OLD,)))
    assert there.writes == [{"name": "www", "content": OLD, "ttl": 60}]


async def test_the_ttl_is_ours_whatever_the_environment_says(
    there: Dnsimple, lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXICON_TTL", "7200")
    monkeypatch.setenv("LEXICON_DOMAIN", "other.test")
    monkeypatch.setenv("LEXICON_RESOLVE_ZONE_NAME", "1")
    await lexicon.apply(SWITCH)
    assert there.writes[0]["ttl"] == 60


async def test_the_public_suffix_list_is_not_asked_about_the_zone(
    there: Dnsimple, lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By that list the zone would be example.test, and its copy might be fetched."""
    monkeypatch.setattr("tldextract.TLDExtract.__call__", lambda *_: pytest.fail("asked"))
    await lexicon.check(SWITCH)


async def test_applying_twice_writes_once(there: Dnsimple, lexicon: Lexicon) -> None:
    await lexicon.apply(SWITCH)
    await lexicon.apply(SWITCH)
    assert len(there.writes) == 1


@pytest.mark.parametrize(("value", "ttl"), [(OTHER, 300), (OLD, 299)], ids=["value", "ttl"])
async def test_what_somebody_else_changed_is_left_alone(
    there: Dnsimple, lexicon: Lexicon, value: str, ttl: int
) -> None:
    there.put(value, ttl=ttl)
    for call in (lexicon.check, lexicon.apply):
        with pytest.raises(ChangeConflict) as conflict:
            await call(SWITCH)
        assert conflict.value.seen == Rrset((value,), ttl)
    assert there.writes == []


async def test_what_is_changed_between_the_look_and_the_update_is_left_alone(there: Dnsimple, lexicon: Lexicon) -> None:
    there.on_list[2] = lambda: there.put(OTHER)
    with pytest.raises(ChangeConflict, match=OTHER):
        await lexicon.apply(SWITCH)
    assert there.writes == []


async def test_an_update_without_effect_is_not_believed(there: Dnsimple, lexicon: Lexicon) -> None:
    there.mode = "ignore"
    with pytest.raises(ChangeRefused, match=rf"{OLD} \(TTL 300\)") as refused:
        await lexicon.apply(SWITCH)
    assert not isinstance(refused.value, ChangeConflict)


async def test_a_lost_reply_is_found_out_by_reading_back(there: Dnsimple, lexicon: Lexicon) -> None:
    there.mode = "lose the reply"
    await lexicon.apply(SWITCH)
    assert len(there.writes) == 1


@pytest.mark.parametrize(
    ("mode", "said"), [("lose the request", "no usable answer from dnsimple"), ("fail", "answered HTTP 500")]
)
async def test_an_update_that_did_not_arrive_is_refused(
    there: Dnsimple, lexicon: Lexicon, mode: str, said: str
) -> None:
    there.mode = mode
    with pytest.raises(ChangeRefused, match=rf"{OLD} \(TTL 300\)") as refused:
        await lexicon.apply(SWITCH)
    assert said in str(refused.value)
    assert_clean(refused.value)


async def test_silence_after_the_update_leaves_it_unknown_and_a_second_run_settles_it(
    there: Dnsimple, lexicon: Lexicon
) -> None:
    there.mode = "blind after the write"
    with pytest.raises(ChangeUnknown, match=rf"{OLD}.*{NEW}"):
        await lexicon.apply(SWITCH)
    there.mode = ""
    await lexicon.apply(SWITCH)
    assert len(there.writes) == 1


async def test_an_update_that_hangs_is_unknown_because_it_cannot_be_called_off(
    there: Dnsimple, lexicon: Lexicon
) -> None:
    there.mode = "hang"
    started = time.monotonic()
    with pytest.raises(ChangeUnknown, match="may still be made"):
        await replace(lexicon, timeout_s=1).apply(SWITCH)
    assert time.monotonic() - started < 5


async def test_an_update_that_hangs_after_it_was_made_is_recognised(there: Dnsimple, lexicon: Lexicon) -> None:
    there.mode = "hang"
    there.before_write = lambda: there.records[0].update(content=NEW, ttl=60)
    await replace(lexicon, timeout_s=1).apply(SWITCH)


async def test_the_check_signs_in_and_changes_nothing(there: Dnsimple, lexicon: Lexicon) -> None:
    assert "let lexicon sign in" in await lexicon.check(SWITCH)
    assert there.writes == []


async def test_refused_credentials_are_named_and_never_repeated(
    there: Dnsimple, lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXICON_DNSIMPLE_AUTH_TOKEN", "another-secret")
    for call in (lexicon.check, lexicon.apply):
        with pytest.raises(ChangeRefused, match=r"HTTP 401.*LEXICON_DNSIMPLE_AUTH_") as refused:
            await call(SWITCH)
        assert_clean(refused.value)
        assert "another-secret" not in str(refused.value)
    assert TOKEN not in repr(lexicon)


async def test_missing_credentials_are_said_to_be_missing(lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEXICON_DNSIMPLE_AUTH_TOKEN")
    with pytest.raises(ChangeRefused, match="No valid authentication mechanism"):
        await lexicon.check(SWITCH)


async def test_an_account_that_may_not_write_is_refused(there: Dnsimple, lexicon: Lexicon) -> None:
    there.mode = "refuse"
    with pytest.raises(ChangeRefused, match="HTTP 403") as refused:
        await lexicon.apply(SWITCH)
    assert_clean(refused.value)


async def test_a_zone_that_the_account_does_not_keep_is_refused(there: Dnsimple) -> None:
    with pytest.raises(ChangeRefused, match=r"No domain found like other\.test"):
        await Lexicon("dnsimple", "other.test").read("www.other.test")


async def test_a_text_with_a_secret_loses_it(
    there: Dnsimple, lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some services take the key in the URL, and exceptions repeat URLs."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"no {TOKEN} and no not-a-real%2Ftoken%2Bbut+secret \x1b[31m")

    monkeypatch.setattr("lexicon._private.providers.dnsimple.Provider.list_records", fail)
    with pytest.raises(Unreachable, match="RuntimeError: no … and no … ") as unreachable:
        await lexicon.read(WWW)
    assert_clean(unreachable.value)


async def test_rubbish_is_never_taken_for_a_record(there: Dnsimple, lexicon: Lexicon) -> None:
    there.mode = "rubbish"
    with pytest.raises(Unreachable) as unreachable:
        await lexicon.apply(SWITCH)
    assert_clean(unreachable.value)
    there.mode = ""
    for wrong in ({"ttl": None}, {"content": "www.example.test"}, {"content": None}):
        there.put(OLD)
        there.records[0].update(wrong)
        with pytest.raises(Unreachable):
            await lexicon.apply(SWITCH)
    assert there.writes == []


async def test_a_service_that_is_down_is_unreachable(lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_address[1]
    monkeypatch.setenv("LEXICON_DNSIMPLE_API_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match="ConnectionError"):
        await lexicon.apply(SWITCH)


async def test_several_addresses_are_refused(there: Dnsimple, lexicon: Lexicon) -> None:
    there.put(OLD, OTHER)
    with pytest.raises(ChangeRefused, match="has 2 addresses"):
        await lexicon.apply(SWITCH)
    for change in (
        replace(SWITCH, old_values=(OLD, OTHER)),
        replace(SWITCH, new_values=(NEW, OTHER)),
        replace(SWITCH, old_values=()),
        replace(SWITCH, new_values=()),
        replace(SWITCH, rdtype="AAAA"),
    ):
        for call in (lexicon.check, lexicon.apply):
            with pytest.raises(ChangeRefused, match="through lexicon"):
                await call(change)
    assert there.writes == []


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("gandi", 'kind = "command"'),
        ("no-such", 'kind = "command"'),
        ("../evil", 'kind = "command"'),
        ("cloudflare", 'take kind = "cloudflare" instead'),
        ("route53", 'take kind = "route53" instead'),
    ],
)
async def test_a_service_that_is_not_trusted_is_refused_with_a_way_out(service: str, said: str) -> None:
    with pytest.raises(ChangeRefused, match=said):
        await Lexicon(service, "example.test").check(SWITCH)


async def test_without_its_library_it_says_what_to_install(lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setattr("lexicon._private.discovery.find_providers", lambda: {"qcloud": False})
        with pytest.raises(ChangeRefused, match=r"pip install 'dns-lexicon\[qcloud\]'"):
            await Lexicon("qcloud", "shop.example.test").check(SWITCH)
    monkeypatch.setitem(sys.modules, "lexicon.config", None)
    with pytest.raises(ChangeRefused, match=r"pip install 'switchover\[lexicon\]'"):
        await lexicon.check(SWITCH)


def test_every_trusted_service_is_one_that_lexicon_has() -> None:
    from lexicon._private.discovery import find_providers

    assert set(find_providers()) >= TRUSTED


def test_it_says_honestly_what_it_cannot_promise(lexicon: Lexicon) -> None:
    assert not lexicon.capabilities.cas
    assert "not verified against the live service" in lexicon.capabilities.says
    assert Lexicon("porkbun", "example.test").capabilities.min_ttl == 300


def assert_clean(error: Exception) -> None:
    assert TOKEN not in str(error)
    assert "127.0.0.1" not in str(error)  # nor the URL: some services take the key in it
    assert "\x1b" not in str(error)
    assert error.__cause__ is None
