"""Questions that a person answers on purpose: a held key cannot, and nothing is focused on yes."""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from switchover.readiness.checklist import Statement, last_day
from switchover.words import plain

if TYPE_CHECKING:
    from datetime import datetime

    from textual.app import ComposeResult
    from textual.events import Key

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


class Sign(ModalScreen[Statement | None]):
    """What its signer says of an item: the evidence, where it is, who answers for it, and until when."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "no", "back")]
    FIELDS: ClassVar[dict[str, str]] = {
        "note": "what was looked at",
        "link": "where the evidence is (may be left out)",
        "owner": "who answers for it, if not you",
        "expires": "last day it holds: 2027-06-30, or 90d",
    }

    def __init__(self, item: ChecklistItem, now: datetime) -> None:
        super().__init__()
        self._item = item
        self._now = now

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static(f"Sign: {plain(self._item.title, 200)}", id="ask-title", markup=False)
            evidence = f"Evidence: {plain(self._item.evidence, 300)}" if self._item.evidence else ""
            yield Static(evidence, id="ask-says", markup=False)
            for name, hint in self.FIELDS.items():
                with Horizontal(classes="field"):
                    yield Static(f"{name:<8}", classes="field-name", markup=False)
                    yield Input(placeholder=hint, id=f"ask-{name}", compact=True)
            yield Static("enter signs with your name, tab goes on, esc goes back.", id="ask-end", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        said = {name: plain(self.query_one(f"#ask-{name}", Input).value.strip(), 500) for name in self.FIELDS}
        try:
            if not said["note"]:
                raise ValueError("a note is needed: what was looked at")
            expires = last_day(said["expires"], self._now)
        except ValueError as error:
            self.query_one("#ask-end", Static).update(plain(str(error), 200))
        else:
            self.dismiss(Statement(self._item.id, said["note"], said["link"], said["owner"], expires))

    def action_no(self) -> None:
        self.dismiss(None)
