"""Readiness: what production asks for, category by category, how each item stands, and the signing of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from switchover.plan.decide import step_of
from switchover.plan.file import PlanFileError, append
from switchover.plan.outline import StepName
from switchover.readiness.checklist import judge, sign
from switchover.tui import checklist, compose, draw
from switchover.tui.screens.ask import Sign
from switchover.tui.screens.compose import ComposeScreen
from switchover.tui.screens.read import ReadScreen
from switchover.tui.watch import look, stamp
from switchover.words import plain

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from switchover.readiness.checklist import Checklist, Standing
    from switchover.tui.app import Wizard
    from switchover.tui.watch import View

LOOK_EVERY_S = 0.5


class ReadinessScreen(Screen[None]):
    """Everything on it is read from the plan and its packs; to sign is all that it does."""

    app: Wizard
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,a", "sign", "sign", priority=True, tooltip="say what you looked at; it goes into the plan"),
        Binding("f", "filter", "filter", tooltip="all items, those to sign, required and missing, signed or waived"),
        Binding("space", "details", "details", tooltip="the item in full, to scroll through"),
        Binding("c", "files", "files", tooltip="the plan's Compose files: what was found, and each service's update"),
        Binding("right,tab", "category(1)", "next category", priority=True, tooltip="to the next category"),
        Binding("left,shift+tab", "category(-1)", "previous", priority=True, tooltip="to the category before"),
        Binding("question_mark,f1", "help", "help", tooltip="the keys and the words"),
        Binding("q,escape", "leave", "back", tooltip="back to the plan"),
        Binding("ctrl+c", "leave", "back", show=False),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.found = self._judged()
        self._filter = "all"
        self._item = ""
        self._stamp = stamp(view.path)
        self._shown: dict[str, object] = {}
        self._said = ""

    @property
    def shown(self) -> list[Standing]:
        """The items that the filter lets through."""
        wanted = checklist.FILTERS[self._filter]
        return [each for each in self.found.standings if wanted(each)] if self.found is not None else []

    @property
    def chosen(self) -> Standing | None:
        """The item that is highlighted."""
        return next((each for each in self.shown if each.item.id == self._item), None)

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield OptionList(id="items", markup=False)
        with VerticalScroll(id="item", can_focus=False):
            yield Static(id="detail", markup=False)
        yield Static(id="next", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.set_interval(LOOK_EVERY_S, self._look)
        self.call_after_refresh(self._fill)

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        """Read the plan anew when it has changed; a day may have ended in any case."""
        now = stamp(self.view.path)
        if now != self._stamp:
            self._stamp = now
            self.view = await asyncio.to_thread(look, self.view.path)
        before, self.found = self.found, self._judged()
        if before != self.found:
            self._fill()
        self._draw()

    def _judged(self) -> Checklist | None:
        spec, progress = self.view.spec, self.view.progress
        if spec is None or progress is None or self.view.items_trouble:
            return None
        return judge(spec, self.view.items, progress, self.app.now())

    def _fill(self) -> None:
        """The list anew, with the same item highlighted where it is still shown."""
        items = self.query_one(OptionList)
        width = items.scrollable_content_region.width - 2
        options: list[Option] = []
        shown = self.shown
        for category in self.found.categories if self.found is not None else ():
            of = [each for each in shown if each.category == category]
            if of and self.found is not None:
                options.append(Option(self._coloured(checklist.heading(self.found, category)), disabled=True))
                options += [Option(self._row(each, width), id=each.item.id) for each in of]
        ids = [option.id for option in options]
        at = ids.index(self._item) if self._item in ids else next((n for n, id in enumerate(ids) if id), None)
        items.clear_options()
        items.add_options(options)
        items.highlighted = at
        self._item = (ids[at] or "") if at is not None else ""
        if at is not None and at <= 1:
            items.scroll_home(animate=False)
        self._draw()

    def _row(self, each: Standing, width: int) -> Text:
        return self._coloured(checklist.row(each, width, ascii_only=self.app.ascii_only))

    def _coloured(self, text: Text) -> Text:
        return draw.colourless(text) if self.app.no_color else text

    def _draw(self) -> None:
        if not self.query("#detail"):
            return
        now, width = self.app.now(), self.size.width
        head = [draw.head(self.view, now, width)]
        if self.found is not None and self.view.spec is not None:
            head.append(
                checklist.title(self.view.spec, self.found, self._filter, width, ascii_only=self.app.ascii_only)
            )
        head += self._files_line(width)
        self._show("head", Text("\n").join(head))
        chosen = self.chosen
        trouble = Text(plain(self.view.trouble or self.view.items_trouble), draw.STYLES["failed"])
        self._show("detail", checklist.detail(chosen) if chosen is not None else trouble)
        self._show(
            "next",
            Text(self._said, "bold red")
            if self._said
            else checklist.next_line(chosen, readable=self.found is not None),
        )
        if self._is_new("keys", (chosen is not None and chosen.signable, len(self.shown))):
            self.refresh_bindings()

    def _files_line(self, width: int) -> list[Text]:
        """What the step last found in the Compose files; that there are none, only where all of production is asked."""
        spec, progress = self.view.spec, self.view.progress
        if spec is None or progress is None or (spec.compose is None and spec.readiness is None):
            return []
        gates = step_of(progress, StepName.READINESS).gates
        return [compose.summary(spec, gates, width, ascii_only=self.app.ascii_only)]

    def _show(self, where: str, text: Text) -> None:
        """Draw only what has changed: over a slow line every redraw is felt."""
        if self._is_new(where, (text.plain, tuple(text.spans))):
            self.query_one(f"#{where}", Static).update(self._coloured(text))

    def _is_new(self, where: str, what: object) -> bool:
        if self._shown.get(where) == what:
            return False
        self._shown[where] = what
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that make no sense now are dimmed."""
        match action:
            case "sign":
                chosen = self.chosen
                return True if chosen is not None and chosen.signable else None
            case "files":
                return self.view.spec is not None and self.view.spec.compose is not None
            case "category" | "details":
                return True if self.shown else None
            case _:
                return True

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._item = event.option.id or ""
        self._said = ""
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self._draw()

    @work
    async def action_sign(self) -> None:
        """Ask what was looked at, and write it into the plan."""
        chosen, spec = self.chosen, self.view.spec
        if chosen is None or spec is None or not chosen.signable:
            return
        said = await self.app.push_screen_wait(Sign(chosen.item, self.app.now()))
        if said is None:
            return
        try:
            await asyncio.to_thread(append, self.view.path, sign(spec, chosen.item, said))
        except (PlanFileError, OSError) as error:
            self._said = f" not signed: {plain(str(error), 300)}"
        self._look()

    def action_details(self) -> None:
        if self.chosen is not None:
            self.app.push_screen(ReadScreen("item of the checklist", self._coloured(checklist.detail(self.chosen))))

    def action_files(self) -> None:
        self.app.push_screen(ComposeScreen(self.view))

    def action_filter(self) -> None:
        names = list(checklist.FILTERS)
        self._filter = names[(names.index(self._filter) + 1) % len(names)]
        self._fill()

    def action_category(self, step: int) -> None:
        """To the first item of the next category that has one, or of the one before."""
        shown = self.shown
        if not shown:
            return
        names = list(dict.fromkeys(each.category for each in shown))
        at = names.index(self.chosen.category) if self.chosen is not None else 0
        wanted = names[(at + step) % len(names)]
        first = next(each for each in shown if each.category == wanted)
        items = self.query_one(OptionList)
        items.highlighted = items.get_option_index(first.item.id)
        items.scroll_to_highlight(top=True)
        self.call_after_refresh(items.scroll_relative, y=-1, animate=False)  # the heading too

    def action_help(self) -> None:
        self.app.show_help(self, checklist.about(ascii_only=self.app.ascii_only))

    def action_leave(self) -> None:
        self.dismiss()
