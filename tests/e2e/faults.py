"""The real command line with a fault at one journal entry: a test's own entry point, no hook in the product.

``FAULT`` is ``WHEN:WHAT:WHERE``: before or after; ``kill`` or the path of a Python file to run as a child; and the
number of the append in this process, or ``step/action/what`` of the entry. ``FENCE_S``, if set, is how many seconds the
fence may wait for locks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from switchover.cli import run_command
from switchover.plan.file import Writer
from switchover.steps.fencing import fence_action

if TYPE_CHECKING:
    from switchover.plan.journal import Draft, Entry

WHEN, WHAT, WHERE = os.environ["FAULT"].split(":")
_append = Writer.append
_count = 0


def _strike() -> None:
    if WHAT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    subprocess.run([sys.executable, WHAT], check=True, stdin=subprocess.DEVNULL)


def append(self: Writer, draft: Draft) -> Entry:
    global _count
    _count += 1
    here = str(_count) == WHERE or f"{draft.step}/{draft.action}/{draft.what}" == WHERE
    if here and WHEN == "before":
        _strike()
    entry = _append(self, draft)
    if here and WHEN == "after":
        _strike()
    return entry


if __name__ == "__main__":
    Writer.append = append  # type: ignore[method-assign]
    if "FENCE_S" in os.environ and fence_action.__kwdefaults__:
        fence_action.__kwdefaults__["deadline_s"] = float(os.environ["FENCE_S"])
    sys.exit(run_command(sys.argv[1:]))
