"""``check``: read everything, change nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from switchover.cli import say
from switchover.words import glyph

if TYPE_CHECKING:
    import argparse


def check(options: argparse.Namespace) -> int:
    """Look at every gate that can be looked at before the cutover; 0 when all hold."""
    from switchover.steps.preview import look

    looked = asyncio.run(look(options.plan))
    if options.json:
        rows = [
            {"step": step, "gate": name, "ok": verdict.ok, "evidence": verdict.evidence, "fix": verdict.fix}
            for step, name, verdict in looked
        ]
        say(json.dumps({"ok": all(verdict.ok for _, _, verdict in looked), "gates": rows}, indent=2))
    else:
        for step, name, verdict in looked:
            mark = {True: "done", False: "failed", None: "unknown"}[verdict.ok]
            say(f"{glyph(mark)} {step}: {name}: {verdict.evidence}")
            if verdict.ok is not True and verdict.fix:
                say(f"    {verdict.fix}")
    return 0 if all(verdict.ok for _, _, verdict in looked) else 1
