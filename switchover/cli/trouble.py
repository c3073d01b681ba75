"""What an operator sees of an error: what happened, in words, and the exit code."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from switchover.cli import tell
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable


class WrongUse(Exception):
    """The command was asked something it cannot do; exit 2."""


class Unknown(Exception):
    """What was asked could not be found out; exit 4."""


def told(command: Callable[[], int], *, debug: bool) -> int:
    """Run the command; turn every error into words and an exit code, with a traceback only for ``debug``."""
    try:
        return command()
    except (KeyboardInterrupt, BrokenPipeError):
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc(file=sys.stderr)
        return _tell(error)


def _tell(error: Exception) -> int:
    from switchover.plan.file import PlanUnreadable
    from switchover.plan.lock import Locked
    from switchover.readiness.checklist import ChecklistUnreadable

    if isinstance(error, PlanUnreadable):
        for problem in error.problems:
            tell(str(problem))
        return 2
    if isinstance(error, Locked):
        tell(str(error))
        return 5
    if isinstance(error, (WrongUse, ChecklistUnreadable, FileNotFoundError, IsADirectoryError, PermissionError)):
        tell(plain(str(error)))
        return 2
    if isinstance(error, Unknown):
        tell(plain(str(error)))
        return 4
    if _is_ours(error):
        tell(plain(str(error)))
        return 1
    tell(f"a defect in switchover: {type(error).__name__}. Run again with --debug to see it")
    return 1


def _is_ours(error: Exception) -> bool:
    """Whether the error was worded for the operator, by us or by the operating system."""
    return type(error).__module__.startswith("switchover.") or isinstance(error, OSError)
