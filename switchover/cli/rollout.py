"""``rollout``: a rolling update of one service of a Compose file, simulated over time."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from switchover.cli import say, tell
from switchover.cli.trouble import WrongUse

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from switchover.readiness.rollout.settings import Rollout


def rollout(options: argparse.Namespace) -> int:
    """Print how the update goes and what to change; 0 when no capacity is lost."""
    from switchover.readiness.compose.node import ComposeUnreadable
    from switchover.readiness.rollout.read import read_service
    from switchover.readiness.rollout.study import study, to_json

    try:
        settings = _with(options, read_service(options.file, options.service))
    except ComposeUnreadable as error:
        for problem in error.problems:
            tell(problem)
        return 2
    found = study(options.service, settings)
    if options.json:
        say(json.dumps(to_json(found), indent=2))
    else:
        from switchover.readiness.rollout.settings import Image
        from switchover.readiness.rollout.text import text

        console = _console()
        console.print(
            text(
                found,
                console.width,
                image=Image(options.image),
                assumed=options.startup is None,
                ascii_only=_ascii_only(),
            )
        )
    return 0 if found.now.lossless else 1


def _with(options: argparse.Namespace, settings: Rollout) -> Rollout:
    """The file's settings, and what the command line says besides."""
    from switchover.readiness.rollout.settings import FirstCheck

    balancer = replace(
        settings.balancer,
        poll_s=_seconds(options, "poll", settings.balancer.poll_s),
        first_check=FirstCheck(options.first_check),
    )
    return replace(
        settings,
        startup_s=_seconds(options, "startup", settings.startup_s),
        stop_s=_seconds(options, "stop", settings.stop_s),
        balancer=balancer,
    )


def _seconds(options: argparse.Namespace, name: str, default: float) -> float:
    """The option as seconds, bare or with units."""
    from switchover.readiness.compose.values import seconds
    from switchover.readiness.rollout.read import LONGEST_S, SHORTEST_S

    given = getattr(options, name)
    if given is None:
        return default
    found = seconds(given, bare=True)
    if found is None or not SHORTEST_S <= found <= LONGEST_S:
        raise WrongUse(f"--{name} {given}: no duration from 100ms to 24h; as in 20s or 1m30s")
    return found


def _console() -> Console:
    """Plain text where stdout is no terminal or NO_COLOR is set; rich sees to both."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)


def _ascii_only() -> bool:
    return os.environ.get("TERM") == "linux" or "utf" not in (sys.stdout.encoding or "").lower()
