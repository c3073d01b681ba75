"""``lint``: Compose and stack files held against what production asks of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from switchover import __version__
from switchover.cli import say, tell
from switchover.cli.trouble import WrongUse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from switchover.readiness.compose.lint import Verdict


def lint(options: argparse.Namespace) -> int:
    """Print what was found; 0 when there is no error, 2 when the files cannot be read."""
    if options.explain:
        return _explain(options)
    from switchover.readiness.compose.node import ComposeUnreadable

    try:
        verdict = _of_plan(options) if options.plan else _of_files(options)
    except ComposeUnreadable as error:
        for problem in error.problems:
            tell(problem)
        return 2
    lines = iter(_formatted(verdict, "json" if options.json else options.format))
    while some := list(islice(lines, 1000)):
        say("\n".join(some))
    return 0 if verdict.is_clean else 1


def _of_plan(options: argparse.Namespace) -> Verdict:
    """What the plan's own table asks for; what is to be said of the plan goes to stderr."""
    from switchover.plan.file import load
    from switchover.readiness.deployed import look_at

    if any((options.files, options.dialect, options.env_file, options.root, options.startup)):
        raise WrongUse("--plan takes files, dialect, variables and start-up times from the plan; name them there")
    loaded = load(options.plan)
    if loaded.spec.compose is None:
        raise WrongUse(f'{options.plan}: the plan has no [compose]; add it: files = ["stack.yaml"], dialect = "stack"')
    deployed = look_at(loaded.spec.compose, options.plan.parent, datetime.now(UTC).date())
    for remark in deployed.remarks:
        tell(remark)
    return deployed.verdict


def _of_files(options: argparse.Namespace) -> Verdict:
    from switchover.readiness.compose.lint import Wanted
    from switchover.readiness.compose.lint import lint as held
    from switchover.readiness.deployed import listed, unknown_services

    if not options.files:
        raise WrongUse("name at least one Compose file, or --plan PLAN")
    wanted = Wanted(
        options.files,
        dialect=options.dialect,
        env_file=options.env_file,
        root=options.root,
        startup=_startup(options.startup),
    )
    unknown, there = unknown_services(wanted)
    if unknown:
        raise WrongUse(f"--startup: there is no service {listed(unknown)}; there is: {listed(there)}")
    return held(wanted)


def _formatted(verdict: Verdict, form: str) -> Iterable[str]:
    from switchover.cli.lint_text import text
    from switchover.readiness.compose.formats import as_json, as_junit, as_sarif

    match form:
        case "json":
            return as_json(verdict)
        case "sarif":
            return as_sarif(verdict, __version__)
        case "junit":
            return (as_junit(verdict),)
    return text(verdict)


def _startup(given: list[str]) -> dict[str, float]:
    """``20s`` for every service, ``web=20s`` for one."""
    from switchover.readiness.compose.values import seconds

    found = {}
    for text in given:
        service, _, length = text.rpartition("=")
        value = seconds(length, bare=True)
        if value is None:
            raise WrongUse(f"--startup {text}: a duration such as 20s, or SERVICE=20s")
        found[service] = value
    return found


def _explain(options: argparse.Namespace) -> int:
    from switchover.cli.lint_text import table
    from switchover.readiness.compose.rules import RULES
    from switchover.readiness.seeds import seed_table, seed_text

    keys = ("id", "stack", "compose", "seed", "why", "mend")
    rows = [{key: getattr(rule, key) for key in keys} for rule in RULES]
    if options.json:
        say(json.dumps({"rules": rows, "seeds": [asdict(seed) for seed in seed_table()]}, indent=2))
    else:
        say(f"{table()}\n\n{seed_text()}")
    return 0
