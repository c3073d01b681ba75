"""The folder's plans, each with its state and what is next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from switchover.plan.decide import window_clock
from switchover.plan.outline import STEP
from switchover.tui import draw
from switchover.tui.watch import View, look
from switchover.words import plain

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from switchover.tui.app import Wizard


class PlansScreen(Screen[None]):
    """A list of plans; one that cannot be read says why."""

    app: Wizard
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", show=True, tooltip="open the plan"),
        Binding("question_mark,f1", "help", "help", tooltip="the keys and the words"),
        Binding("q,ctrl+c", "leave", "leave", tooltip="leave"),
    ]

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def compose(self) -> ComposeResult:
        yield Static(f" plans in {plain(str(self.folder), 200)}", id="head", markup=False)
        yield OptionList(id="plans", markup=False)
        yield Static(id="next", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._fill()

    def on_screen_resume(self) -> None:
        self._fill()

    def _fill(self) -> None:
        plans = self.query_one(OptionList)
        plans.clear_options()
        views = [look(path) for path in sorted(self.folder.glob("*.toml"))]
        plans.add_options([Option(self._row(view), id=str(view.path)) for view in views])
        says = "⏎ opens the plan; nothing is run before you say so"
        self.query_one("#next", Static).update(says if views else "no plan here; `switchover new` writes one")
        plans.focus()

    def _row(self, view: View) -> Text:
        if view.spec is None or view.progress is None:
            return Text.assemble(
                draw.mark("failed", ascii_only=self.app.ascii_only),
                f" {plain(view.path.name):<24} unreadable: {plain(view.trouble, 160)}",
            )
        progress = view.progress
        state = "running" if view.running else "done" if progress.finished else "ready"
        following = STEP[progress.next].title if progress.next else "nothing"
        clock = window_clock(view.spec, progress, self.app.now())
        window = f"   window {clock.says}" if clock is not None else ""
        word = "rolled back" if progress.rolled_back else "finished" if progress.finished else f"next: {following}"
        return Text.assemble(
            draw.mark(state, ascii_only=self.app.ascii_only),
            (f" {plain(view.spec.name):<24}", "bold"),
            f" {word}{window}",
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.app.open_plan(Path(event.option.id or ""))

    def action_open(self) -> None:
        self.query_one(OptionList).action_select()

    def action_help(self) -> None:
        self.app.show_help(self)

    def action_leave(self) -> None:
        self.app.exit(0)
