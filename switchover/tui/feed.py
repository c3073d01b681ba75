"""Child processes that ask again and again; the wizard only reads what they print."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.tui.picture import read
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from switchover.tui.picture import Picture

MOST_LINE = 1 << 20
PATIENCE_S = 2.0


def command(path: Path) -> list[str]:
    """What is run: all names of the plan, round after round, one document a line."""
    return [sys.executable, "-m", "switchover", "dns", "--plan", str(path), "--watch", "--json"]


class Child:
    """A child process that prints a document a line, and is read for as long as somebody looks."""

    argv: list[str]
    ended: str
    _child: asyncio.subprocess.Process | None
    _said: str
    _over: asyncio.Event | None

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._child.pid if self._child is not None else None

    async def run(self, news: Callable[[], None]) -> None:
        """Start the child and read it to its end; whoever cancels this ends the child too."""
        over = self._over = asyncio.Event()
        try:
            await self._run(news)
        finally:
            over.set()
        news()

    async def stop(self) -> None:
        """End the child, if need be by force, and wait until it is gone and read to its end."""
        if self._child is not None:
            await _end(self._child)
        if self._over is not None:
            await self._over.wait()

    async def _run(self, news: Callable[[], None]) -> None:
        try:
            child = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self.ended = f"could not be started: {error.strerror}"
            return
        self._child = child
        try:
            await asyncio.gather(self._read(child.stdout, news), self._hear(child.stderr))
            code = await child.wait()
        finally:
            await _end(child)
            self._child = None
        how = f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        self.ended = f"{how}: {self._said}" if self._said else how

    async def _read(self, stream: asyncio.StreamReader | None, news: Callable[[], None]) -> None:
        async for line in _lines(stream):
            self._take(line)
            news()

    async def _hear(self, stream: asyncio.StreamReader | None) -> None:
        async for line in _lines(stream):
            self._said = plain(line, 300).strip() or self._said

    def _take(self, line: bytes) -> None:
        """Keep what a line says."""
        raise NotImplementedError


@dataclass(slots=True)
class Feed(Child):
    """The latest picture of each name, and how the child fares."""

    argv: list[str]
    pictures: dict[str, Picture] = field(default_factory=dict)
    gaps: dict[str, float] = field(default_factory=dict)
    """Seconds between the last two rounds of a name."""
    ignored: int = 0
    """Lines that were no picture."""
    ended: str = ""
    """How the child ended and its last words; empty while it runs."""
    _child: asyncio.subprocess.Process | None = None
    _said: str = ""
    _over: asyncio.Event | None = None

    def _take(self, line: bytes) -> None:
        """Keep a picture; count what is none."""
        try:
            picture = read(json.loads(line))
        except (ValueError, RecursionError):
            picture = None
        if picture is None:
            self.ignored += 1
            return
        before = self.pictures.get(picture.name)
        if before is not None and before.at is not None and picture.at is not None and picture.round != 1:
            self.gaps[picture.name] = (picture.at - before.at).total_seconds()
        self.pictures[picture.name] = picture


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    """Line by line; of one without end no more than its end is kept."""
    assert stream is not None  # a pipe was asked for
    rest = b""
    while chunk := await stream.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-MOST_LINE:]
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the child's whole group: politely, then for certain."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if child.returncode is not None:
            return
        _signal(child.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await child.wait()


def _signal(group: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, sign)
