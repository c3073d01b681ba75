"""Outlives a killed lab: ends its processes, then removes its folder. Standard library only."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time

PATIENCE_S = 10.0


def main(folder: str) -> None:
    """Read a process id a line; at the end of input (the lab is gone) end those processes and clean up.

    An empty ``folder`` is one to keep.
    """
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    watched = []
    for line in sys.stdin:
        with contextlib.suppress(OSError):  # it has ended already
            watched.append(os.pidfd_open(int(line)))  # a descriptor, so that a reused number is never signalled
    if wait(watched, PATIENCE_S):
        for pidfd in watched:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait(watched, PATIENCE_S)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def wait(watched: list[int], patience_s: float) -> bool:
    """Wait until all have ended; whether some have not."""
    poll = select.poll()
    for pidfd in watched:
        poll.register(pidfd, select.POLLIN)
    left = set(watched)
    deadline = time.monotonic() + patience_s
    while left and (rest_s := deadline - time.monotonic()) > 0:
        for pidfd, _ in poll.poll(rest_s * 1000):
            poll.unregister(pidfd)
            left.discard(pidfd)
    return bool(left)


if __name__ == "__main__":
    main(sys.argv[1])
