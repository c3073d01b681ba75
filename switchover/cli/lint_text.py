"""A verdict on a Compose file as text: every line with what was found on it, why it matters, and the mend."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

from switchover.readiness.compose.rules import RULES
from switchover.readiness.compose.secret import without_secrets
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.lint import Verdict
    from switchover.readiness.compose.node import Mark
    from switchover.readiness.compose.rule import Finding

WIDTH = 110
LONGEST = 1000
"""A longer line is not shown."""
_HIDDEN = "•"


def text(verdict: Verdict) -> Iterator[str]:
    """Every finding, the explanation of a rule at its first, and the sum; block by block."""
    said: set[str] = set()
    marks: dict[tuple[str, int], list[Mark]] = {}
    for mark in verdict.secrets:
        marks.setdefault((mark.file, mark.line), []).append(mark)
    for at, findings in groupby(verdict.findings, key=lambda finding: finding.at):
        lines = [*_frame(at, verdict, marks.get((at.file, at.line), []))]
        for finding in findings:
            lines += _finding(finding, is_new=finding.rule.id not in said)
            said.add(finding.rule.id)
        yield "\n".join([*lines, ""])
    yield _sum(verdict)


def _finding(finding: Finding, *, is_new: bool) -> Iterator[str]:
    of = f" {finding.service}" if finding.service else ""
    yield f"{finding.at}: {finding.severity} {finding.rule.id}{of}: {finding.evidence}"
    if finding.accepted:
        yield f"    accepted: {plain(finding.accepted, 200)}"
    elif is_new:
        for name, words in (("why", finding.rule.why), ("mend", finding.rule.mend)):
            yield textwrap.fill(f"{name}: {words}", WIDTH, initial_indent="    ", subsequent_indent="          ")


def _frame(at: Mark, verdict: Verdict, marks: list[Mark]) -> Iterator[str]:
    lines = verdict.lines.get(at.file, ())
    if not 0 < at.line <= len(lines):
        return
    line = lines[at.line - 1]
    if len(line) > LONGEST:
        return
    for mark in marks:
        line = _covered(line, mark)
    line = without_secrets(line)
    cut = max(0, at.column - 1 - WIDTH // 2) if len(line) > WIDTH else 0
    shown = plain(line[cut : cut + WIDTH].replace("\t", " "), WIDTH)
    width = max(1, min(at.end - at.column, len(shown) - (at.column - 1 - cut)))
    number = f"{at.line:>6} | "
    yield number + shown
    yield " " * (len(number) - 2) + "| " + " " * (at.column - 1 - cut) + "^" * width


def _covered(line: str, mark: Mark) -> str:
    """The line without the secret; of ``NAME=secret`` the name stays."""
    start, end = mark.column - 1, mark.end - 1 if mark.end > mark.column else len(line)
    value = line[start:end]
    name, sign, _ = value.partition("=")
    kept = name + sign if sign and name.lstrip("\"'").replace("_", "").isalnum() else ""
    return line[:start] + kept + _HIDDEN * (len(value) - len(kept)) + line[end:]


def _sum(verdict: Verdict) -> str:
    standing = verdict.standing
    parts = [
        count(sum(finding.severity == severity for finding in standing), noun)
        for severity, noun in (("error", "error"), ("warn", "warning"), ("info", "hint"))
    ]
    accepted = len(verdict.findings) - len(standing)
    said = [f"{count(verdict.services, 'service')}, read as {verdict.dialect} ({plain(verdict.dialect_why, 120)})"]
    if verdict.inactive:
        said.append(f"not looked at, behind a profile: {plain(', '.join(verdict.inactive), 300)}")
    said.append(", ".join([*parts, *([f"{accepted} accepted"] if accepted else [])]))
    return "\n".join(said)


def table() -> str:
    """Every rule: id, severities, seed items, why, mend."""
    rows = []
    for rule in RULES:
        rows.append(
            f"{rule.id}\n  stack: {rule.stack or '-'}   compose: {rule.compose or '-'}   asked by: {rule.seed or '-'}"
        )
        for name, words in (("why", rule.why), ("mend", rule.mend)):
            rows.append(textwrap.fill(f"{name}: {words}", WIDTH, initial_indent="  ", subsequent_indent="        "))
        rows.append("")
    return "\n".join([*rows, count(len(RULES), "rule")])
