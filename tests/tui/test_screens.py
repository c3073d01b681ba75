"""Each screen in each state, as text, at both sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from switchover.plan.journal import What
from switchover.tui.app import Wizard
from tests.tui.conftest import NOW, SIZES, Story, assert_golden, rows


def new(story: Story) -> None:
    """Nothing has been done."""


def done(story: Story) -> None:
    story.prepared().run().begin("cutover", "fence-source").complete("cutover")
    story.begin("verify").complete("verify").begin("finish").complete("finish")
    story.tell("", "", What.ENDED, run="r1", outcome="done", reason="")


def ready(story: Story) -> None:
    story.prepared()


def running(story: Story) -> None:
    story.prepared().run().begin("cutover", "fence-source", "dump-final", "open-target")
    story.tell("cutover", "fence-source", What.INTENT, before={})
    story.tell("cutover", "fence-source", What.DONE, proof={}, result={}, seconds=0.4)
    story.tell("cutover", "dump-final", What.INTENT, before={})


def failed(story: Story) -> None:
    story.prepared().run().begin("cutover", "fence-source")
    story.tell("cutover", "fence-source", What.INTENT, before={})
    story.tell("cutover", "fence-source", What.FAILED, reason="no lock within 120 s; held up by pid 7 app", seconds=120)
    story.tell("cutover", "fence-source", What.UNDO).tell("cutover", "fence-source", What.UNDONE, proof={})
    story.tell(
        "cutover", "", What.UNDONE, reason="no lock within 120 s. Everything was put back as it was.", asked=False
    )
    story.tell("", "", What.ENDED, run="r1", outcome="no", reason="")


def unknown(story: Story) -> None:
    story.prepared().run().begin("cutover", "open-target")
    story.tell("cutover", "open-target", What.INTENT, before={})
    story.tell("cutover", "open-target", What.UNKNOWN, reason="the server does not answer", seen={})
    story.tell("cutover", "", What.UNKNOWN, reason="open the target: the server does not answer")
    story.tell("", "", What.ENDED, run="r1", outcome="unknown", reason="")


def held(story: Story) -> None:
    story.prepared().run().begin("cutover", "fence-source")
    story.tell(
        "cutover",
        "",
        What.HELD,
        key="window",
        reason="the window opens later",
        kind="time",
        until="2026-12-06T04:00:00+00:00",
    )
    story.tell("", "", What.ENDED, run="r1", outcome="not-yet", reason="")


STATES = [new, ready, running, failed, unknown, held, done]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", STATES)
async def test_the_plan_screen(
    story: Story, wizard: Callable[[], Wizard], state: Callable[[Story], None], size: tuple[int, int]
) -> None:
    state(story)
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = rows(app)
    assert_golden(f"plan-{state.__name__}", size, text)


@pytest.mark.parametrize("size", SIZES)
async def test_the_list_of_plans_shows_a_bad_one_with_its_reason(
    story: Story, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    story.prepared()
    story.plan.with_name("bad.toml").write_text("version = 1\nname = 5\n")
    monkeypatch.chdir(story.plan.parent)
    app = Wizard(Path(), now=NOW)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        text = rows(app)
    assert "unreadable" in text
    assert_golden("plans", size, text)


@pytest.mark.parametrize("size", SIZES)
async def test_the_cutover_is_confirmed_by_the_plans_name(
    story: Story, wizard: Callable[[], Wizard], size: tuple[int, int]
) -> None:
    story.prepared()
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        assert_golden("confirm", size, rows(app))


@pytest.mark.parametrize("size", SIZES)
async def test_the_help(story: Story, wizard: Callable[[], Wizard], size: tuple[int, int]) -> None:
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert_golden("help", size, rows(app))


@pytest.mark.parametrize("state", STATES)
async def test_every_key_is_seen_at_80_columns(
    story: Story, wizard: Callable[[], Wizard], state: Callable[[Story], None]
) -> None:
    state(story)
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        last = rows(app).splitlines()[-1]
    assert all(
        word in last for word in ("next", "go back", "abort", "attest", "report", "propagation", "log", "help", "leave")
    )
