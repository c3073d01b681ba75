"""``switchover demo``: the lab in the wizard, or headless through the command line."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from switchover.demo.clusters import WheelMissing
from switchover.demo.processes import LabFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from switchover.demo.lab import Lab

WIZARD_OPENS_IN = timedelta(minutes=2)
"""Enough to read one's way through the steps before the window, and little to wait for."""


def run_demo(*, auto: bool, keep: bool, wizard: Callable[[Path], int]) -> int:
    """Run the demo; 0 when all is moved and no acknowledged order was lost, 1 when not, 2 without the wheel.

    However it ends (Ctrl-C, SIGTERM, a lost terminal, a failure) no process is left, and no folder but with
    ``keep``.
    """
    from switchover.demo.lab import Lab, Wishes

    wishes = Wishes(keep=keep) if auto else Wishes(opens_in=WIZARD_OPENS_IN, window="2h", keep=keep)
    started = time.monotonic()
    try:
        with _interrupted_by(signal.SIGINT, signal.SIGTERM, signal.SIGHUP), Lab(wishes) as lab:
            say(f"The lab is up in {time.monotonic() - started:.1f} s: {lab.folder}")
            lab.start_client()
            done = _headless(lab) if auto else _wizard(lab, wizard)
            if keep:
                say(f"Kept: {lab.folder}")
    except WheelMissing as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    except LabFailed as failed:
        sys.stderr.write(f"the lab failed: {failed}. Everything it had started is stopped\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; every process of the lab has ended and its folder is as asked\n")
        return 1
    say(f"{time.monotonic() - started:.0f} s in all")
    return 0 if done else 1


def say(text: str) -> None:
    """A line for whoever watches; a terminal that has gone away is no reason to stop."""
    with contextlib.suppress(OSError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _headless(lab: Lab) -> bool:
    from switchover.demo.operator import Operator

    operator = Operator(lab, say)
    moved = operator.migrate()
    kept = _count_orders(lab)
    operator.show_report()
    return moved and kept


def _wizard(lab: Lab, wizard: Callable[[Path], int]) -> bool:
    """The wizard on the lab's plan; what it starts inherits the way to the databases."""
    from switchover.demo.operator import end_runner

    try:
        with _environment(lab.env):
            code = wizard(lab.plan)
    finally:
        end_runner(lab)
    _count_orders(lab)
    return code == 0


def _count_orders(lab: Lab) -> bool:
    """Stop the users and say whether every order they were promised is where the shop now is."""
    from switchover.demo.account import account

    lab.stop_client()
    found = account(lab, lab.serving())
    say(found.says())
    return found.holds


@contextlib.contextmanager
def _interrupted_by(*signs: signal.Signals) -> Iterator[None]:
    """Let these signals end the demo as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {sign: signal.signal(sign, interrupt) for sign in signs}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
