"""What the wizard reads: the plan as it grows, and the ticks of the run; it writes decisions and starts runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.plan.file import PlanFileError, load
from switchover.plan.lock import is_held
from switchover.plan.progress import Progress, fold
from switchover.readiness.checklist import ChecklistUnreadable, read_items
from switchover.words import plain

if TYPE_CHECKING:
    from pathlib import Path

    from switchover.plan.spec import ChecklistItem, Spec

MOST_LINES = 2000


@dataclass(frozen=True, slots=True)
class View:
    """A plan as it stands; ``trouble`` says why it cannot be shown."""

    path: Path
    spec: Spec | None
    progress: Progress | None
    running: bool
    trouble: str = ""
    items: tuple[ChecklistItem, ...] = ()
    """What the checklist asks for."""
    items_trouble: str = ""
    """Why the checklist cannot be read; empty when it can."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The latest word of a running action."""

    step: str
    action: str
    say: str
    done: float
    total: float


def look(path: Path) -> View:
    """Read and fold a plan; trouble is shown, never raised."""
    try:
        loaded = load(path)
    except (PlanFileError, OSError) as error:
        return View(path, None, None, False, str(error))
    items: tuple[ChecklistItem, ...] = ()
    trouble = ""
    try:
        items = read_items(loaded.spec, loaded.path.parent)
    except ChecklistUnreadable as error:
        trouble = str(error)
    progress = fold(loaded.spec, loaded.entries)
    return View(loaded.path, loaded.spec, progress, is_held(loaded.path), items=items, items_trouble=trouble)


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes whenever the file does; zeros when it is away."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


@dataclass(slots=True)
class Tail:
    """The run's stream of ticks, read on from where it was left."""

    path: Path
    tick: Tick | None = None
    _at: int = field(default=0, init=False)
    _inode: int = field(default=0, init=False)

    def read(self) -> list[str]:
        """The new log lines; the latest progress is kept in ``tick``. A new run starts the file anew."""
        try:
            found = self.path.stat()
        except OSError:
            return []
        if found.st_size < self._at or found.st_ino != self._inode:
            self._at, self._inode, self.tick = 0, found.st_ino, None
        if found.st_size == self._at:
            return []
        with self.path.open("rb") as file:
            file.seek(self._at)
            whole, _, _ = file.read(1 << 20).rpartition(b"\n")
        self._at += len(whole) + 1 if whole else 0
        return [line for raw in whole.splitlines() if (line := self._line(raw))]

    def _line(self, raw: bytes) -> str:
        try:
            tick = json.loads(raw)
        except ValueError:
            return ""
        at, where = str(tick.get("at", ""))[11:19], f"{tick.get('step', '')} {tick.get('action', '')}".strip()
        match tick.get("kind"):
            case "progress":
                self.tick = Tick(
                    str(tick["step"]),
                    str(tick["action"]),
                    str(tick["say"]),
                    float(tick["done"]),
                    float(tick["total"]),
                )
                return ""
            case "log":
                return plain(f"{at}Z {where}: {tick.get('say', '')}")
            case "entry" if where:
                self.tick = None
                return plain(f"{at}Z {where}: {tick.get('what', '')}")
            case "ended":
                self.tick = None
                return plain(f"{at}Z run ended: {tick.get('outcome', '')} {tick.get('reason', '')}")
            case _:
                return ""


def start_runner(path: Path, *words: str) -> None:
    """Start the runner as a process of its own: it outlives this wizard and its terminal."""
    folder = path.with_name(path.name + ".d")
    folder.mkdir(mode=0o700, exist_ok=True)
    log = os.open(folder / "run.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        subprocess.Popen(
            [sys.executable, "-m", "switchover", words[0], str(path), *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)


def last_words(path: Path) -> str:
    """What the runner said last, for a run that could not even begin."""
    try:
        lines = path.with_name(path.name + ".d").joinpath("run.log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return plain(lines[-1]) if lines else ""
