"""Read the files, apply every rule, and say what was found."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from switchover.readiness.compose.load import load
from switchover.readiness.compose.rule import Finding, Found, Rule, Severity, Suppression
from switchover.readiness.compose.rules import RULES
from switchover.readiness.compose.service import Dialect, Project, guessed, project_of
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from switchover.readiness.compose.node import Mark


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be looked at, and how."""

    files: Sequence[Path]
    dialect: Dialect | None = None
    """None lets the file itself decide."""
    env_file: Path | None = None
    root: Path | None = None
    """The folder that what the files name has to lie in; the first file's own, unless given."""
    startup: Mapping[str, float] = field(default_factory=dict)
    """Seconds that a service takes to start, by its name; "" stands for every other."""
    suppressions: Sequence[Suppression] = ()
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, by file and line."""

    dialect: Dialect
    dialect_why: str
    services: int
    inactive: tuple[str, ...]
    findings: tuple[Finding, ...]
    lines: Mapping[str, Sequence[str]]
    secrets: frozenset[Mark]
    """Where they stand: what is there is not to be shown."""

    @property
    def standing(self) -> tuple[Finding, ...]:
        """What nobody has accepted."""
        return tuple(finding for finding in self.findings if not finding.accepted)

    @property
    def is_clean(self) -> bool:
        """Whether no error stands."""
        return not any(finding.severity == "error" for finding in self.standing)


def lint(wanted: Wanted) -> Verdict:
    """Apply every rule of the dialect; raises ComposeUnreadable when the files cannot be read as a whole."""
    with _uncollected():
        return _lint(wanted)


@contextmanager
def _uncollected() -> Iterator[None]:
    """A large file makes a million objects that all stay; looking for garbage among them doubles the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _lint(wanted: Wanted) -> Verdict:
    loaded = load(wanted.files, wanted.env, wanted.env_file, wanted.root)
    dialect, why = (wanted.dialect, "as asked") if wanted.dialect else guessed(loaded.tree)
    if dialect == "stack" and loaded.by_dotenv and wanted.env_file is None:
        # docker stack deploy knows no .env
        loaded = load(wanted.files, wanted.env, None, wanted.root, dotenv=False)
    project = project_of(loaded, dialect, wanted.startup)
    findings = sorted(_findings(project, wanted.suppressions), key=_order)
    secrets = frozenset(finding.at for finding in findings if finding.rule.id.startswith("secret-literal"))
    return Verdict(dialect, why, len(project.services), project.inactive, tuple(findings), loaded.lines, secrets)


def _findings(project: Project, suppressions: Sequence[Suppression]) -> Iterator[Finding]:
    cleaned = lru_cache(maxsize=4096)(plain)
    for rule in RULES:
        severity = rule.severity(project.dialect)
        if severity is None:
            continue
        for found in rule.check(project):
            yield Finding(
                rule,
                severity,
                cleaned(found.service, 80),
                found.path,
                cleaned(found.says, 300),
                found.at or project.tree.mark(*found.path),
                _accepted(rule, found, suppressions),
            )


def _accepted(rule: Rule, found: Found, suppressions: Sequence[Suppression]) -> str:
    for suppression in suppressions:
        if suppression.id == rule.id and suppression.service in ("", found.service):
            return suppression.reason
    return ""


_RANK: Mapping[Severity, int] = {"error": 0, "warn": 1, "info": 2}


def _order(finding: Finding) -> tuple[str, int, int, int, str]:
    at = finding.at
    return (at.file, at.line, at.column, _RANK[finding.severity], finding.rule.id)
