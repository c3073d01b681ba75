"""How the plan's Compose files look: text made from what was found in them, without a screen."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from switchover.plan.outline import CLEAN_FILES
from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.deployed import look_at, place
from switchover.readiness.rollout.planned import studies
from switchover.readiness.rollout.text import text as rollout_text
from switchover.tui.draw import STYLES, mark
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from switchover.plan.production import ComposeSpec
    from switchover.plan.progress import GateState
    from switchover.plan.spec import Spec
    from switchover.readiness.compose.rule import Finding
    from switchover.readiness.deployed import Deployed
    from switchover.readiness.rollout.study import Study

KINDS = (("error", "failed", "Errors"), ("warn", "warn", "Warnings"), ("info", "todo", "Hints"))
"""Severities from the gravest on: the mark of each, and the heading."""


@dataclass(frozen=True, slots=True)
class Files:
    """What was found in the files, or why they cannot be read."""

    deployed: Deployed | None = None
    rollouts: Mapping[str, Study | ComposeUnreadable] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def pages(self) -> tuple[str, ...]:
        """The findings, then each service whose update was simulated."""
        return ("findings", *self.rollouts)


def read(compose: ComposeSpec, folder: Path, today: date) -> Files:
    """Read and judge the files; trouble is shown, never raised."""
    try:
        deployed = look_at(compose, folder, today)
    except ComposeUnreadable as error:
        return Files(problems=error.problems)
    return Files(deployed, studies(deployed.project))


def summary(spec: Spec, gates: Sequence[GateState], width: int, *, ascii_only: bool) -> Text:
    """One line for the checklist's head: how the files stood when the step last looked."""
    if spec.compose is None:
        return Text(" the plan has no [compose]: no Compose file is looked at", "dim")
    gate = next((each for each in gates if each.name == CLEAN_FILES), None)
    if gate is None:
        line = Text(f" {plain(', '.join(spec.compose.files), 80)}: not looked at yet; c looks")
    else:
        state = {True: "done", False: "failed", None: "unknown"}[gate.ok]
        line = Text.assemble(" ", mark(state, ascii_only=ascii_only), f" {plain(gate.evidence, 300)}")
    line.truncate(width, overflow="ellipsis")
    return line


def title(compose: ComposeSpec, pages: Sequence[str], page: str, width: int) -> Text:
    """Which files, and which of the pages is shown."""
    others = f"   {pages.index(page) + 1} of {len(pages)}" if len(pages) > 1 else ""
    what = page if page == "findings" else f"update of {plain(page, 60)}"
    text = Text.assemble(
        (f" {what}", "bold"), f"{others}   {plain(', '.join(compose.files), 120)} as {compose.dialect}"
    )
    text.truncate(width, overflow="ellipsis")
    return text


def body(files: Files, page: str, folder: Path, width: int, *, ascii_only: bool) -> Text:
    """The page that is shown."""
    if files.deployed is None:
        says = [Text("The Compose files cannot be read", STYLES["failed"])]
        return Text("\n").join([*says, *(Text(f"  {plain(each, 600)}") for each in files.problems)])
    if page == "findings":
        return _findings(files.deployed, folder, width, ascii_only=ascii_only)
    found = files.rollouts[page]
    if isinstance(found, ComposeUnreadable):
        says = [Text("Its update cannot be simulated", STYLES["unknown"])]
        return Text("\n").join([*says, *(Text(f"  {plain(each, 600)}") for each in found.problems)])
    return rollout_text(found, width, ascii_only=ascii_only)


def _findings(deployed: Deployed, folder: Path, width: int, *, ascii_only: bool) -> Text:
    verdict = deployed.verdict
    lines = [line for each in deployed.remarks for line in _wrapped(each, width, style=STYLES["warn"])]
    for severity, state, heading in KINDS:
        found = [each for each in verdict.standing if each.severity == severity]
        lines.append(Text.assemble((heading, "bold"), f"  {len(found) or 'none'}"))
        said: set[str] = set()
        for each in found:
            lines += _marked(state, _says(each, folder), width, ascii_only=ascii_only)
            if severity != "info" and each.rule.id not in said:
                lines += _wrapped(each.rule.mend, width, indent=5, style="dim")
            said.add(each.rule.id)
    accepted = [each for each in verdict.findings if each.accepted]
    if accepted:
        lines.append(Text.assemble(("Accepted", "bold"), f"  {len(accepted)}"))
    for each in accepted:
        lines += _marked("waived", _says(each, folder), width, ascii_only=ascii_only)
        lines += _wrapped(plain(each.accepted, 300), width, indent=5, style=STYLES["waived"])
    return Text("\n").join(lines)


def _marked(state: str, says: str, width: int, *, ascii_only: bool) -> list[Text]:
    first, *more = textwrap.wrap(says, max(20, width - 3))
    return [Text.assemble(" ", mark(state, ascii_only=ascii_only), f" {first}"), *(Text(f"   {line}") for line in more)]


def _wrapped(says: str, width: int, *, indent: int = 0, style: str = "") -> list[Text]:
    return [Text(" " * indent + line, style) for line in textwrap.wrap(says, max(20, width - indent))]


def _says(finding: Finding, folder: Path) -> str:
    of = f" {finding.service}" if finding.service else ""
    return f"{finding.rule.id}{of}: {finding.evidence} ({place(finding, folder)})"


def next_line(files: Files | None) -> Text:
    """Whether the files bar the way, and that no key here changes anything."""
    if files is None:
        says = ("reading", "the files, and trying each update in the simulator")
    elif files.deployed is None:
        says = ("unreadable", "correct the file, or [compose] of the plan; it is read again when it changes")
    elif not files.deployed.verdict.is_clean:
        errors = sum(each.severity == "error" for each in files.deployed.verdict.standing)
        says = (count(errors, "error"), "bar the way: mend the file, or say why not: [[compose.suppress]]")
    else:
        says = ("clean", "no error stands in the files")
    return Text.assemble(
        (f" {says[0]} ", "bold reverse"), f" {says[1]}\n", " Only looks: no key here changes anything."
    )


def about(*, ascii_only: bool) -> Text:
    """What the marks of this screen mean."""
    text = Text("\nMarks\n", "bold")
    for state, says in (
        ("failed", "error: bars readiness and cutover until it is mended or accepted"),
        ("warn", "warning"),
        ("todo", "hint"),
        ("waived", "accepted, with the reason that the plan gives"),
    ):
        text.append_text(Text.assemble("  ", mark(state, ascii_only=ascii_only), f" {says}\n"))
    return text.append(
        "\nAn update is simulated of each service of a stack whose startup stands in [compose.services].\n"
        "`switchover lint --plan PLAN` shows the lines themselves, and why each rule is there.\n"
    )
