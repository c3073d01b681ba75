"""The plan's Compose files: what stands in them against production, and how each service's update would go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from switchover.tui import compose, draw
from switchover.tui.watch import look, stamp

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from switchover.tui.app import Wizard
    from switchover.tui.compose import Files
    from switchover.tui.watch import View

LOOK_EVERY_S = 1.0


class ComposeScreen(Screen[None]):
    """Reads the files in a thread, again whenever one of them or the plan changes; it changes nothing."""

    app: Wizard
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,tab", "page(1)", "next", priority=True, tooltip="the findings, then each service's update"),
        Binding("left,shift+tab", "page(-1)", "previous", priority=True, tooltip="the page before"),
        Binding("question_mark,f1", "help", "help", tooltip="the keys and the marks"),
        Binding("q,escape", "leave", "back", tooltip="back to the checklist"),
        Binding("ctrl+c", "leave", "back", show=False),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.files: Files | None = None
        self._page = "findings"
        self._stamps: object = None
        self._looking = False

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        with VerticalScroll(id="read"):
            yield Static(id="body-text", markup=False)
        yield Static(id="next", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self.set_interval(LOOK_EVERY_S, self._tick)
        self._tick()
        self.call_after_refresh(self.redraw)

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    def _tick(self) -> None:
        """Judge the files when they are other than they were; the old findings stay until then."""
        if not self._looking and self._stamped() != self._stamps:
            self._look()

    @work(group="look")
    async def _look(self) -> None:
        self._looking, self._stamps = True, self._stamped()
        self.view = await asyncio.to_thread(look, self.view.path)
        spec = self.view.spec
        if spec is not None and spec.compose is not None:
            folder, today = self.view.path.parent, self.app.now().date()
            self.files = await asyncio.to_thread(compose.read, spec.compose, folder, today)
            if self._page not in self.files.pages:
                self._page = "findings"
        self._looking = False
        self.refresh_bindings()
        self.redraw()

    def _stamped(self) -> object:
        spec, folder = self.view.spec, self.view.path.parent
        files = spec.compose.files if spec is not None and spec.compose is not None else ()
        return (stamp(self.view.path), *(stamp(folder / file) for file in files))

    def redraw(self) -> None:
        """Draw everything anew; a screen that is being taken down is left alone."""
        if not self.query("#body-text"):
            return
        width, ascii_only = self.size.width, self.app.ascii_only
        head = [draw.head(self.view, self.app.now(), width)]
        spec = self.view.spec
        if spec is not None and spec.compose is not None:
            pages = self.files.pages if self.files is not None else (self._page,)
            head.append(compose.title(spec.compose, pages, self._page, width))
        self._show("head", Text("\n").join(head))
        if self.files is not None:
            room = self.query_one("#read").scrollable_content_region.width
            text = compose.body(self.files, self._page, self.view.path.parent, room, ascii_only=ascii_only)
            self._show("body-text", text)
        self._show("next", compose.next_line(self.files))

    def _show(self, where: str, text: Text) -> None:
        self.query_one(f"#{where}", Static).update(draw.colourless(text) if self.app.no_color else text)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a simulated update there is one page."""
        return action != "page" or (self.files is not None and len(self.files.pages) > 1)

    def action_page(self, step: int) -> None:
        assert self.files is not None  # the key is away otherwise
        pages = self.files.pages
        self._page = pages[(pages.index(self._page) + step) % len(pages)]
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self.redraw()

    def action_help(self) -> None:
        self.app.show_help(self, compose.about(ascii_only=self.app.ascii_only))

    def action_leave(self) -> None:
        self.dismiss()
