"""The propagation screen: what a child that really runs prints, drawn for a clock that stands still."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Static

from switchover.plan.journal import What
from switchover.tui import propagation
from switchover.tui.app import Wizard
from switchover.tui.feed import Feed
from switchover.tui.picture import Picture, read
from switchover.tui.screens.plan import PlanScreen
from switchover.tui.screens.propagation import PropagationScreen
from switchover.tui.screens.read import ReadScreen
from tests.tui.conftest import NOW, Story, assert_golden, rows
from tests.tui.test_keys import HOSTILE

SIZES = [(120, 40), (80, 24)]
OLD, NEW = "203.0.113.10", "198.51.100.20"
CHILD = """\
import sys
import time
sys.stdout.buffer.write(open(sys.argv[1], "rb").read())
sys.stdout.flush()
print(sys.argv[2], file=sys.stderr, flush=True) if sys.argv[2] else time.sleep(600)
sys.exit(1)
"""


def ago(**spans: float) -> str:
    return (NOW - timedelta(**spans)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ahead(**spans: float) -> str:
    return ago(**{unit: -span for unit, span in spans.items()})


def server(host: str, address: str, state: str, **more: Any) -> dict[str, Any]:
    value, ttl = {"new": (NEW, 60), "low": (OLD, 60), "old": (OLD, 3600)}.get(state, ("", None))
    known = {"values": [value], "says": f"{value} (TTL {ttl})"} if value else {"values": [], "says": state}
    return {"host": host, "address": address, "state": state, "ttl": ttl, "serial": 2026120601, **known, **more}


def cache(name: str, address: str, state: str, **more: Any) -> dict[str, Any]:
    says = f"{state} in 4 of 4"
    return {"name": name, "address": address, "state": state, "says": says, "ttl": None, "at": ago(seconds=12), **more}


def before() -> dict[str, Any]:
    """One of the servers has the low TTL already."""
    return {
        "at": ago(seconds=12),
        "round": 3,
        "name": "shop.example.com",
        "owner": "app.example.net",
        "zone": "example.net",
        "primary": "ns1.example.net",
        "chain": [{"owner": "shop.example.com", "target": "app.example.net", "ttl": 300}],
        "expected": {"old": [OLD], "new": [NEW], "old_ttl": 3600, "low_ttl": 60, "phase": "before"},
        "authoritative": [
            server("ns1.example.net", "192.0.2.53", "low", since=ago(minutes=2), good=True),
            server("ns1.example.net", "2001:db8:85a3:1111:2222:8a2e:1370:7334", "no-route", serial=None),
            server("ns2.example.net", "192.0.2.54", "old"),
            server("ns3.a-provider-with-a-long-name.example", "192.0.2.55", "timeout", serial=None),
        ],
        "resolvers": [
            cache("Cloudflare", "1.1.1.1", "old", ttl=3571, expires=ahead(seconds=3559)),
            cache("Google", "8.8.8.8", "mixed", says="old in 2 of 4, other in 2 of 4; 3 sites", ttl=1200),
            cache("DNS4EU unfiltered", "2a13:1001::86:54:11:100", "no-route"),
            cache("HiNet", "168.95.1.1", "timeout"),
        ],
        "findings": [
            {
                "id": "aaaa",
                "subject": "shop.example.com",
                "severity": "error",
                "evidence": "the name has an IPv6 address too, 2001:db8::10, and it is not in the plan: users who have "
                "IPv6 stay on the old host",
                "fix": "Remove the AAAA record before the cutover, or accept it by name",
            },
            {"id": "soa", "subject": "", "severity": "info", "evidence": "serials differ", "fix": "Nothing to do"},
        ],
        "t0": None,
        "safe": None,
        "exposure_s": 3600,
        "weaker": "",
        "proved": False,
    }


def lowered() -> dict[str, Any]:
    servers = [
        server("ns1.example.net", "192.0.2.53", "low", since=ago(minutes=2), good=True),
        server("ns2.example.net", "192.0.2.54", "low", since=ago(minutes=1, seconds=1), good=True),
    ]
    found = {**before(), "authoritative": servers, "findings": [], "chain": [], "proved": True}
    found["expected"] = {**found["expected"], "phase": "lowered"}
    return {**found, "t0": ago(minutes=1), "safe": ahead(minutes=59, seconds=12), "exposure_s": 3564}


def cut() -> dict[str, Any]:
    servers = [
        server("ns1.example.net", "192.0.2.53", "new", since=ago(seconds=40), good=True),
        server("ns2.example.net", "192.0.2.54", "new", since=ago(seconds=20), good=True),
    ]
    caches = [
        cache("Cloudflare", "1.1.1.1", "new", ttl=60),
        cache("Google", "8.8.8.8", "old", ttl=38, expires=ahead(seconds=26)),
        cache("Quad9 unfiltered", "9.9.9.10", "floor", ttl=600, expires=ahead(seconds=588)),
        cache("OpenDNS", "208.67.222.222", "servfail"),
    ]
    found = {**lowered(), "authoritative": servers, "resolvers": caches}
    found["expected"] = {**found["expected"], "old_ttl": 60, "phase": "cut"}
    return {**found, "t0": ago(seconds=20), "safe": ahead(seconds=42), "exposure_s": 54}


def weaker() -> dict[str, Any]:
    servers = [server(f"ns{n}.example.net", f"192.0.2.5{n}", "timeout", serial=None) for n in (1, 2)]
    caches = [
        cache("Cloudflare", "https://cloudflare-dns.com/dns-query", "old", ttl=3571, expires=ahead(seconds=3559)),
        cache("Google", "https://dns.google/dns-query", "old", ttl=17, expires=ahead(seconds=5)),
    ]
    why = "port 53 is blocked from here: only resolvers over HTTPS could be asked; this shows less"
    return {**before(), "authoritative": servers, "resolvers": caches, "weaker": why, "findings": []}


def seen(document: dict[str, Any]) -> Picture:
    picture = read(document)
    assert picture is not None
    return picture


class Asked:
    """A stand-in for the command ``dns``: a real child that prints what the test gives it."""

    def __init__(self, folder: Path) -> None:
        self.script, self.lines = folder / "child.py", folder / "lines"
        self.script.write_text(CHILD)
        self.dies = ""
        self.prints()

    def prints(self, *lines: dict[str, Any] | str) -> None:
        told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.lines.write_text("".join(f"{line}\n" for line in told))

    def argv(self, _path: Path) -> list[str]:
        return [sys.executable, "-S", str(self.script), str(self.lines), self.dies]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked(tmp_path)
    monkeypatch.setattr("switchover.tui.screens.propagation.command", found.argv)
    return found


async def until(pilot: Pilot[int], holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await pilot.pause(0.01)
    await pilot.pause()


def screen_text(pilot: Pilot[int]) -> str:
    assert isinstance(pilot.app, Wizard)
    return rows(pilot.app)


async def opened(
    pilot: Pilot[int], ready: Callable[[Feed], bool] = lambda feed: bool(feed.pictures)
) -> PropagationScreen:
    """Open the screen by its key, and wait for what the child has to say."""
    await pilot.press("p")
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, PropagationScreen)
    await until(pilot, lambda: (screen.feed.pid is not None and ready(screen.feed)) or bool(screen.feed.ended))
    return screen


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", [before, lowered, cut, weaker])
async def test_the_picture(
    story: Story,
    wizard: Callable[[], Wizard],
    asked: Asked,
    state: Callable[[], dict[str, Any]],
    size: tuple[int, int],
) -> None:
    earlier = {**state(), "at": ago(seconds=72), "round": 2}
    asked.prints(earlier, state())
    async with wizard().run_test(size=size) as pilot:
        await opened(pilot, lambda feed: "shop.example.com" in feed.gaps)
        assert_golden(f"propagation-{state.__name__}", size, screen_text(pilot))


@pytest.mark.parametrize("size", SIZES)
async def test_before_anything_came_it_says_what_is_asked(
    story: Story, wizard: Callable[[], Wizard], asked: Asked, size: tuple[int, int]
) -> None:
    async with wizard().run_test(size=size) as pilot:
        await opened(pilot, lambda feed: True)
        assert_golden("propagation-nothing", size, screen_text(pilot))


@pytest.mark.parametrize("size", SIZES)
async def test_a_child_that_dies_is_told_with_its_last_words(
    story: Story, wizard: Callable[[], Wizard], asked: Asked, size: tuple[int, int]
) -> None:
    asked.prints(lowered())
    asked.dies = "first words\nno server of example.com answers"
    async with wizard().run_test(size=size) as pilot:
        await opened(pilot, lambda feed: bool(feed.ended))
        assert_golden("propagation-failed", size, screen_text(pilot))


async def test_after_it_has_ended_it_can_be_asked_again(
    story: Story, wizard: Callable[[], Wizard], asked: Asked
) -> None:
    asked.dies = "no route"
    async with wizard().run_test() as pilot:
        screen = await opened(pilot, lambda feed: bool(feed.ended))
        asked.dies = ""
        asked.prints(lowered())
        await pilot.press("r")
        await until(pilot, lambda: bool(screen.feed.pictures))
        assert screen.feed.ended == ""
        pid = screen.feed.pid
        await pilot.press("r")
        await pilot.pause()
        assert screen.feed.pid == pid  # while it asks, it is not started twice


@pytest.mark.parametrize("key", ["escape", "q"])
async def test_leaving_ends_the_child(story: Story, wizard: Callable[[], Wizard], asked: Asked, key: str) -> None:
    asked.prints(lowered())
    before = story.plan.read_bytes()
    async with wizard().run_test() as pilot:
        pid = (await opened(pilot)).feed.pid
        assert pid is not None
        assert is_there(pid)
        await pilot.press(key)
        await until(pilot, lambda: not is_there(pid))
        assert isinstance(pilot.app.screen, PlanScreen)
    assert story.plan.read_bytes() == before


async def test_closing_the_wizard_ends_the_child(story: Story, wizard: Callable[[], Wizard], asked: Asked) -> None:
    async with wizard().run_test() as pilot:
        pid = (await opened(pilot, lambda feed: True)).feed.pid
        assert pid is not None
        assert is_there(pid)
    assert not is_there(pid)


async def test_a_child_that_does_not_heed_the_end_is_killed(
    story: Story, wizard: Callable[[], Wizard], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchover.tui.feed.PATIENCE_S", 0.05)
    asked.script.write_text("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + CHILD)
    asked.prints(lowered())
    async with wizard().run_test() as pilot:
        pid = (await opened(pilot)).feed.pid
        assert pid is not None
    assert not is_there(pid)


async def test_lines_that_are_no_picture_are_counted_and_left_out(
    story: Story, wizard: Callable[[], Wizard], asked: Asked
) -> None:
    garbage = [b"Traceback", b"[1, 2]", b'{"name": 5}', b"[" * 100_000, b'{"round": NaN}', b"\xff\x00\x1b[2J"]
    asked.prints(lowered())
    asked.lines.write_bytes(b"\n".join([*garbage, asked.lines.read_bytes()]))
    async with wizard().run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert screen.feed.ignored == len(garbage)
        assert "6 lines from the asking made no sense" in screen_text(pilot)
        assert "59m12s" in screen_text(pilot)


async def test_each_name_has_its_picture(story: Story, wizard: Callable[[], Wizard], asked: Asked) -> None:
    asked.prints(lowered(), {**cut(), "name": "www.shop.example.com"})
    async with wizard().run_test() as pilot:
        screen = await opened(pilot, lambda feed: len(feed.pictures) == 2)
        order = []
        for key in ("right", "tab", "left", "shift+tab"):
            await pilot.press(key)
            await pilot.pause()
            assert f"propagation of {screen.name_shown}  " in screen_text(pilot)
            order.append(screen.name_shown.split(".")[0])
        assert order == ["www", "shop", "www", "shop"]


async def test_it_scrolls_to_the_findings(story: Story, wizard: Callable[[], Wizard], asked: Asked) -> None:
    asked.prints(before())
    async with wizard().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "1 error below: aaaa shop.example.com" in screen_text(pilot)
        assert "Remove the AAAA record" not in screen_text(pilot)
        await pilot.press("end")
        await until(pilot, lambda: "Remove the AAAA record" in screen_text(pilot))


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_help_tells_its_keys(
    story: Story, wizard: Callable[[], Wizard], asked: Asked, size: tuple[int, int]
) -> None:
    async with wizard().run_test(size=size) as pilot:
        await opened(pilot, lambda feed: True)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(pilot.app.screen, ReadScreen)
        text = screen_text(pilot)
        assert all(word in text for word in ("next name", "previous", "ask again", "back to the plan", "T0", "up/down"))


async def test_a_change_of_what_is_expected_asks_anew(
    story: Story, wizard: Callable[[], Wizard], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchover.tui.screens.propagation.DRAW_EVERY_S", 0.1)
    asked.prints(lowered())
    story.prepared()
    async with wizard().run_test() as pilot:
        screen = await opened(pilot)
        first = screen.feed.pid
        assert first is not None
        story.run()
        await pilot.pause(0.4)
        assert screen.feed.pid == first  # nothing that DNS depends on
        story.begin("cutover", "set-address shop.example.com")
        story.tell("cutover", "set-address shop.example.com", What.INTENT, before={})
        await until(pilot, lambda: screen.feed.pid not in (None, first) and not is_there(first))


def test_the_countdown_ends_at_the_low_ttl_before_the_cut_and_at_nothing_after_it() -> None:
    early, late = seen(lowered()), seen(cut())
    assert early.safe is not None
    assert late.safe is not None
    second = timedelta(seconds=1)

    assert propagation.exposed_s(early, early.safe - 3552 * second) == 3552
    assert propagation.exposed_s(early, early.safe - 61 * second) == 61
    assert propagation.exposed_s(early, early.safe + 9000 * second) == 60
    assert propagation.exposed_s(late, late.safe - second) == 1
    assert "none" not in propagation.clocks(late, late.safe - second / 2, None).plain
    assert "none  caches that obey TTLs have dropped" in propagation.clocks(late, late.safe, None).plain
    assert "passed  5s ago" in propagation.clocks(late, late.safe + 5 * second, None).plain


def test_without_t0_the_exposure_does_not_count_down() -> None:
    picture = seen(before())

    assert propagation.exposed_s(picture, NOW) == propagation.exposed_s(picture, NOW + timedelta(hours=9)) == 3600


@pytest.mark.parametrize("seconds", [-1, 2**31 + 1, True, 1.5, "60", None])
def test_an_exposure_that_is_no_number_of_seconds_is_not_known(seconds: Any) -> None:
    assert seen({**before(), "exposure_s": seconds}).exposure_s is None


def test_what_was_proved_earlier_is_not_told_as_seen_now() -> None:
    blind = replace(seen(lowered()), weaker="port 53 is blocked")

    assert "proved earlier; not to be seen now" in propagation.clocks(blind, NOW, None).plain
    silent = seen({**lowered(), "authoritative": [*lowered()["authoritative"], server("ns3", "192.0.2.9", "timeout")]})
    assert "proved earlier; now 2 of 3 give it" in propagation.clocks(silent, NOW, None).plain
    assert "not proved" in propagation.clocks(replace(blind, proved=False), NOW, None).plain


def test_an_address_is_marked_by_what_the_plan_expects_by_now() -> None:
    def marks(document: dict[str, Any], *states: str) -> str:
        picture = seen(
            {**document, "authoritative": [server("ns", "192.0.2.1", state) for state in states], "chain": []}
        )
        text = propagation.servers(picture, NOW, 200, ascii_only=True).plain
        return "".join(line[0] for line in text.splitlines()[2:])

    states = ("low", "new", "old", "other", "nxdomain", "timeout", "no-route", "never heard of")
    assert marks(before(), *states) == "vx~xx??x"
    assert marks(cut(), *states) == "~v~xx??x"


@pytest.mark.parametrize("width", [40, 78, 115])
def test_a_plain_terminal_gets_plain_marks_and_no_line_too_long(width: int) -> None:
    for document in (before(), lowered(), cut(), weaker()):
        picture = seen(document)
        parts = [
            propagation.servers(picture, NOW, width, ascii_only=True),
            propagation.resolvers(picture, NOW, width, ascii_only=True),
            propagation.findings(picture.oddities, width, ascii_only=True),
            propagation.notices(picture, Feed(["x"], ended="ended", ignored=3), ascii_only=True),
            propagation.clocks(picture, NOW, None),
            propagation.next_line(picture, NOW),
        ]
        for part in parts[:3]:
            assert all(len(line) <= width for line in part.plain.splitlines())
        assert all(part.plain.replace("…", "").isascii() for part in parts)


@pytest.mark.parametrize("field", [*before()])
@pytest.mark.parametrize("value", [None, "x", -1, 10**30, 1.5, True, [], [None, 5, {}], {}, {"phase": []}, HOSTILE])
def test_a_document_that_lacks_anything_is_drawn_all_the_same(field: str, value: Any) -> None:
    without = {key: each for key, each in before().items() if key != field}
    for document in (without, {**without, field: value}):
        picture = read(document)
        if picture is None:
            assert field == "name"
            continue
        texts = [
            propagation.clocks(picture, NOW, None),
            propagation.servers(picture, NOW, 78, ascii_only=False),
            propagation.resolvers(picture, NOW, 78, ascii_only=False),
            propagation.findings(picture.oddities, 78, ascii_only=False),
            propagation.next_line(picture, NOW),
            propagation.notices(picture, Feed([]), ascii_only=False),
            propagation.title([picture.name], picture.name, Feed([], {picture.name: picture}), NOW, 80),
        ]
        assert not any(character in text.plain for text in texts for character in "\x1b\x07\x9b\x00\u202e")


async def test_without_colour_nothing_is_darker_than_the_rest(
    story: Story, wizard: Callable[[], Wizard], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    asked.prints(before())
    async with wizard().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for name in ("head", "clocks", "notices", "servers", "resolvers", "findings", "next"):
            content = pilot.app.screen.query_one(f"#{name}", Static).content
            assert isinstance(content, Text)
            assert all(Style.parse(str(span.style)).color is None for span in content.spans)


async def test_hostile_text_from_outside_is_shown_as_text(
    story: Story, wizard: Callable[[], Wizard], asked: Asked
) -> None:
    row = {"host": HOSTILE, "address": HOSTILE, "state": HOSTILE, "says": HOSTILE, "values": [HOSTILE], "name": HOSTILE}
    finding = {"id": HOSTILE, "subject": HOSTILE, "severity": "error", "evidence": HOSTILE, "fix": HOSTILE}
    asked.prints({**before(), "authoritative": [row], "resolvers": [row], "findings": [finding], "weaker": HOSTILE})
    async with wizard().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for place in ("#servers", "#notices", "#head"):
            await pilot.click(place, offset=(5, 0))
        assert not any(character in screen_text(pilot) for character in "\x1b\x07\x9b\x00\u202e")
        assert pilot.app.is_running
