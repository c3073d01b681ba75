"""``check``: read everything, change nothing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from switchover.cli import say
from switchover.words import glyph

if TYPE_CHECKING:
    import argparse

    from switchover.postgres.finding import Finding


def check(options: argparse.Namespace) -> int:
    """Look at every gate that can be looked at before the cutover; 0 when all hold."""
    from switchover.steps.preview import look

    looked = asyncio.run(look(options.plan))
    ok = all(verdict.ok for _, _, verdict in looked.gates)
    if options.json:
        rows = [
            {
                "step": step,
                "gate": name,
                "ok": verdict.ok,
                "evidence": verdict.evidence,
                "fix": verdict.fix,
                "details": list(verdict.details),
            }
            for step, name, verdict in looked.gates
        ]
        say(json.dumps({"ok": ok, "gates": rows, "findings": [asdict(each) for each in looked.findings]}, indent=2))
    else:
        for step, name, verdict in looked.gates:
            mark = {True: "done", False: "failed", None: "unknown"}[verdict.ok]
            say(f"{glyph(mark)} {step}: {name}: {verdict.evidence}")
            for line in verdict.details:
                say(f"    {line}")
            if verdict.ok is not True and verdict.fix:
                say(f"    {verdict.fix}")
        _say_findings(looked.findings)
    return 0 if ok else 1


def _say_findings(findings: tuple[Finding, ...]) -> None:
    """The gravest first."""
    if findings:
        say("\nFound on both servers:")
    for finding in sorted(findings, key=lambda each: ("block", "warn", "info").index(each.severity)):
        say(f"  {finding.severity:5} {finding.id}: {finding.evidence}")
        if finding.why:
            say(f"        why: {finding.why}")
        for line in finding.fix.splitlines():
            say(f"        do:  {line}")
