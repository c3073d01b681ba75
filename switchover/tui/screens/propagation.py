"""Propagation: what every authoritative server gives, what caches hold, and when the last has forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from switchover.plan.decide import low_ttl_fact, step_of
from switchover.plan.outline import StepName
from switchover.tui import draw, propagation
from switchover.tui.feed import Feed, command
from switchover.tui.watch import look, stamp

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from textual.app import ComposeResult

    from switchover.tui.app import Wizard
    from switchover.tui.picture import Picture
    from switchover.tui.watch import View

DRAW_EVERY_S = 1.0
NEVER_WRAPPED = ("head", "resolvers")
"""What counts down every second and keeps its height while it has as many lines: no new layout for it."""


class PropagationScreen(Screen[None]):
    """Asks through a child process while it is open; it changes nothing anywhere."""

    app: Wizard
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,tab", "name(1)", "next name", priority=True, tooltip="the plan's next name"),
        Binding("left,shift+tab", "name(-1)", "previous", priority=True, tooltip="the name before"),
        Binding("r", "again", "ask again", tooltip="start the asking anew after it has ended"),
        Binding("question_mark,f1", "help", "help", tooltip="the keys and the words"),
        Binding("q,escape", "leave", "back", tooltip="back to the plan; the asking ends, the plan stays"),
        Binding("ctrl+c", "leave", "back", show=False),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.feed = Feed(command(view.path))
        self._at = 0
        self._stamp = stamp(view.path)
        self._looking = False
        self._expects = expectation(view)
        self._started: datetime | None = None
        self._shown: dict[str, object] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The plan's names."""
        return self.view.spec.dns.names if self.view.spec is not None else tuple(self.feed.pictures)

    @property
    def name_shown(self) -> str:
        """The name whose picture is shown."""
        return self.names[self._at % len(self.names)] if self.names else ""

    @property
    def _zone(self) -> ZoneInfo | None:
        return self.view.spec.window.zone if self.view.spec is not None and self.view.spec.window else None

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Static(id="clocks", markup=False)
        yield Static(id="notices", markup=False)
        with VerticalScroll(id="grids"):
            yield Static(id="servers", markup=False)
            yield Static(id="resolvers", markup=False)
            yield Static(id="findings", markup=False)
        yield Static(id="next", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.set_interval(DRAW_EVERY_S, self._tick)
        self._ask()
        self.call_after_refresh(self.redraw)

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    async def on_unmount(self) -> None:
        """The child does not outlive the screen."""
        await self.feed.stop()

    @work(exclusive=True, group="ask")
    async def _ask(self) -> None:
        self._started = self.app.now()
        await self.feed.run(self.redraw)

    def _anew(self) -> None:
        """Ask again from the start; the pictures so far stay until there are newer ones."""
        self.feed = Feed(command(self.view.path), pictures=dict(self.feed.pictures))
        self._ask()

    def _tick(self) -> None:
        """Count down; look at the plan when it has changed."""
        if stamp(self.view.path) != self._stamp and not self._looking:
            self._look()
        self.redraw()

    @work(group="look")
    async def _look(self) -> None:
        """When the plan expects something else by now, what asks must know it."""
        self._looking, self._stamp = True, stamp(self.view.path)
        self.view = await asyncio.to_thread(look, self.view.path)
        self._looking = False
        expects = expectation(self.view)
        if expects is not None and expects != self._expects:
            self._expects = expects
            self._anew()

    def redraw(self) -> None:
        """Draw what has changed; a screen that is being taken down is left alone."""
        if not self.query("#findings"):
            return
        now, width, name = self.app.now(), self.size.width, self.name_shown
        picture = self.feed.pictures.get(name)
        title = propagation.title(self.names, name, self.feed, now, width)
        self._show("head", Text("\n").join([draw.head(self.view, now, width), title]))
        self._show("clocks", propagation.clocks(picture, now, self._zone))
        self._show("notices", propagation.notices(picture, self.feed, ascii_only=self.app.ascii_only))
        self._show("next", propagation.next_line(picture, now))
        if picture is not None:
            self._grids(picture, now)
        else:
            waiting = propagation.first_round(name, self._started or now, now, self.feed.argv)
            self._show("servers", Text() if self.feed.ended else waiting)
            self._show("resolvers", Text())
            self._show("findings", Text())
        if self._is_new("keys", (bool(self.feed.ended), len(self.names))):
            self.refresh_bindings()

    def _grids(self, picture: Picture, now: datetime) -> None:
        width, ascii_only = self.query_one("#grids").scrollable_content_region.width, self.app.ascii_only
        self._show("servers", propagation.servers(picture, now, width, ascii_only=ascii_only))
        self._show("resolvers", propagation.resolvers(picture, now, width, ascii_only=ascii_only))
        self._show("findings", propagation.findings(picture.oddities, width, ascii_only=ascii_only))

    def _show(self, where: str, text: Text) -> None:
        """Draw only what has changed: over a slow line every redraw is felt."""
        lines = text.plain.count("\n")
        if self._is_new(where, (text.plain, tuple(text.spans))):
            static = self.query_one(f"#{where}", Static)
            moved = where not in NEVER_WRAPPED or self._is_new(f"{where} lines", (lines, bool(text.plain)))
            static.update(draw.colourless(text) if self.app.no_color else text, layout=moved)
            static.display = bool(text.plain)

    def _is_new(self, where: str, what: object) -> bool:
        if self._shown.get(where) == what:
            return False
        self._shown[where] = what
        return True

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that make no sense now are dimmed; one name needs no key to go to the next."""
        match action:
            case "again":
                return True if self.feed.ended else None
            case "name":
                return len(self.names) > 1
            case _:
                return True

    def action_name(self, step: int) -> None:
        self._at = (self._at + step) % len(self.names)
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self.redraw()

    def action_again(self) -> None:
        self._anew()
        self.redraw()

    def action_help(self) -> None:
        self.app.show_help(self, propagation.about(ascii_only=self.app.ascii_only))

    def action_leave(self) -> None:
        self.dismiss()


def expectation(view: View) -> object:
    """What of the journal decides about which record is right by now."""
    if view.progress is None:
        return None
    cutover = step_of(view.progress, StepName.CUTOVER)
    switched = tuple((each.id, each.status) for each in cutover.actions if each.id.startswith("set-address "))
    return low_ttl_fact(view.progress, "t0"), switched
