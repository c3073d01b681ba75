"""Questions that a person answers on purpose: a held key cannot, and nothing is focused on yes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult
    from textual.events import Key

    from switchover.plan.progress import Attestation
    from switchover.plan.spec import ChecklistItem

DEAF_S = 0.5
"""For this long after it opens a question hears nothing, so that a held key answers no question nobody has read."""


class Answer(Enum):
    """What was answered."""

    YES = "yes"
    NO = "no"


class Ask(ModalScreen[Answer]):
    """Do it or not; with ``name`` the plan's name must be typed, without it ``y`` is enough."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "back")]

    def __init__(self, label: str, consequence: str, name: str) -> None:
        super().__init__()
        self._label = label
        self._consequence = consequence
        self._name = name
        self._opened = time.monotonic()

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static(self._label, id="ask-title", markup=False)
            yield Static(self._consequence, id="ask-says", markup=False)
            if self._name:
                yield Static(
                    f"Type  {plain(self._name)}  and press enter. esc goes back; nothing has changed.",
                    markup=False,
                )
                yield Input(id="ask-name")
            else:
                yield Static("y does it. esc goes back; nothing has changed.", markup=False)

    def on_key(self, event: Key) -> None:
        if time.monotonic() - self._opened < DEAF_S and event.key != "escape":
            event.stop()
            event.prevent_default()
        elif not self._name and event.key == "y":
            self.dismiss(Answer.YES)
        elif not self._name and event.key == "n":
            self.dismiss(Answer.NO)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if time.monotonic() - self._opened >= DEAF_S and event.value.strip() == self._name:
            self.dismiss(Answer.YES)
        else:
            self.query_one("#ask-says", Static).update(f"{self._consequence}\n\nThat is not the plan's name.")

    def action_no(self) -> None:
        self.dismiss(Answer.NO)


@dataclass(frozen=True, slots=True)
class Statement:
    """An item and what its signer says."""

    item: str
    note: str


class Attest(ModalScreen[Statement | None]):
    """Choose an item, write the evidence."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "back")]

    def __init__(self, items: Sequence[ChecklistItem], signed: Mapping[str, Attestation]) -> None:
        super().__init__()
        self._items = items
        self._signed = signed
        self._item = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static("Attest: which item?", id="ask-title", markup=False)
            rows = [
                Option(f"{'✓' if item.id in self._signed else '○'} {plain(item.title, 60)}", id=item.id)
                for item in self._items
            ]
            yield OptionList(*rows, id="ask-items", markup=False)
            yield Input(placeholder="what was looked at, or a link", id="ask-note", disabled=True)
            yield Static("enter chooses, then signs with your name. esc goes back.", markup=False)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._item = event.option.id or ""
        note = self.query_one(Input)
        note.disabled = False
        note.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(Statement(self._item, plain(event.value)))

    def action_no(self) -> None:
        self.dismiss(None)
