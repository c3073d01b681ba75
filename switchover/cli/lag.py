"""``lag``: how the live copy follows, asked of both servers; changes nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from switchover.cli import say
from switchover.cli.trouble import WrongUse
from switchover.words import count, duration, glyph, size

if TYPE_CHECKING:
    import argparse

    from switchover.steps.watching import LagWatch

EVERY_S = 2.0


def lag(options: argparse.Namespace) -> int:
    """Print how far the copy is behind and what is wrong; 0 when it follows and nothing stands in the way."""
    from switchover.plan.file import load
    from switchover.steps.watching import LagWatch

    if load(options.plan).spec.database.method != "replicate":
        raise WrongUse('the plan has no live copy: its method is "dump"')
    if options.watch is not None:
        asyncio.run(_watch(LagWatch.of(options.plan), options))
    seen = asyncio.run(LagWatch.of(options.plan).look())
    _show(seen, options)
    return 0 if "trouble" not in seen and not _blocking(seen) else 1


async def _watch(watch: LagWatch, options: argparse.Namespace) -> None:
    """Look again and again, until interrupted."""
    while True:
        seen = await watch.look()
        if sys.stdout.isatty() and not options.json:
            say("\x1b[H\x1b[2J\x1b[3J")
        _show(seen, options)
        await asyncio.sleep(options.watch or EVERY_S)


def _blocking(seen: dict[str, Any]) -> bool:
    return any(each["severity"] == "block" for each in seen["findings"])


def _show(seen: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        say(json.dumps(seen, indent=None if options.watch is not None else 2))
    else:
        for line in in_lines(seen):
            say(line)


def in_lines(seen: dict[str, Any]) -> list[str]:
    """A look in lines for a person."""
    if "trouble" in seen:
        return [f"{glyph('unknown')} {seen['trouble']}"]
    behind = "an unknown amount" if seen["behind_bytes"] is None else size(seen["behind_bytes"])
    late = f", {duration(seen['behind_s'])}" if seen["behind_s"] is not None else ""
    held = "" if seen["held_bytes"] is None else f", holds {size(seen['held_bytes'])} of log"
    works = "applies" if seen["worker"] is not None else "does not apply"
    lines = [
        f"{glyph('failed' if _blocking(seen) else 'done')} {seen['from']} -> {seen['to']}: behind by {behind}{late}",
        f"  slot {seen['slot']}{held}; {count(seen['tables'], 'table')}, {works}; "
        f"{count(seen['apply_errors'], 'error')} in applying",
    ]
    for each in seen["findings"]:
        lines.append(f"  {each['severity']:5} {each['id']}: {each['evidence']}")
        lines += [f"        {key}: {each[name]}" for key, name in (("why", "why"), ("do", "fix")) if each[name]]
    return lines
