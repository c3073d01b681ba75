"""What an operator sees of an error: what happened, in words, and the exit code."""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.cli import tell
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator


class WrongUse(Exception):
    """The command was asked something it cannot do; exit 2."""


@dataclass(slots=True)
class Trouble:
    """The exit code of the error that ended the command."""

    code: int = 1


@contextmanager
def told(*, debug: bool) -> Iterator[Trouble]:
    """Turn every error into words and an exit code; the traceback only with ``debug``."""
    trouble = Trouble()
    try:
        yield trouble
    except (KeyboardInterrupt, BrokenPipeError):
        trouble.code = 1
    except Exception as error:
        if debug:
            traceback.print_exc(file=sys.stderr)
        trouble.code = _tell(error)


def _tell(error: Exception) -> int:
    from switchover.plan.file import PlanUnreadable
    from switchover.plan.lock import Locked

    if isinstance(error, PlanUnreadable):
        for problem in error.problems:
            tell(str(problem))
        return 2
    if isinstance(error, Locked):
        tell(str(error))
        return 5
    if isinstance(error, (WrongUse, FileNotFoundError, IsADirectoryError, PermissionError)):
        tell(plain(str(error)))
        return 2
    if _is_ours(error):
        tell(plain(str(error)))
        return 1
    tell(f"a defect in switchover: {type(error).__name__}. Run again with --debug to see it")
    return 1


def _is_ours(error: Exception) -> bool:
    """Whether the error was worded for the operator, by us or by the operating system."""
    return type(error).__module__.startswith("switchover.") or isinstance(error, OSError)
