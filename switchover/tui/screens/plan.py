"""One plan: its steps, the selected step, what runs, and what the next key does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Log, OptionList, Static
from textual.widgets.option_list import Option

from switchover.plan.decide import next_key, way_back
from switchover.plan.file import append
from switchover.plan.journal import Draft, What
from switchover.plan.outline import StepInfo, StepName, steps_of
from switchover.plan.progress import Passed, StepStatus
from switchover.tui import draw, lagging
from switchover.tui.lagging import LagFeed
from switchover.tui.screens.ask import Answer, Ask
from switchover.tui.screens.propagation import PropagationScreen
from switchover.tui.screens.readiness import ReadinessScreen
from switchover.tui.watch import MOST_LINES, Tail, View, last_words, look, stamp, start_runner

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult

    from switchover.plan.decide import NextKey
    from switchover.plan.preview import PreviewAction
    from switchover.tui.app import Wizard

LOOK_EVERY_S = 0.25
WIDE = 100


class PlanScreen(Screen[None]):
    """The plan's screen; everything on it is read from the file, nothing is remembered here."""

    app: Wizard
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "next", "next", priority=True, tooltip="do what the line above the keys says"),
        Binding("b", "back", "go back", tooltip="undo or roll back, after a preview"),
        Binding("x", "abort", "abort", tooltip="stop the running cutover at its next safe point; it undoes itself"),
        Binding("a", "attest", "attest", tooltip="the checklist, item by item; sign one"),
        Binding("r", "report", "report", tooltip="the report so far"),
        Binding("p", "propagation", "propagation", tooltip="what DNS servers and caches give now; changes nothing"),
        Binding("l", "zoom", "log", tooltip="the log alone, or everything again"),
        Binding("question_mark,f1", "help", "help", tooltip="the keys and the words"),
        Binding("q,ctrl+c", "leave", "leave", tooltip="leave; a run goes on without the wizard"),
    ]

    def __init__(self, path: Path, first: View | None = None) -> None:
        super().__init__()
        self.path = path
        self.view = first or look(path)
        self.tail = Tail(path.with_name(path.name + ".live"))
        self._stamp = (0, 0, 0)
        self._previews: dict[StepName, tuple[PreviewAction, ...]] = {}
        self._step = (self.view.progress.next if self.view.progress else None) or StepName.READINESS
        self._shown: dict[str, object] = {}
        self.lag: LagFeed | None = None

    @property
    def steps(self) -> tuple[StepInfo, ...]:
        """The steps of the plan's method; those of a dump while the plan cannot be read."""
        return steps_of(self.view.spec.database.method if self.view.spec is not None else "dump")

    def _options(self) -> list[Option]:
        return [Option(info.title, id=info.name) for info in self.steps]

    def _keep_rail(self, rail: OptionList) -> None:
        """Another method has other steps."""
        if [option.id for option in rail.options] == [info.name for info in self.steps]:
            return
        rail.clear_options()
        rail.add_options(self._options())
        if self._step not in {info.name for info in self.steps}:
            self._step = StepName.READINESS
        rail.highlighted = rail.get_option_index(self._step)
        self._shown.clear()

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with Horizontal(id="body"):
            yield OptionList(*self._options(), id="rail", markup=False)
            with Vertical(id="right"):
                with VerticalScroll(id="scroll", can_focus=False):
                    yield Static(id="detail", markup=False)
                yield Log(id="log", max_lines=MOST_LINES)
        yield Static(id="next", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one("#log").can_focus = False
        rail = self.query_one(OptionList)
        rail.highlighted = rail.get_option_index(self._step)
        rail.focus()
        self.set_interval(LOOK_EVERY_S, self._look)
        self.redraw()
        self._preview()
        self._watch_copy()

    async def on_unmount(self) -> None:
        """What looks at the live copy does not outlive the screen."""
        if self.lag is not None:
            await self.lag.stop()

    def _watch_copy(self) -> None:
        """Have the live copy looked at for as long as there is one."""
        if self.lag is None and lagging.is_watched(self.view):
            self.lag = LagFeed(lagging.command(self.path))
            self._follow_copy(self.lag)
        elif self.lag is not None and not lagging.is_watched(self.view):
            self._leave_copy(self.lag)
            self.lag = None

    @work(group="lag")
    async def _follow_copy(self, feed: LagFeed) -> None:
        await feed.run(self.redraw)

    @work(group="leave")
    async def _leave_copy(self, feed: LagFeed) -> None:
        await feed.stop()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        """Read what is new; the file is read in a thread, so that a large one never holds up the keys."""
        lines = self.tail.read()
        if lines:
            self.query_one(Log).write_lines(lines)
        now = stamp(self.path)
        running = self.view.running
        if now != self._stamp or running or not self.app.clock_stands:
            before = self.view
            self.view = await asyncio.to_thread(look, self.path)
            self._stamp = now
            self._watch_copy()
            if (
                before.progress is not None
                and self.view.progress is not None
                and before.progress.next is not self.view.progress.next
            ):
                self._follow()
        self.redraw()

    def _follow(self) -> None:
        """The selection goes along when the step it was on is done."""
        step = self.view.progress.next if self.view.progress else None
        if step is not None and self.query("#rail"):
            rail = self.query_one(OptionList)
            rail.highlighted = rail.get_option_index(step)

    def redraw(self) -> None:
        """Draw everything anew from the view; a screen that is being taken down is left alone."""
        if not self.query("#rail"):
            return
        now = self.app.now()
        ascii_only = self.app.ascii_only
        self._show("head", draw.head(self.view, now, self.size.width))
        self._show("next", draw.next_line(self.view, now))
        watched = self._step in (StepName.REPLICATE, StepName.CUTOVER, StepName.VERIFY)
        live = lagging.lines(self.lag, ascii_only=ascii_only) if watched else []
        shown = draw.Shown(self._step, self._previews.get(self._step), self.tail.tick, tuple(live))
        self._show("detail", draw.detail(self.view, shown, now, ascii_only=ascii_only))
        rail = self.query_one(OptionList)
        if self.view.progress is not None:
            self._keep_rail(rail)
            width = (32 if self.size.width >= WIDE else 24) - 2
            for state in self.view.progress.steps:
                row = draw.rail_row(state, width=width, ascii_only=ascii_only)
                if self._is_new(state.name, row):
                    rail.replace_option_prompt(state.name, draw.colourless(row) if self.app.no_color else row)
        if self._is_new(
            "keys", (self.view.running, self.view.progress and self.view.progress.entries, self._key_label())
        ):
            self.refresh_bindings()

    def _show(self, where: str, text: Text) -> None:
        """Draw only what has changed: over a slow line every redraw is felt."""
        if self._is_new(where, text):
            self.query_one(f"#{where}", Static).update(draw.colourless(text) if self.app.no_color else text)

    def _is_new(self, where: str, what: object) -> bool:
        if isinstance(what, Text):
            what = (what.plain, tuple(what.spans))
        if self._shown.get(where) == what:
            return False
        self._shown[where] = what
        return True

    def _key_label(self) -> str:
        return self._key().label if self.view.progress is not None else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that make no sense now are dimmed."""
        progress = self.view.progress
        if progress is None:
            return action in ("leave", "help")
        match action:
            case "next":
                return True if (not self.view.running and self._key().confirm != "none") or self._startable() else None
            case "back":
                return True if not self.view.running and way_back(progress).kind in ("undo", "rollback") else None
            case "abort":
                return True if self.view.running and progress.passed is Passed.NOT else None
            case "attest":
                has_files = self.view.spec is not None and self.view.spec.compose is not None
                return True if self.view.items or self.view.items_trouble or has_files else None
            case _:
                return True

    def _key(self) -> NextKey:
        assert self.view.spec is not None  # asked only of a plan that can be read
        assert self.view.progress is not None
        return next_key(self.view.spec, self.view.progress, self.app.now())

    def _startable(self) -> bool:
        key = self._key()
        return (
            not self.view.running
            and key.step is not None
            and key.waits_until is None
            and key.label not in ("blocked", "watch")
        )

    @on(OptionList.OptionHighlighted)
    def _selected(self, event: OptionList.OptionHighlighted) -> None:
        self._step = StepName(event.option.id or "")
        self.query_one("#scroll", VerticalScroll).scroll_home(animate=False)
        self.redraw()
        self._preview()

    @work(exclusive=True, group="preview", thread=True)
    def _preview(self) -> None:
        """Ask what the selected step would do; the adapters are imported here, away from the keys."""
        step, ask = self._step, self.app.preview
        if ask is None or step in self._previews or self.view.spec is None:
            return
        self._previews[step] = ask(self.path, step)
        self.app.call_from_thread(self.redraw)

    @work
    async def action_next(self) -> None:
        """Do what the next line says, after the confirmation it deserves."""
        if not self._startable():
            self.app.bell()
            return
        key = self._key()
        spec = self.view.spec
        assert spec is not None  # startable
        if key.confirm == "none" or await self._confirmed(
            key.label, key.consequence, spec.name if key.confirm == "type" else ""
        ):
            self._run("run", "--through", key.step or "", *(["--yes"] if key.confirm != "none" else []))

    @work
    async def action_back(self) -> None:
        """Undo or roll back, behind the plan's typed name."""
        assert self.view.spec is not None  # the key is dimmed otherwise
        assert self.view.progress is not None
        says = way_back(self.view.progress).says
        if await self._confirmed("go back to the old host", says, self.view.spec.name):
            self._run("rollback", "--yes")

    @work
    async def action_abort(self) -> None:
        """Ask the running cutover to stop at its next safe point."""
        assert self.view.progress is not None  # the key is dimmed otherwise
        state = next((each for each in self.view.progress.steps if each.status is StepStatus.RUNNING), None)
        says = "the run stops at its next safe point; a cutover that has begun undoes itself"
        if state is not None and await self._confirmed(f"abort {state.title.lower()}", says, ""):
            data = {"hold": f"go:{state.name}:{state.attempt}", "choice": "abort", "note": "in the wizard"}
            append(self.path, Draft(state.name, "", What.DECIDED, data))

    def action_attest(self) -> None:
        self.app.push_screen(ReadinessScreen(self.view))

    def action_report(self) -> None:
        self.app.show_report(self.path)

    def action_propagation(self) -> None:
        self.app.push_screen(PropagationScreen(self.view))

    def action_help(self) -> None:
        self.app.show_help(self)

    def action_zoom(self) -> None:
        self.toggle_class("-log")

    @work
    async def action_leave(self) -> None:
        """Leave; say first that a run goes on."""
        if self.view.running:
            says = "the run goes on without the wizard; open it again to watch, or `switchover status --follow`"
            if not await self._confirmed("leave the wizard", says, ""):
                return
        self.app.leave(self)

    async def _confirmed(self, label: str, consequence: str, name: str) -> bool:
        return await self.app.push_screen_wait(Ask(label, consequence, name)) is Answer.YES

    def _run(self, *words: str) -> None:
        start_runner(self.path, *words)
        self.query_one(Log).write_line(f"{datetime.now(UTC):%H:%M:%S}Z starting: switchover {' '.join(words)}")
        self.set_timer(1.5, self._tell_if_it_never_began)

    def _tell_if_it_never_began(self) -> None:
        said = last_words(self.path)
        if said and not self.view.running:
            self.query_one(Log).write_line(said)
