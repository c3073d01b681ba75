"""The real command line with a fault at one journal entry: a test's own entry point, no hook in the product.

``FAULT`` is ``WHEN:WHAT:WHERE``: before or after; ``kill`` or the path of a Python file to run as a child; and the
number of the append in this process, or ``step/action/what`` of the entry.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from switchover.cli import run_command
from switchover.plan.file import Writer

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
    sys.exit(run_command(sys.argv[1:]))
