"""How the live copy follows, as the command ``lag`` prints it, and how that is drawn; anything may be missing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from switchover.plan.decide import has_live_copy
from switchover.tui.draw import STYLES, mark
from switchover.tui.feed import Child
from switchover.words import count, duration, plain, size

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from switchover.tui.watch import View

MOST_ROWS = 20


def command(path: Path) -> list[str]:
    """What is run: one look after the other, a document a line."""
    return [sys.executable, "-m", "switchover", "lag", str(path), "--watch", "--json"]


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that is wrong with the link."""

    blocks: bool
    says: str
    fix: str


@dataclass(frozen=True, slots=True)
class Following:
    """One look at both sides of the link; ``trouble`` alone when they could not be asked."""

    trouble: str = ""
    where: str = ""
    behind_bytes: float | None = None
    behind_s: float | None = None
    held_bytes: float | None = None
    slot: str = ""
    applies: bool = False
    tables: int = 0
    apply_errors: int = 0
    wrong: tuple[Wrong, ...] = ()

    @property
    def blocked(self) -> bool:
        return any(each.blocks for each in self.wrong)


@dataclass(slots=True)
class LagFeed(Child):
    """The latest look, and how the child fares."""

    argv: list[str]
    latest: Following | None = None
    ended: str = ""
    _child: asyncio.subprocess.Process | None = field(default=None)
    _said: str = ""
    _over: asyncio.Event | None = None

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(said, dict):
            self.latest = read(said)


def read(said: dict[str, object]) -> Following:
    """A document of the command, read with care: what has another shape counts as missing."""
    if isinstance(said.get("trouble"), str):
        return Following(trouble=plain(str(said["trouble"]), 300))
    listed = said.get("findings")
    return Following(
        where=f"{plain(str(said.get('from', '?')), 100)} → {plain(str(said.get('to', '?')), 100)}",
        behind_bytes=_number(said.get("behind_bytes")),
        behind_s=_number(said.get("behind_s")),
        held_bytes=_number(said.get("held_bytes")),
        slot=plain(str(said.get("slot", "?")), 40),
        applies=_number(said.get("worker")) is not None,
        tables=int(_number(said.get("tables")) or 0),
        apply_errors=int(_number(said.get("apply_errors")) or 0),
        wrong=tuple(
            Wrong(
                each.get("severity") == "block",
                plain(f"{each.get('id', '?')}: {each.get('evidence', '')}", 300),
                plain(str(each.get("fix", "")), 300),
            )
            for each in (listed if isinstance(listed, list) else [])[:MOST_ROWS]
            if isinstance(each, dict) and each.get("severity") != "info"
        ),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def is_watched(view: View) -> bool:
    """Whether there is a live copy to look at."""
    return view.progress is not None and has_live_copy(view.progress) and not view.progress.finished


def lines(feed: LagFeed | None, *, ascii_only: bool) -> list[Text]:
    """How the copy follows, and what is wrong with it; empty where nobody looks."""
    if feed is None:
        return []
    title = Text("\nLive copy", "bold")
    if feed.ended:
        return [title, Text(f" it is not looked at: the child {plain(feed.ended, 200)}", STYLES["warn"])]
    now = feed.latest
    if now is None:
        return [title, Text(" asking both servers …", "dim")]
    if now.trouble:
        return [title, Text.assemble(" ", mark("unknown", ascii_only=ascii_only), f" {now.trouble}")]
    behind = "by an unknown amount" if now.behind_bytes is None else size(now.behind_bytes)
    late = f", {duration(now.behind_s)}" if now.behind_s is not None else ""
    held = f", holds {size(now.held_bytes)} of log" if now.held_bytes is not None else ""
    applies = "applies" if now.applies else "does not apply"
    state = "failed" if now.blocked else "done" if now.applies else "unknown"
    found = [
        title,
        Text.assemble(" ", mark(state, ascii_only=ascii_only), f" {now.where}: behind {behind}{late}"),
        Text(
            f"     slot {now.slot}{held}; {count(now.tables, 'table')}, {applies}; "
            f"{count(now.apply_errors, 'error')} in applying",
            "dim",
        ),
    ]
    for each in now.wrong:
        found.append(Text(f"     {each.says}", STYLES["failed" if each.blocks else "warn"]))
        if each.fix:
            found.append(Text(f"     {each.fix}", "bold"))
    return found
