"""One request: every kind of trouble is an answer, and a pinned request never leaves its address."""

from __future__ import annotations

import gzip
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from switchover.web.probe import LARGEST_BODY, Request, probe
from tests.servers.http import Answer, HttpServer
from tests.web.conftest import NAME

if TYPE_CHECKING:
    import trustme


async def test_a_good_answer_is_ok_and_timed(plain_server: HttpServer) -> None:
    answered = await probe(Request(plain_server.url(), contains="all ok"))

    assert answered.ok
    assert (answered.status, answered.reason, answered.certificate_days) == (200, "", None)
    assert answered.ms > 0
    assert answered.at.tzinfo is UTC


async def test_a_wrong_status_a_missing_text_and_slowness_are_named(plain_server: HttpServer) -> None:
    plain_server.answers["/down"] = Answer(503, b"back soon")

    assert (await probe(Request(plain_server.url("/down")))).reason == "status 503, not 200"
    assert (await probe(Request(plain_server.url("/down"), status=503))).ok
    assert "does not contain 'login'" in (await probe(Request(plain_server.url(), contains="login"))).reason
    slow = await probe(Request(plain_server.url(), within_ms=0))
    assert not slow.ok
    assert "more than 0 ms" in slow.reason


async def test_a_pinned_request_carries_the_production_name(plain_server: HttpServer) -> None:
    answered = await probe(Request(plain_server.url(name=NAME), address="127.0.0.1"))

    assert answered.ok
    assert answered.address == "127.0.0.1"
    assert plain_server.asked == [("/", f"{NAME}:{plain_server.port}")]


async def test_a_pinned_https_request_sends_sni_and_verifies_the_name(tls_server: HttpServer) -> None:
    answered = await probe(Request(tls_server.url(name=NAME), address="127.0.0.1"))

    assert answered.ok, answered.reason
    assert tls_server.sni == [NAME]
    assert answered.certificate_days is not None
    assert answered.certificate_days > 0


async def test_a_certificate_for_another_name_is_refused(tls_server: HttpServer) -> None:
    answered = await probe(Request(tls_server.url(name="other.example.com"), address="127.0.0.1"))

    assert not answered.ok
    assert "certificate" in answered.reason
    assert tls_server.asked == []


async def test_one_good_request_does_not_open_the_door_for_a_wrong_name(tls_server: HttpServer) -> None:
    """A pooled connection would answer 200 for any SNI name."""
    assert (await probe(Request(tls_server.url(name=NAME), address="127.0.0.1"))).ok
    assert not (await probe(Request(tls_server.url(name="other.example.com"), address="127.0.0.1"))).ok


async def test_a_certificate_of_unknown_roots_is_refused(
    tls_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    answered = await probe(Request(tls_server.url(name=NAME), address="127.0.0.1"))

    assert not answered.ok
    assert "certificate" in answered.reason


async def test_an_expired_certificate_is_refused(tls_server: HttpServer, authority: trustme.CA) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME, not_before=yesterday - timedelta(days=1), not_after=yesterday).configure_cert(context)
    tls_server.present(context)

    answered = await probe(Request(tls_server.url(name=NAME), address="127.0.0.1"))

    assert not answered.ok
    assert "expired" in answered.reason


async def test_plain_http_where_tls_is_asked_is_an_answer(plain_server: HttpServer) -> None:
    answered = await probe(Request(f"https://{NAME}:{plain_server.port}/", address="127.0.0.1"))

    assert not answered.ok
    assert answered.reason


async def test_a_redirect_to_the_same_name_stays_pinned(plain_server: HttpServer) -> None:
    plain_server.answers["/old"] = Answer(302, headers=(("Location", "/"),))

    answered = await probe(Request(plain_server.url("/old", NAME), address="127.0.0.1", contains="all ok"))

    assert answered.ok
    assert [path for path, _ in plain_server.asked] == ["/old", "/"]


async def test_a_redirect_to_another_host_is_not_followed_when_pinned(plain_server: HttpServer) -> None:
    plain_server.answers["/away"] = Answer(302, headers=(("Location", plain_server.url("/", "localhost")),))

    pinned = await probe(Request(plain_server.url("/away", NAME), address="127.0.0.1"))

    assert not pinned.ok
    assert pinned.reason == "redirected to localhost, away from the pinned address"
    assert (await probe(Request(plain_server.url("/away")))).ok


async def test_a_redirect_that_is_expected_is_not_followed(plain_server: HttpServer) -> None:
    plain_server.answers["/old"] = Answer(301, headers=(("Location", "https://elsewhere.example.com/"),))

    assert (await probe(Request(plain_server.url("/old", NAME), address="127.0.0.1", status=301))).ok


@pytest.mark.parametrize(("status", "ok"), [(204, True), (301, True), (404, False), (500, False)])
async def test_where_any_status_will_do_it_is_2xx_or_3xx_and_no_redirect_is_followed(
    plain_server: HttpServer, status: int, ok: bool
) -> None:
    plain_server.answers["/health"] = Answer(status, headers=(("location", "/"),) if status == 301 else ())

    answered = await probe(Request(plain_server.url("/health"), status=None))

    assert (answered.ok, answered.status) == (ok, status)
    assert [path for path, _ in plain_server.asked] == ["/health"]


async def test_a_redirect_that_drops_encryption_is_refused(tls_server: HttpServer, plain_server: HttpServer) -> None:
    tls_server.answers["/"] = Answer(302, headers=(("Location", plain_server.url("/", NAME)),))

    answered = await probe(Request(tls_server.url(name=NAME), address="127.0.0.1"))

    assert not answered.ok
    assert "without encryption" in answered.reason
    assert plain_server.asked == []


@pytest.mark.parametrize(
    "location",
    ["http://[bad/", "file:///etc/passwd", "http://" + "a" * 70 + "/", "http://x:99999999/", "http://\x1b[2J/"],
)
async def test_a_redirect_to_nonsense_is_an_answer(plain_server: HttpServer, location: str) -> None:
    plain_server.answers["/odd"] = Answer(302, headers=(("Location", location),))

    for address in ("127.0.0.1", None):
        answered = await probe(Request(plain_server.url("/odd"), address=address))
        assert not answered.ok
        assert answered.reason
        assert answered.reason.isprintable()


async def test_redirects_without_end_or_without_a_place_end(plain_server: HttpServer) -> None:
    plain_server.answers["/round"] = Answer(302, headers=(("Location", "/round"),))
    plain_server.answers["/nowhere"] = Answer(302)

    assert "redirects" in (await probe(Request(plain_server.url("/round")))).reason
    assert (await probe(Request(plain_server.url("/nowhere")))).reason == "status 302, not 200"


async def test_a_server_that_hangs_or_drips_meets_one_deadline(plain_server: HttpServer) -> None:
    """Per-read timeouts would let a dripping body run for ever."""
    plain_server.answers |= {"/hang": Answer(hangs=True), "/drip": Answer(drips=True)}

    for path in ("/hang", "/drip"):
        answered = await probe(Request(plain_server.url(path), timeout_s=0.3))
        assert answered.reason == "no answer in 0.3 s"


async def test_of_a_large_body_only_the_beginning_is_read(plain_server: HttpServer) -> None:
    plain_server.answers["/large"] = Answer(body=b"x" * LARGEST_BODY + b"too late")

    assert (await probe(Request(plain_server.url("/large"), contains="xxx"))).ok
    assert not (await probe(Request(plain_server.url("/large"), contains="too late"))).ok


async def test_a_compressed_body_is_read_and_a_bomb_is_cut(plain_server: HttpServer) -> None:
    packed = (("Content-Encoding", "gzip"),)
    plain_server.answers["/gzip"] = Answer(body=gzip.compress(b"all ok"), headers=packed)
    plain_server.answers["/bomb"] = Answer(body=gzip.compress(bytes(64 << 20)), headers=packed)
    plain_server.answers["/broken"] = Answer(body=b"no gzip at all", headers=packed)

    assert (await probe(Request(plain_server.url("/gzip"), contains="all ok"))).ok
    assert (await probe(Request(plain_server.url("/bomb"), within_ms=60_000))).ok
    assert not (await probe(Request(plain_server.url("/broken")))).ok


async def test_a_closed_port_says_refused() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        for address in ("127.0.0.1", None):
            answered = await probe(Request(f"http://127.0.0.1:{port}/", address=address))
            assert (answered.ok, answered.status, answered.reason) == (False, None, "Connection refused")


@pytest.mark.parametrize(
    "url", ["http://no-such-name.invalid:1/", "http://[::1/", "ftp://127.0.0.1:1/", "http:///", "nonsense"]
)
async def test_a_url_that_leads_nowhere_is_an_answer(url: str) -> None:
    for address in ("127.0.0.1", None):
        answered = await probe(Request(url, address=address, timeout_s=20))
        assert not answered.ok
        assert answered.reason


async def test_proxies_of_the_environment_are_not_used(
    plain_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert (await probe(Request(plain_server.url()))).ok


async def test_hostile_bytes_of_a_server_are_an_answer(plain_server: HttpServer) -> None:
    plain_server.answers["/"] = Answer(body=b"\xff\x00\x1b]0;x\x07" * 1000, headers=(("X-Odd", "\x1b[2J"),))

    answered = await probe(Request(plain_server.url(), contains="\u202e\x1b"))

    assert not answered.ok
    assert answered.reason.isprintable()
