"""``compare``: exact comparison of two databases."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from switchover.cli import say, tell
from switchover.cli.trouble import Unknown, WrongUse
from switchover.words import count

if TYPE_CHECKING:
    import argparse

    from switchover.postgres.compare import Comparison


def compare(options: argparse.Namespace) -> int:
    """Compare; 0 only when everything was looked at and is the same, 4 when nobody can say."""
    from switchover.postgres.compare import Verdict
    from switchover.postgres.errors import BadConninfo, PostgresError

    try:
        result = asyncio.run(_compare(options))
    except BadConninfo as error:
        raise WrongUse(str(error)) from error
    except PostgresError as error:
        raise Unknown(f"whether they are the same is not known: {error}") from error
    if options.json:
        from switchover.steps.copying import comparison_fact

        say(json.dumps(comparison_fact(result), indent=2))
    else:
        rows = sum(table.source_rows for table in result.tables)
        say(f"{result.verdict.value}: {count(len(result.tables), 'table')}, {count(rows, 'row')}")
        for difference in result.differences:
            say(f"  {difference}")
    return {Verdict.SAME: 0, Verdict.DIFFERS: 1, Verdict.INCOMPLETE: 4}[result.verdict]


async def _compare(options: argparse.Namespace) -> Comparison:
    from switchover.plan.values import expand
    from switchover.postgres.compare import compare as compare_databases
    from switchover.postgres.connect import Database

    source, target = (Database.parse(expand(text, os.environ)) for text in (options.source, options.target))

    def progress(says: str, done: float, total: float, unit: str = "") -> None:
        if sys.stderr.isatty():
            tell(f"  {says}")

    return await compare_databases(
        source,
        target,
        "switchover/compare",
        on_progress=progress,
        partitions=not options.any_partitions,
        jobs=max(1, options.jobs),
        globals=True,
    )
