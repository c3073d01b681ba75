"""Child processes: an argument list, its own group, no terminal, a deadline, ended with the runner."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
PIPE_BYTES = 1 << 20
"""What a pipe between two children holds: the most that Linux gives without privilege (pipe(7))."""

_NONE, _PIPE = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
_libc = ctypes.CDLL(None, use_errno=True)


class ChildFailed(Exception):
    """A child could not be started, ran past its deadline or ended with a code that is not 0."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended, and the last of what it said (cleaned)."""

    code: int
    said: str


@dataclass(frozen=True, slots=True, repr=False)
class Command:
    """A program with its arguments, and its environment, which may hold what must not be shown."""

    argv: tuple[str, ...]
    env: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Command({' '.join(self.argv)})"


@dataclass(frozen=True, slots=True)
class Children:
    """Starts children; ``inherit`` are descriptors they keep open, such as the plan's lock."""

    inherit: tuple[int, ...] = ()

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Finished:
        """Run to the end and return code and output; stdout and stderr are read as one, line by line.

        Raises ChildFailed when it cannot be started or runs past ``timeout_s`` seconds; a code other than 0
        is returned, not raised. On a deadline, on cancellation and when this process dies the whole group is
        ended.
        """
        child = await self._start(argv, (_NONE, _PIPE, asyncio.subprocess.STDOUT), env, cwd)
        said: deque[str] = deque(maxlen=40)
        try:
            async with asyncio.timeout(timeout_s):
                await _read(child.stdout, said, on_line)
                code = await child.wait()
        except TimeoutError:
            raise ChildFailed(f"{argv[0]} ran past its deadline of {timeout_s:g} s and was ended") from None
        finally:
            if child.returncode is None:
                await _end(child)
        return Finished(code, "\n".join(said))

    async def pipe(self, source: Command, sink: Command, *, timeout_s: float) -> tuple[Finished, Finished]:
        """Run two programs, what the first writes going straight to the second; their words are their stderr.

        The second ends as if all were well when the first breaks off: who calls must look at both codes. Raises
        ChildFailed as ``run`` does.
        """
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):  # an unprivileged user may have used up what pipes may take
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        started: list[asyncio.subprocess.Process] = []
        said: tuple[deque[str], deque[str]] = deque(maxlen=40), deque(maxlen=40)
        try:
            try:
                started.append(await self._start(source.argv, (_NONE, writing, _PIPE), source.env))
                started.append(await self._start(sink.argv, (reading, _NONE, _PIPE), sink.env))
            finally:
                os.close(reading)
                os.close(writing)
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(
                    *(_read(child.stderr, lines, None) for child, lines in zip(started, said, strict=True))
                )
                first, second = [await child.wait() for child in started]
        except TimeoutError:
            raise ChildFailed(f"{source.argv[0]} ran past its deadline of {timeout_s:g} s and was ended") from None
        finally:
            await asyncio.gather(*(_end(child) for child in started if child.returncode is None))
        return Finished(first, "\n".join(said[0])), Finished(second, "\n".join(said[1]))

    async def _start(
        self, argv: Sequence[str], streams: tuple[int, int, int], env: Mapping[str, str] | None, cwd: Path | None = None
    ) -> asyncio.subprocess.Process:
        stdin, stdout, stderr = streams
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                start_new_session=True,
                pass_fds=self.inherit,
                preexec_fn=_die_with_parent,
                limit=1 << 20,
            )
        except OSError as error:
            raise ChildFailed(f"{argv[0]} could not be started: {error.strerror}") from None


async def _read(stream: asyncio.StreamReader | None, said: deque[str], on_line: Callable[[str], None] | None) -> None:
    assert stream is not None  # a pipe was asked for
    rest = b""
    while chunk := await stream.read(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-8192:]
        for raw in lines:
            line = plain(raw)
            said.append(line)
            if on_line is not None:
                on_line(line)
    if rest:
        said.append(plain(rest))
        if on_line is not None:
            on_line(said[-1])


async def _end(child: asyncio.subprocess.Process) -> None:
    """End the child's whole group: politely, then for certain."""
    for sign, patience_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await child.wait()
                return


def _die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the runner dies, however it dies (prctl(2), PR_SET_PDEATHSIG)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
