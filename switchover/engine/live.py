"""The stream of ticks that a watcher follows: progress and log lines, beside the plan, never in it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(slots=True)
class Live:
    """Where a running action says how far it is.

    Each tick is one JSON line: ``{"at", "run", "step", "action", "kind": "progress" | "log" | "entry", ...}``;
    progress has ``done``, ``total``, ``unit`` and ``say``; log has ``say``. Text is cleaned here. A lost tick
    is no harm, so an unwritable stream is dropped and the run goes on.
    """

    path: Path
    run: str
    echo: Callable[[str], None] | None = None
    step: str = ""
    action: str = ""
    _fd: int = field(default=-1, init=False)

    def open(self) -> None:
        """Start the stream anew for this run; the file is 0600."""
        with contextlib.suppress(OSError):
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)

    def close(self) -> None:
        """Leave the stream as it is for whoever still reads it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def progress(self, say: str, done: float, total: float, unit: str = "") -> None:
        """Say how far the action is; ``total`` 0 means not known."""
        self.tick("progress", say=plain(say), done=done, total=total, unit=unit)

    def log(self, say: str) -> None:
        """Say one line."""
        self.tick("log", say=plain(say))

    def tick(self, kind: str, **data: object) -> None:
        """Write one tick."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"at": at, "run": self.run, "step": self.step, "action": self.action, "kind": kind, **data})
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._fd, line.encode() + b"\n")
        if self.echo is not None:
            self.echo(line)
