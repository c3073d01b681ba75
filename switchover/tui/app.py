"""The wizard. It reads plans, starts the runner as a process of its own, and appends people's decisions."""

from __future__ import annotations

import gc
import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import App
from textual.binding import Binding

from switchover.plan.outline import STEPS, StepName
from switchover.tui.screens.plan import PlanScreen
from switchover.tui.screens.plans import PlansScreen
from switchover.tui.screens.read import ReadScreen
from switchover.words import glyph, plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.screen import Screen

    from switchover.plan.preview import PreviewAction

    Preview = Callable[[Path, StepName], tuple[PreviewAction, ...]]

STATES = ("waiting", "ready", "running", "held", "done", "stale", "failed", "unknown", "undone")


class Wizard(App[int]):
    """The application; ``now`` can be given so that a test's clock stands still."""

    CSS_PATH = "switchover.tcss"
    TITLE = "switchover"
    ENABLE_COMMAND_PALETTE = True
    animation_level = "none"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  Textual's own shape

    def __init__(
        self,
        target: Path,
        preview: Preview | None = None,
        report: Callable[[Path], str] | None = None,
        now: datetime | None = None,
    ) -> None:
        super().__init__()
        self.target = target
        self.preview = preview
        self._report = report
        self._now = now
        self.theme = "textual-dark"
        self.ascii_only = os.environ.get("TERM") == "linux"

    @property
    def clock_stands(self) -> bool:
        """Whether the clock is a test's."""
        return self._now is not None

    def now(self) -> datetime:
        """The moment that everything on the screen is drawn for."""
        return self._now or datetime.now(UTC)

    def on_mount(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGHUP):
            self._loop_handle(sign)
        self.push_screen(PlansScreen(self.target) if self.target.is_dir() else PlanScreen(self.target))

    def _loop_handle(self, sign: signal.Signals) -> None:
        """Leave on a signal with the terminal put right; the runner is a process of its own and goes on."""
        import asyncio

        asyncio.get_running_loop().add_signal_handler(sign, self.exit, 128 + sign)

    def open_plan(self, path: Path) -> None:
        self.push_screen(PlanScreen(path))

    def leave(self, screen: Screen[None]) -> None:
        """Leave a plan: back to the list it was opened from, or out."""
        if self.target.is_dir():
            screen.dismiss()
        else:
            self.exit(0)

    def show_report(self, path: Path) -> None:
        text = self._report(path) if self._report is not None else "no report"
        self.push_screen(ReadScreen("report, from the journal alone", Text(plain(text, 1 << 20))))

    def show_help(self, screen: Screen[None], about: Text | None = None) -> None:
        """The keys of the screen one comes from, and what its words mean; the plan's, where there is no ``about``."""
        text = Text("Keys\n", "bold")
        for binding in screen.BINDINGS:
            if isinstance(binding, Binding) and binding.show:
                key = binding.key.split(",")[0].replace("question_mark", "?")
                text.append(f"  {key:<8} {binding.description:<11} {binding.tooltip}\n")
        text.append_text(about if about is not None else self._about())
        self.push_screen(ReadScreen("help", text))

    def _about(self) -> Text:
        """Marks and steps of a plan."""
        text = Text("  up/down  choose      another step, or another plan\n")
        text.append("\nMarks\n", "bold")
        for state in STATES:
            text.append(f"  {glyph(state, ascii_only=self.ascii_only)} {state}\n")
        text.append("\nSteps\n", "bold")
        for info in STEPS:
            live = " (method replicate)" if info.name is StepName.REPLICATE else ""
            text.append(f"  {info.title:<14} {info.purpose}{live}\n")
        text.append(
            "\nThe runner is a process of its own: leaving the wizard or losing the terminal stops nothing.\n"
            "Until users have written on the new host, going back loses nothing; after that their rows are\n"
            "counted, kept aside, and named before anything is done. With a live copy they come back as well.\n"
        )
        return text

    def _fatal_error(self) -> None:
        """Show a crash without the values of variables: a connection text may be among them."""
        import traceback

        self.bell()
        self._exit_renderables.append(Text(plain(traceback.format_exc(), 20000)))
        self._close_messages_no_wait()


def run(target: Path, preview: Preview | None = None, report: Callable[[Path], str] | None = None) -> int:
    """Open the wizard on a plan or a folder of plans; returns the exit code."""
    gc.collect()
    gc.freeze()  # what was imported stays: to search it for garbage held the keys up for 50 ms and more
    return Wizard(target, preview, report).run() or 0
