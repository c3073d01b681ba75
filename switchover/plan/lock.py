"""The run lock: one runner a plan, on a file that nothing renames, kept until its last child has ended."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from switchover import __version__
from switchover.words import plain

END_PATIENCE_S = 5.0
LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a plan, as the lock file says."""

    run: str
    pid: int
    boot: str
    host: str
    who: str
    since: str
    version: str

    @property
    def alive(self) -> bool:
        """Whether that runner still lives, as far as this host can tell; another host's counts as alive."""
        if self.host != socket.gethostname():
            return True
        return self.boot == boot_id() and Path(f"/proc/{self.pid}").exists()


class Locked(Exception):
    """Another run holds the plan."""

    def __init__(self, holder: Holder | None) -> None:
        self.holder = holder
        if holder is None:
            super().__init__("another run holds the plan; its lock does not say who")
        else:
            super().__init__(
                f"run {holder.run} of {plain(holder.who, 100)} holds the plan since {plain(holder.since, 40)} "
                f"(pid {holder.pid}); watch it with `switchover status --follow`"
            )


@dataclass(frozen=True, slots=True)
class RunLock:
    """A held lock; children that inherit ``fd`` keep it held after a killed runner until they end."""

    fd: int
    ended: tuple[int, ...] = ()
    """Children of a killed run that were ended to get the lock."""

    @classmethod
    def take(cls, plan: Path, run: str) -> RunLock:
        """Take the lock, ending what a killed runner left working; raises Locked when its runner lives."""
        path = lock_path(plan)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        ended: tuple[int, ...] = ()
        try:
            if not _try(fd):
                holder = read_holder(plan)
                if holder is None or holder.alive:
                    raise Locked(holder)
                ended = _end_orphans(path, fd, holder)
            me = Holder(run, os.getpid(), boot_id(), socket.gethostname(), who_am_i(), _now(), __version__)
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps(asdict(me)).encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, ended)

    def release(self) -> None:
        """Let go."""
        os.close(self.fd)


def lock_path(plan: Path) -> Path:
    """The lock file of a plan."""
    plan = plan.resolve()
    return plan.with_name(plan.name + ".lock")


def read_holder(plan: Path) -> Holder | None:
    """Who took the lock last; None when the file does not say."""
    try:
        return Holder(**json.loads(lock_path(plan).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_held(plan: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        fd = os.open(lock_path(plan), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def who_am_i() -> str:
    """user@host"""
    import getpass

    return f"{getpass.getuser()}@{socket.gethostname()}"


def boot_id() -> str:
    """This boot of this machine; a pid means nothing after a restart."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _try(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_orphans(path: Path, fd: int, holder: Holder) -> tuple[int, ...]:
    """End the processes that still hold a dead runner's lock: they are its children and nobody else's."""
    ended: set[int] = set()
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + END_PATIENCE_S
        while time.monotonic() < deadline:
            if _try(fd):
                return tuple(sorted(ended))
            for pid in _holding(path):
                if pid not in ended or sign is signal.SIGKILL:
                    ended.add(pid)
                    _signal(pid, sign)
            time.sleep(LOOK_EVERY_S)
    raise Locked(holder)


def _signal(pid: int, sign: signal.Signals) -> None:
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return


def _holding(path: Path) -> tuple[int, ...]:
    """The processes, other than this one, that have the file open."""
    wanted = path.stat()
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid() and _has_open(process / "fd", wanted):
            found.append(int(process.name))
    return tuple(found)


def _has_open(descriptors: Path, wanted: os.stat_result) -> bool:
    try:
        return any(os.path.samestat(each.stat(), wanted) for each in descriptors.iterdir())
    except OSError:  # the process has ended meanwhile, or is not ours
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
