"""The readiness screen: by category with its score, filtered, in detail; and what is signed on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.style import Style
from textual.widgets import Input, OptionList, Static

from switchover.plan.file import load
from switchover.plan.journal import What
from switchover.tui.app import Wizard
from switchover.tui.screens.ask import Sign
from switchover.tui.screens.plan import PlanScreen
from switchover.tui.screens.read import ReadScreen
from switchover.tui.screens.readiness import ReadinessScreen
from tests.tui.conftest import SIZES, Story, assert_golden, rows
from tests.tui.test_keys import HOSTILE

ASKED = """
[readiness]
availability = 99.9
not_applicable = { cdn = "one office uses it" }
waived = { off-site = { reason = "ordered for January", until = 2027-01-31, owner = "dana" } }

[topology]
nodes = [{ name = "m1", role = "manager", cpu = 2, memory_gb = 8, address = "198.51.100.20", runs = ["web"] }]
"""


def asked(story: Story) -> None:
    """The built-in checklist, some of it signed, stale and expired."""
    story.plan.write_text(story.plan.read_text() + ASKED)
    story.tell("readiness", "", What.ATTESTED, item="staging", note="staging.example.com runs 4.2", link="https://w/1")
    story.tell("readiness", "", What.ATTESTED, item="backups", note="nightly", expires="2026-12-05")
    about = {"title": "Users were told", "window": {"length": 3600}}
    story.tell("readiness", "", What.ATTESTED, item="notice", note="mail sent", about=about)


def own(story: Story) -> None:
    """A plan with an item of its own and nothing else."""


def unreadable(story: Story) -> None:
    story.plan.write_text(story.plan.read_text() + '\n[readiness]\navailability = 99.9\npacks = ["gone.toml"]\n')


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", [asked, own, unreadable])
async def test_the_readiness_screen(
    story: Story, wizard: Callable[[], Wizard], state: Callable[[Story], None], size: tuple[int, int]
) -> None:
    state(story)
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.press("a")
        await pilot.pause()
        assert isinstance(app.screen, ReadinessScreen)
        text = rows(app)
    assert_golden(f"readiness-{state.__name__}", size, text)


@pytest.mark.parametrize("size", SIZES)
async def test_the_plan_screen_says_what_is_missing(
    story: Story, wizard: Callable[[], Wizard], size: tuple[int, int]
) -> None:
    asked(story)
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert_golden("plan-asked", size, rows(app))


@pytest.mark.parametrize("size", SIZES)
async def test_an_item_is_signed_with_link_owner_and_last_day(
    story: Story, wizard: Callable[[], Wizard], size: tuple[int, int]
) -> None:
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.press("a", "a")
        await pilot.pause()
        assert_golden("sign", size, rows(app))
        await pilot.press(*"mail", "tab", *"x.org", "tab", *"sam", "tab", *"soon", "enter")
        await pilot.pause()
        assert isinstance(app.screen, Sign)
        assert "soon: a day such as" in rows(app)
        app.screen.query_one("#ask-expires", Input).value = "90d"
        await pilot.press("enter")
        await pilot.pause()
        await pilot.pause()
        assert isinstance(app.screen, ReadinessScreen)
    (entry,) = load(story.plan).entries
    assert {key: entry.data[key] for key in ("item", "note", "link", "owner", "expires")} == {
        "item": "notice",
        "note": "mail",
        "link": "x.org",
        "owner": "sam",
        "expires": "2027-03-06",
    }


async def test_a_held_enter_signs_nothing(story: Story, wizard: Callable[[], Wizard]) -> None:
    app = wizard()
    async with app.run_test() as pilot:
        await pilot.press("a", *["enter"] * 8)
        await pilot.pause()
        assert isinstance(app.screen, Sign)
        assert "a note is needed" in rows(app)
        await pilot.press("escape", "q")
        await pilot.pause()
        assert isinstance(app.screen, PlanScreen)
    assert load(story.plan).entries == ()


async def test_what_a_step_shows_cannot_be_signed(story: Story, wizard: Callable[[], Wizard]) -> None:
    asked(story)
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "down", "down", "enter")
        await pilot.pause()
        assert isinstance(app.screen, ReadinessScreen)
        assert "the step readiness shows it; nobody signs this" in rows(app)


async def test_filters_leave_what_they_name(story: Story, wizard: Callable[[], Wizard]) -> None:
    asked(story)
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        counts = []
        for _ in range(4):
            assert isinstance(app.screen, ReadinessScreen)
            counts.append(len(app.screen.shown))
            await pilot.press("f")
            await pilot.pause()
        assert counts[0] > counts[1] > counts[2] > counts[3] == 2
        assert len(app.screen.shown) == counts[0]


async def test_the_arrows_go_from_category_to_category_and_round(story: Story, wizard: Callable[[], Wizard]) -> None:
    asked(story)
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, ReadinessScreen)
        seen = []
        for _ in range(14):
            assert screen.chosen is not None
            seen.append(screen.chosen.category)
            await pilot.press("right")
            await pilot.pause()
        assert len(set(seen)) == 14
        await pilot.press("left")
        await pilot.pause()
        assert screen.chosen is not None
        assert screen.chosen.category == "cost"
        assert "cost  0 of 2" in rows(app)


async def test_a_signature_made_elsewhere_is_seen(story: Story, wizard: Callable[[], Wizard]) -> None:
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        story.tell("readiness", "", What.ATTESTED, item="notice", note="mail sent")
        await pilot.pause(0.8)
        assert "1 of 1 required" in rows(app)
        assert "dana@ops-1: mail sent" in rows(app)


async def test_the_details_can_be_read_whole_without_a_mouse(story: Story, wizard: Callable[[], Wizard]) -> None:
    asked(story)
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "space")
        await pilot.pause()
        assert isinstance(app.screen, ReadScreen)
        assert "asked by 000-01" in rows(app)


async def test_the_help_says_what_the_marks_mean(story: Story, wizard: Callable[[], Wizard]) -> None:
    asked(story)
    app = wizard()
    async with app.run_test(size=(80, 36)) as pilot:
        await pilot.press("a", "question_mark")
        await pilot.pause()
        assert "signed, but what it speaks of has changed" in rows(app)


async def test_without_colour_the_words_stay(
    story: Story, wizard: Callable[[], Wizard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    asked(story)
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        text = rows(app)
        detail = app.screen.query_one("#detail", Static).content
        assert all(Style.parse(str(span.style)).color is None for span in detail.spans)  # type: ignore[union-attr]
        prompt = app.screen.query_one(OptionList).get_option_at_index(1).prompt
        assert all(Style.parse(str(span.style)).color is None for span in prompt.spans)  # type: ignore[union-attr]
    assert "required" in text
    assert "signed" in text


async def test_a_terminal_of_the_console_gets_ascii_marks(
    story: Story, wizard: Callable[[], Wizard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "linux")
    asked(story)
    app = wizard()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        assert not {"○", "✓", "≠", "…"} & set(rows(app).split("readiness  ")[1])


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_text_of_a_pack_is_shown_as_text(
    story: Story, wizard: Callable[[], Wizard], size: tuple[int, int]
) -> None:
    words = HOSTILE.replace("\x00", "").encode("unicode_escape").decode().replace("\\x", "\\u00")
    item = f'[[checklist]]\nid = "x"\ntitle = "{words}"\nwhy = "{words}"\n'
    Path(story.plan.with_name("ours.toml")).write_text(f'title = "x"\n{item}')
    story.plan.write_text(story.plan.read_text() + '\n[readiness]\navailability = 99\npacks = ["ours.toml"]\n')
    app = wizard()
    async with app.run_test(size=size) as pilot:
        await pilot.press("a", "enter")
        await pilot.pause()
        assert isinstance(app.screen, Sign)
        text = rows(app)
    assert "[@click=app.quit()]x" in text
    assert not {"\x1b", "\u202e", "\x9b"} & set(text)
