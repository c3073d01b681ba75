"""The wizard on a plan with a live copy: its own step, how the copy follows, and the two clocks of the cutover."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from switchover.plan.journal import What
from switchover.tui import lagging
from switchover.tui.app import Wizard
from switchover.tui.screens.plan import PlanScreen
from tests.tui.conftest import SIZES, Story, assert_golden, rows

CHILD = "import sys, time\nprint(open(sys.argv[1]).read(), flush=True)\ntime.sleep(60)\n"
FOLLOWS: dict[str, Any] = {
    "at": "2026-12-06T03:10:00Z",
    "from": "old.example.net:5432/shop",
    "to": "new.example.net:5432/switchover_copy_aaaaaaaaaaaa",
    "name": "switchover_aaaaaaaaaaaa",
    "behind_bytes": 3_400_000,
    "behind_s": 1.4,
    "slot": "reserved",
    "held_bytes": 61_000_000,
    "worker": 4711,
    "tables": 212,
    "apply_errors": 0,
    "waiting": [],
    "findings": [{"id": "source-disk", "severity": "info", "evidence": "told elsewhere"}],
}
BROKEN: dict[str, Any] = FOLLOWS | {
    "worker": None,
    "apply_errors": 7,
    "findings": [
        {
            "id": "apply-fails",
            "severity": "block",
            "evidence": "applying has failed 7 times, and stands still at 0/3A91F08",
            "fix": "remove the row that is in the way, which the subscriber's server log names",
        },
        {"id": "slot-room", "severity": "warn", "evidence": "the slot is lost after 2.1 GB more", "fix": ""},
    ],
}


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """A stand-in for the command ``lag``: a real child that prints one look."""
    script, look = tmp_path / "child.py", tmp_path / "look"
    script.write_text(CHILD)
    monkeypatch.setattr(lagging, "command", lambda path: [sys.executable, "-S", str(script), str(look)])

    def say(document: dict[str, Any]) -> None:
        look.write_text(json.dumps(document))

    return say


@pytest.fixture
def replicating(story: Story) -> Story:
    text = story.plan.read_text()
    story.plan.write_text(text.replace("[dns]", 'method = "replicate"\n\n[dns]', 1))
    return story


def following(story: Story) -> None:
    """The copy is there and follows."""
    story.prepared().run().begin("replicate", "publish", "follow")
    story.tell("replicate", "publish", What.INTENT, before={})
    story.tell("replicate", "publish", What.DONE, proof={"tables": 212}, result={}, seconds=0.4)
    story.tell("replicate", "follow", What.INTENT, before={})
    story.tell("replicate", "follow", What.DONE, proof={}, result={}, seconds=0.2)


def moved(story: Story) -> None:
    """Undone once, then carried through."""
    following(story)
    story.complete("replicate").tell("", "", What.ENDED, run="r1", outcome="done", reason="")
    names = ("fence-source", "open-target", "set-address shop.example.com", "set-address www.shop.example.com")
    story.run().begin("cutover", *names)
    story.tell("cutover", "fence-source", What.INTENT, before={})
    story.tell("cutover", "fence-source", What.UNDO).tell("cutover", "fence-source", What.UNDONE, proof={})
    story.tell("cutover", "", What.UNDONE, reason="not drained within 24s", asked=False)
    story.begin("cutover", *names, attempt=2)
    for name in names:
        story.tell("cutover", name, What.INTENT, before={})
        story.tell("cutover", name, What.DONE, proof={}, result={}, seconds=0.4)
    story.complete("cutover").tell("", "", What.ENDED, run="r1", outcome="done", reason="")


async def shown(pilot: Pilot[int], step: str) -> str:
    """The screen with that step chosen, once the child has spoken."""
    screen = pilot.app.screen
    assert isinstance(screen, PlanScreen)
    async with asyncio.timeout(20):
        while screen.lag is not None and screen.lag.latest is None and not screen.lag.ended:
            await pilot.pause(0.01)
    rail = screen.query_one(OptionList)
    rail.highlighted = rail.get_option_index(step)
    await pilot.pause()
    screen.redraw()
    await pilot.pause()
    assert isinstance(pilot.app, Wizard)
    return rows(pilot.app)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "state", "document", "step"),
    [
        ("live-follows", following, FOLLOWS, "replicate"),
        ("live-broken", following, BROKEN, "replicate"),
        ("live-away", following, {"trouble": "new.example.net:5432/shop: connection refused"}, "replicate"),
        ("live-moved", moved, FOLLOWS, "cutover"),
    ],
)
async def test_the_live_copy_is_shown_as_it_follows(
    replicating: Story,
    wizard: Callable[[], Wizard],
    says: Callable[[dict[str, Any]], None],
    name: str,
    state: Callable[[Story], None],
    document: dict[str, Any],
    step: str,
    size: tuple[int, int],
) -> None:
    state(replicating)
    says(document)
    async with wizard().run_test(size=size) as pilot:
        text = await shown(pilot, step)
    assert_golden(name, size, text)


async def test_what_looks_at_the_copy_ends_with_the_screen(
    replicating: Story, wizard: Callable[[], Wizard], says: Callable[[dict[str, Any]], None]
) -> None:
    following(replicating)
    says(FOLLOWS)
    async with wizard().run_test() as pilot:
        await shown(pilot, "replicate")
        screen = pilot.app.screen
        assert isinstance(screen, PlanScreen)
        assert screen.lag is not None
        pid = screen.lag.pid
        assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_without_a_live_copy_no_server_is_asked(replicating: Story, wizard: Callable[[], Wizard]) -> None:
    replicating.prepared()
    async with wizard().run_test() as pilot:
        await pilot.pause()
        screen = pilot.app.screen
        assert isinstance(screen, PlanScreen)
        assert screen.lag is None
        assert "Replicate" in await shown(pilot, "replicate")


async def test_another_method_in_the_plan_shows_other_steps(story: Story) -> None:
    story.prepared()
    app = Wizard(story.plan)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert "Replicate" not in rows(app)
        text = story.plan.read_text()
        story.plan.write_text(text.replace("[dns]", 'method = "replicate"\n\n[dns]', 1))
        async with asyncio.timeout(20):
            while "Replicate" not in rows(app):
                await pilot.pause(0.05)


@pytest.mark.parametrize("line", ["{}", "[]", '{"findings": [1, {"severity": 2}], "tables": "x"}', '{"from": ["a"]}'])
def test_a_look_of_another_shape_is_read_as_missing(line: str) -> None:
    feed = lagging.LagFeed([])
    feed._take(line.encode())
    feed._take(b"no json")
    drawn = "\n".join(each.plain for each in lagging.lines(feed, ascii_only=True))
    assert "Live copy" in drawn
