"""``dns``: who decides about a name, what each address serves, what caches hold, when they have forgotten."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import TYPE_CHECKING

from switchover.cli import say
from switchover.cli.trouble import WrongUse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from switchover.dns.survey import Survey, Surveyor

QUICK, QUICK_S, SLOW_S = 24, 5.0, 60.0
"""So many rounds 5 s apart, while things may be moving, then one a minute."""


def dns(options: argparse.Namespace) -> int:
    """Print what is seen of each name; 0 when every server agrees and nothing stands in the way of a change."""
    surveyors = _surveyors(options)
    return asyncio.run(_watch(surveyors, options) if options.watch is not None else _once(surveyors, options))


async def _once(surveyors: Sequence[Surveyor], options: argparse.Namespace) -> int:
    surveys = await asyncio.gather(*(surveyor.look() for surveyor in surveyors))
    _show(surveys, options)
    return 0 if all(_good(survey, options) for survey in surveys) else 1


async def _watch(surveyors: Sequence[Surveyor], options: argparse.Namespace) -> int:
    """Look again and again, until interrupted."""
    number = 0
    while True:
        surveys = await asyncio.gather(*(surveyor.look() for surveyor in surveyors))
        if sys.stdout.isatty() and not options.json:
            say("\x1b[H\x1b[2J\x1b[3J")
        _show(surveys, options)
        number += 1
        pause = options.watch or (QUICK_S if number < QUICK else SLOW_S)
        await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311  so that watchers do not keep step


def _good(survey: Survey, options: argparse.Namespace) -> bool:
    from switchover.dns.finding import standing

    accept = survey.wanted.accept if survey.wanted is not None else ()
    return survey.agree and not survey.weaker and not standing(survey.findings, accept)


def _show(surveys: Sequence[Survey], options: argparse.Namespace) -> None:
    """One document, or a list of them for several names; while watching one a line."""
    from switchover.cli.dns_text import text
    from switchover.dns.survey import to_json

    documents = [to_json(survey) for survey in surveys]
    if not options.json:
        say("\n\n".join(text(document) for document in documents))
    elif options.watch is None:
        say(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))
    else:
        say("\n".join(json.dumps(document) for document in documents))


def _surveyors(options: argparse.Namespace) -> list[Surveyor]:
    if options.plan is not None:
        return _planned(options.plan, options.names)
    if not options.names:
        raise WrongUse("name at least one name, or a plan with --plan")
    from switchover.dns.message import Endpoint
    from switchover.dns.resolvers import named
    from switchover.dns.survey import Surveyor

    try:
        at = Endpoint.parse(options.at) if options.at else None
    except ValueError as error:
        raise WrongUse(f"--at {options.at}: {error}") from None
    # Whoever names a resolver means that one: nobody else is asked.
    resolvers = named((options.at,) if options.at else None)
    return [Surveyor(name, resolver=at, port=options.port, resolvers=resolvers) for name in options.names]


def _planned(path: Path, names: Sequence[str]) -> list[Surveyor]:
    from switchover.steps.survey import planned_surveyors

    return planned_surveyors(path, names)
