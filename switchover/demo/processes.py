"""The lab's processes: each ends with the lab, however the lab ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class LabFailed(Exception):
    """The lab could not be built; the message says which part, and the last of what it said."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. ``stop`` is the signal that ends it at once and cleanly."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stop: signal.Signals = signal.SIGTERM
    uid: int | None = None
    """Another user to run as (and its group of the same number in ``gid``); None is the lab's own."""
    gid: int | None = None


@dataclass(slots=True)
class Processes:
    """Starts programs, keeps their output in ``<folder>/<name>.log`` and ends them all.

    Each child is told by the kernel when the lab dies (prctl(2), PR_SET_PDEATHSIG), and a janitor that
    outlives a killed lab waits for the children and removes the folder. Start from the main thread only:
    the kernel watches the thread that forked, not the process.
    """

    folder: Path
    keep: bool = False
    """Whether the folder outlives the lab."""
    _running: list[tuple[Program, subprocess.Popen[bytes]]] = field(default_factory=list, init=False)
    _janitor: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        script = Path(__file__).with_name("janitor.py")
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), "" if self.keep else str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def start(self, program: Program) -> subprocess.Popen[bytes]:
        """Start it in its own session, without a terminal, with its output in its log."""
        log = os.open(self.log(program.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return self._spawn(program, log)
        finally:
            os.close(log)

    def run(self, program: Program, on_line: Callable[[str], None]) -> int:
        """Run it to its end, hand over each line it writes, and return its exit code."""
        child = self._spawn(program, subprocess.PIPE)
        assert child.stdout is not None  # a pipe was asked for
        with child.stdout as out:
            for line in out:
                on_line(plain(line).rstrip())
        code = child.wait()
        self.stop(program.name)
        return code

    def _spawn(self, program: Program, out: int) -> subprocess.Popen[bytes]:
        # An interrupt inside the fork's own callbacks would be lost, and one right after it would lose the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
        try:
            return self._fork(program, out, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _fork(self, program: Program, out: int, mask: set[signal.Signals | int]) -> subprocess.Popen[bytes]:
        def die_with_lab() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, program.stop)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        try:
            child = subprocess.Popen(
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(program.env),
                cwd="/",
                start_new_session=True,
                preexec_fn=die_with_lab,
                user=program.uid,
                group=program.gid,
                extra_groups=None if program.uid is None else [],
            )
        except OSError as error:
            raise LabFailed(f"{program.name} could not be started: {error.strerror}") from None
        self._running.append((program, child))
        self._tell_janitor(child.pid)
        return child

    def log(self, name: str) -> Path:
        """Where the program of this name writes."""
        return self.folder / f"{name}.log"

    def finish(self, name: str, timeout_s: float) -> None:
        """Wait for a program that ends by itself; LabFailed when it does not, or ends badly."""
        child = self._find(name)
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LabFailed(f"{name} ran past its deadline of {timeout_s:g} s") from None
        self.stop(name)
        if code != 0:
            raise LabFailed(f"{name} ended with code {code}: {self.said(name)}")

    def wait_until(self, name: str, ready: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Ask until the program answers; LabFailed when it ends or stays silent."""
        child = self._find(name)
        deadline = time.monotonic() + timeout_s
        while not ready():
            if child.poll() is not None:
                raise LabFailed(f"{name} ended with code {child.returncode}: {self.said(name)}")
            if time.monotonic() > deadline:
                raise LabFailed(f"{name} did not answer within {timeout_s:g} s: {self.said(name)}")
            time.sleep(0.02)

    def said(self, name: str) -> str:
        """The last of what the program wrote."""
        with contextlib.suppress(OSError):
            return plain(self.log(name).read_bytes()[-1500:]).strip()
        return ""

    def stop(self, name: str, patience_s: float = 5.0) -> None:
        """End one program and wait until it is gone."""
        for program, child in [pair for pair in self._running if pair[0].name == name]:
            _end(child, program.stop, patience_s)
            self._running.remove((program, child))

    def close(self) -> None:
        """End all, the last started first, then the janitor, who removes what is left of the folder."""
        for program, child in reversed(self._running):
            if child.poll() is None:
                child.send_signal(program.stop)
        for program, child in reversed(self._running):
            _end(child, program.stop, 5.0)
        self._running.clear()
        assert self._janitor.stdin is not None  # a pipe was asked for
        with contextlib.suppress(OSError):
            self._janitor.stdin.close()
        self._janitor.wait()

    def pids(self) -> tuple[int, ...]:
        """The processes now known, the janitor's too."""
        return (self._janitor.pid, *(child.pid for _, child in self._running))

    def _find(self, name: str) -> subprocess.Popen[bytes]:
        return next(child for program, child in reversed(self._running) if program.name == name)

    def _tell_janitor(self, pid: int) -> None:
        assert self._janitor.stdin is not None  # a pipe was asked for
        self._janitor.stdin.write(b"%d\n" % pid)
        self._janitor.stdin.flush()


def _end(child: subprocess.Popen[bytes], sign: signal.Signals, patience_s: float) -> None:
    if child.poll() is None:
        child.send_signal(sign)
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
