"""Plans in known states, and screens as text."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from switchover.plan.file import MARKER, load
from switchover.plan.journal import FIRST, Draft, What, seal, to_toml
from switchover.tui.app import Wizard
from tests.plan.conftest import PLAN

NOW = datetime(2026, 12, 6, 3, 10, tzinfo=UTC)
GOLDEN = Path(__file__).with_name("golden")
SIZES = [(120, 36), (80, 24)]
CHECKLIST = '\n[[checklist]]\nid = "notice"\ntitle = "Users were told"\n'


def rows(app: Wizard) -> str:
    """The screen as a person sees it, without colour; Textual has no public way to read it."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def assert_golden(name: str, size: tuple[int, int], text: str) -> None:
    """Compare with the kept screen; UPDATE_GOLDEN=1 keeps this one."""
    path = GOLDEN / f"{name}.{size[0]}x{size[1]}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


class Story:
    """Writes a journal as a runner would, by a clock of its own."""

    def __init__(self, plan: Path) -> None:
        self.plan = plan

    def tell(self, step: str, action: str, what: What, **data: Any) -> Story:
        entries = load(self.plan).entries
        at = NOW - timedelta(minutes=10) + timedelta(seconds=len(entries))
        before = entries[-1].chain if entries else FIRST
        entry = seal(Draft(step, action, what, data), len(entries) + 1, at, "dana@ops-1", before)
        with self.plan.open("a") as file:
            file.write(("" if entries else f"\n{MARKER}\n") + to_toml(entry))
        return self

    def run(self) -> Story:
        self.tell("", "", What.CREATED, plan_id="a" * 32, version="0")
        return self.tell("", "", What.RUN, run="r1", pid=1, epoch=1, version="0", through="finish")

    def begin(self, step: str, *actions: str, attempt: int = 1) -> Story:
        listed = [{"id": each, "title": each.replace("-", " "), "does": [], "undoes": ""} for each in actions]
        return self.tell(step, "", What.BEGIN, attempt=attempt, actions=listed)

    def complete(self, step: str, **facts: Any) -> Story:
        from switchover.plan.outline import STEP, StepName
        from switchover.plan.spec import subtree

        relied = subtree(load(self.plan).spec, STEP[StepName(step)].relies_on)
        return self.tell(step, "", What.COMPLETE, relied=relied, facts=facts, seconds=12.5)

    def prepared(self) -> Story:
        """Everything before the cutover is done."""
        self.run().begin("readiness").complete("readiness")
        self.begin("rehearsal").complete("rehearsal", seconds={"dump": 300, "restore": 900, "compare": 120})
        self.begin("lower-ttl").complete(
            "lower-ttl",
            t0="2026-12-03T00:00:00+00:00",
            safe="2026-12-03T01:00:02+00:00",
            lead_ends="2026-12-05T00:00:00+00:00",
            original_ttl={"shop.example.com": 3600},
        )
        return self.begin("window").complete("window").tell("", "", What.ENDED, run="r1", outcome="done", reason="")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.delenv("NO_COLOR", raising=False)
    plan = tmp_path / "shop.toml"
    plan.write_text(PLAN + CHECKLIST)
    return Story(plan)


@pytest.fixture
def wizard(story: Story) -> Callable[[], Wizard]:
    return lambda: Wizard(story.plan, now=NOW)
