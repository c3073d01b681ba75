"""``run`` and ``rollback``: the headless runner, and the words it says as it goes."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from switchover.cli import say, tell
from switchover.plan.outline import StepName
from switchover.words import plain

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from switchover.steps.session import Ran

EXIT = {"done": 0, "no": 1, "not-yet": 3, "unknown": 4}

SAID = {
    "begin": "▶",
    "done": "✓",
    "already": "✓",
    "failed": "✗",
    "unknown": "?",
    "held": "‖",
    "undo": "↶",
    "undone": "↶",
    "undo-failed": "?",
    "complete": "✓",
}


def run(options: argparse.Namespace) -> int:
    """Run the plan's steps; idempotent."""
    from switchover.steps.session import run_plan

    through = StepName(options.through) if options.through else None
    echo = say if options.events else _speaker()
    ran = asyncio.run(run_plan(options.plan, through=through, yes=options.yes, echo=echo))
    return _end(options, ran)


def rollback(options: argparse.Namespace) -> int:
    """Show what going back does, ask for the plan's name, and go back."""
    from switchover.plan.file import load
    from switchover.steps.preview import preview_rollback
    from switchover.steps.session import roll_back

    spec = load(options.plan).spec
    for line in asyncio.run(preview_rollback(options.plan)):
        tell(line)
    if not options.yes:
        if not sys.stdin.isatty():
            tell("nothing was done: type the plan's name on a terminal, or give --yes")
            return 3
        tell(f"Type  {spec.name}  to go back:")
        if sys.stdin.readline().strip() != spec.name:
            tell("nothing was done")
            return 1
    echo = say if options.events else _speaker()
    return _end(options, asyncio.run(roll_back(options.plan, echo=echo)))


def _end(options: argparse.Namespace, ran: Ran) -> int:
    from switchover.cli.status import write_reports

    write_reports(options.plan)
    if ran.reason:
        tell(ran.reason)
    if ran.defect is not None and options.debug:
        raise ran.defect
    return EXIT[ran.outcome]


def _speaker() -> Callable[[str], None]:
    """A line of words for each journal entry and log line of the stream; progress only on a terminal."""
    lively = sys.stdout.isatty()

    def speak(line: str) -> None:
        tick = json.loads(line)
        where = f"{tick['step']} {tick['action']}".strip()
        match tick["kind"]:
            case "entry" if tick["what"] in SAID and tick["step"]:
                place = f"{tick['step']}: {tick['action'] or tick['what']}"
                say(f"{SAID[tick['what']]} {plain(place)}" + ("" if not tick["action"] else f" {tick['what']}"))
            case "log":
                say(f"    {tick['say']}")
            case "progress" if lively:
                say(f"    {where}: {tick['say']}")
            case _:
                pass

    return speak
