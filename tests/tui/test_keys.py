"""No key does what nobody meant, and nothing from outside acts."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from switchover.plan.file import load
from switchover.plan.journal import What
from switchover.tui import watch
from switchover.tui.app import Wizard
from switchover.tui.screens import ask
from switchover.tui.screens.plan import PlanScreen
from tests.tui.conftest import Story, rows

HOSTILE = "[@click=app.quit()]x[/] a[/] b \x1b]0;owned\x07\x1b[31m \u202e evil \x9b2J \x00 " + "y" * 5000


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the wizard would have started; the runner itself is tested by whole switchovers."""
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr("switchover.tui.screens.plan.start_runner", lambda path, *words: found.append(words))
    return found


async def test_a_held_enter_starts_no_cutover(
    story: Story, wizard: Callable[[], Wizard], started: list[tuple[str, ...]]
) -> None:
    story.prepared()
    app = wizard()
    async with app.run_test() as pilot:
        await pilot.press(*["enter"] * 8)
        await pilot.pause()
        assert isinstance(app.screen, ask.Ask)
    assert started == []


async def test_only_the_plans_name_starts_the_cutover(
    story: Story, wizard: Callable[[], Wizard], started: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "DEAF_S", 0.0)
    story.prepared()
    app = wizard()
    async with app.run_test() as pilot:
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"acme", "enter")
        assert started == []
        await pilot.press(*"-shop", "enter")
        await pilot.pause()
    assert started == [("run", "--through", "cutover", "--yes")]


async def test_escape_goes_back_and_nothing_has_changed(
    story: Story, wizard: Callable[[], Wizard], started: list[tuple[str, ...]]
) -> None:
    story.prepared()
    before = story.plan.read_bytes()
    app = wizard()
    async with app.run_test() as pilot:
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, PlanScreen)
    assert started == []
    assert story.plan.read_bytes() == before


async def test_an_attestation_is_signed_into_the_journal(
    story: Story, wizard: Callable[[], Wizard], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = wizard()
    async with app.run_test() as pilot:
        await pilot.press("a")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press(*"mail", "enter")
        await pilot.pause()
    (entry,) = load(story.plan).entries
    assert entry.what is What.ATTESTED
    assert entry.data == {"item": "notice", "note": "mail", "about": {"title": "Users were told"}}


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_hostile_text_is_shown_as_text(
    story: Story, wizard: Callable[[], Wizard], started: list[tuple[str, ...]], size: tuple[int, int]
) -> None:
    story.prepared().run().begin("cutover", "fence-source")
    story.tell("cutover", "", What.GATES, gates=[{"name": HOSTILE, "ok": False, "evidence": HOSTILE, "fix": HOSTILE}])
    story.tell("cutover", "fence-source", What.INTENT, before={})
    story.tell("cutover", "fence-source", What.FAILED, reason=HOSTILE, seconds=1)
    story.tell("cutover", "", What.FAILED, reason=HOSTILE)
    story.tell("", "", What.ENDED, run="r1", outcome="no", reason=HOSTILE)
    live = story.plan.with_name("shop.toml.live")
    live.write_text(
        '{"kind": "log", "say": "[@click=app.quit()]x \\u001b[31m", "step": "a", "action": "b", "at": ""}\n'
    )
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.5)
        text = rows(app)
        await pilot.click("#detail", offset=(5, 5))
        await pilot.click("#log", offset=(5, 1))
        await pilot.pause()
        assert app.is_running
    assert not any(character in text for character in "\x1b\x07\x9b\x00\u202e")
    assert started == []


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(story: Story, sign: signal.Signals) -> None:
    story.prepared()
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "switchover", str(story.plan)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(follower)
    seen = b""
    while b"Readiness" not in seen:
        seen += os.read(leader, 65536)
    child.send_signal(sign)
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:
            break
        seen += chunk
        if not chunk:
            break
    os.close(leader)
    assert child.wait(timeout=10) == 128 + sign
    assert seen.rfind(b"\x1b[?1049l") > seen.rfind(b"\x1b[?1049h")
    assert seen.rfind(b"\x1b[?1000l") > seen.rfind(b"\x1b[?1000h")


def test_a_new_run_starts_its_ticks_anew(tmp_path: Path) -> None:
    live = tmp_path / "live"
    tail = watch.Tail(live)
    assert tail.read() == []
    live.write_text(
        '{"kind": "log", "say": "one", "step": "s", "action": "a", "at": "2026-01-01T00:00:00.000Z"}\n{"kind"'
    )
    assert tail.read() == ["00:00:00Z s a: one"]
    live.write_text('{"kind": "log", "say": "two", "step": "s", "action": "", "at": ""}\n')
    assert tail.read() == ["Z s: two"]


def test_the_wizard_needs_no_adapter_to_start() -> None:
    code = "import sys, switchover.tui.app; print([m for m in ('psycopg', 'dns', 'httpx') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
