"""The screen of the Compose files: findings by severity, each service's update, and what bars the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.style import Style
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Static

from switchover.plan.journal import What
from switchover.tui.app import Wizard
from switchover.tui.screens.compose import ComposeScreen
from switchover.tui.screens.readiness import ReadinessScreen
from tests.readiness.rollouts import EXAMPLE
from tests.tui.conftest import SIZES, Story, assert_golden, rows

FILES = """
[compose]
files    = ["stack.yaml"]
dialect  = "stack"
services = { service-a = { startup = "20s", stateless = true } }
suppress = [
  { rule = "image-unreachable", reason = "pushed on the night" },
  { rule = "user-root", service = "service-a", reason = "it binds port 80", until = 2027-01-31 },
]
"""


@pytest.fixture
def stack(story: Story) -> Path:
    path = story.plan.with_name("stack.yaml")
    path.write_text(EXAMPLE.read_text())
    story.plan.write_text(story.plan.read_text() + FILES)
    return path


async def seen(pilot: Pilot[None]) -> str:
    """The screen once the files have been read."""
    app = pilot.app
    assert isinstance(app, Wizard)
    await app.workers.wait_for_complete()
    await pilot.pause()
    return rows(app)


@pytest.mark.parametrize("size", SIZES)
async def test_findings_and_updates_are_pages_of_one_screen(
    story: Story, stack: Path, wizard: Callable[[], Wizard], size: tuple[int, int]
) -> None:
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.press("a", "c")
        findings = await seen(pilot)
        assert isinstance(app.screen, ComposeScreen)
        await pilot.press("right")
        update = await seen(pilot)
        await pilot.press("end")
        advice = await seen(pilot)
        await pilot.press("right", "q")
        await pilot.pause()
        assert isinstance(app.screen, ReadinessScreen)
    assert_golden("compose-findings", size, findings)
    assert_golden("compose-update", size, update)
    assert_golden("compose-advice", size, advice)


@pytest.mark.parametrize("size", SIZES)
async def test_the_checklist_says_how_the_files_stood(
    story: Story, stack: Path, wizard: Callable[[], Wizard], size: tuple[int, int]
) -> None:
    says = "stack.yaml, read as stack: 1 service, 2 errors, 6 warnings, 3 hints"
    gate = {"name": "the Compose files are clean", "ok": False, "evidence": says, "details": [], "fix": ""}
    story.run().begin("readiness").tell("readiness", "", What.GATES, gates=[gate])
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.press("a")
        await pilot.pause()
        assert_golden("readiness-files", size, rows(app))


async def test_a_file_that_is_mended_is_read_again(story: Story, stack: Path, wizard: Callable[[], Wizard]) -> None:
    stack.write_text("services: [")
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "c")
        assert "The Compose files cannot be read" in await seen(pilot)
        stack.write_text(EXAMPLE.read_text())
        screen = app.screen
        assert isinstance(screen, ComposeScreen)
        screen._tick()
        assert "healthcheck-missing service-a" in await seen(pilot)


async def test_a_service_that_cannot_be_simulated_says_why(
    story: Story, stack: Path, wizard: Callable[[], Wizard]
) -> None:
    stack.write_text(EXAMPLE.read_text().replace("replicas: 4", "replicas: 0"))
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "c")
        await seen(pilot)
        await pilot.press("right")
        text = await seen(pilot)
    assert "Its update cannot be simulated" in text
    assert "'0' is not a value" in text


async def test_hostile_text_of_a_file_is_shown_as_text(story: Story, stack: Path, wizard: Callable[[], Wizard]) -> None:
    stack.write_text('services: {web: {extends: {service: "[@click=app.quit()]x[/] \\e]0;t\\a"}}}')
    app = wizard()
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("a", "c")
        text = await seen(pilot)
    assert "[@click=app.quit()]x" in text
    assert "\x1b" not in text


async def test_without_colour_and_with_few_marks_the_words_stay(
    story: Story, stack: Path, wizard: Callable[[], Wizard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "linux")
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "c")
        assert "x healthcheck-missing" in await seen(pilot)
        await pilot.press("right")
        text = await seen(pilot)
        shown = app.screen.query_one("#body-text", Static).content
    assert isinstance(shown, Text)
    assert all(Style.parse(str(span.style)).color is None for span in shown.spans)
    assert "4 serve ....." in text
    assert shown.plain.isascii()
