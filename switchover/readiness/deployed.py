"""The Compose files that a plan names, held against the rules and against what the plan says of their services."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from switchover.readiness.compose.lint import Verdict, Wanted, lint
from switchover.readiness.compose.load import load
from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.compose.rule import Finding, Suppression
from switchover.readiness.compose.rules import RULES
from switchover.readiness.compose.service import project_of
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from switchover.plan.production import ComposeSpec, SuppressSpec
    from switchover.readiness.compose.service import Project

PATH_UNANSWERED = "balancer-path-unanswered"
"""What a plan may accept although no rule of the files finds it: the target does not answer the balancer's path."""

_START_FIRST = next(rule for rule in RULES if rule.id == "update-start-first-stateful")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the files are, what was found in them, and what is to be said of the plan's own words."""

    project: Project
    verdict: Verdict
    remarks: tuple[str, ...]
    """Acceptances that have ended or accept nothing, and services that are not what the plan says."""


def look_at(compose: ComposeSpec, folder: Path, today: date) -> Deployed:
    """Read the files, which are named relative to the folder, and apply every rule; raises ComposeUnreadable.

    A service or a rule that does not exist is a problem too: what is said of it would be said in vain.
    """
    wanted = _wanted(compose, folder, today)
    project = _project(wanted)
    problems = [*_misnamed(compose, [*project.tree.table("services")])]
    if problems:
        raise ComposeUnreadable(*problems)
    verdict = _with_facts(lint(wanted), project, compose, wanted.suppressions)
    return Deployed(project, verdict, (*_vain(compose, verdict, today), *_doubted(compose, project)))


def read_project(compose: ComposeSpec, folder: Path) -> Project:
    """The files' project alone; raises ComposeUnreadable."""
    return _project(_wanted(compose, folder, None))


def accepted_of(compose: ComposeSpec, rule: str, service: str, today: date) -> SuppressSpec | None:
    """The acceptance of this rule for this service that holds today."""
    return next(
        (each for each in holding(compose, today) if each.rule == rule and each.service in (None, service)), None
    )


def holding(compose: ComposeSpec, today: date) -> Iterator[SuppressSpec]:
    """The acceptances whose last day is not over."""
    return (each for each in compose.suppress if each.until is None or today <= each.until)


def ended(compose: ComposeSpec, today: date) -> Iterator[SuppressSpec]:
    """The acceptances whose last day is over."""
    return (each for each in compose.suppress if each.until is not None and today > each.until)


def unknown_services(wanted: Wanted) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Services whose start-up time is given though they are in no file, and all there are; raises ComposeUnreadable.

    Those behind a profile count. Where no service is named nothing is read.
    """
    given = [name for name in wanted.startup if name]
    if not given:
        return (), ()
    loaded = load(wanted.files, wanted.env, wanted.env_file, wanted.root)
    there = tuple(loaded.tree.table("services"))
    return tuple(name for name in given if name not in there), there


def place(finding: Finding, folder: Path) -> str:
    """File and line, the file as the plan names it."""
    return f"{plain(finding.at.file.removeprefix(f'{folder}/'), 200)}:{finding.at.line}"


def listed(names: Sequence[str]) -> str:
    """The names of services, for a message that says which there are."""
    return plain(", ".join(plain(each, 80) for each in names), 600) or "none"


def _wanted(compose: ComposeSpec, folder: Path, today: date | None) -> Wanted:
    files = [folder / file for file in compose.files]
    suppressions = [] if today is None else [*holding(compose, today)]
    return Wanted(
        files,
        dialect=compose.dialect,
        env_file=folder / compose.env_file if compose.env_file is not None else None,
        root=folder if files[0].resolve().is_relative_to(folder.resolve()) else None,
        startup={
            name: each.startup.total_seconds() for name, each in compose.services.items() if each.startup is not None
        },
        suppressions=[Suppression(each.rule, each.service or "", each.reason) for each in suppressions],
    )


def _project(wanted: Wanted) -> Project:
    dialect = wanted.dialect or "compose"
    dotenv = dialect == "compose"  # docker stack deploy knows no .env
    loaded = load(wanted.files, wanted.env, wanted.env_file, wanted.root, dotenv=dotenv)
    return project_of(loaded, dialect, wanted.startup)


def _misnamed(compose: ComposeSpec, there: Sequence[str]) -> Iterator[str]:
    files = ", ".join(compose.files)
    for name in compose.services:
        if name not in there:
            yield f"compose.services: {plain(files, 200)} has no service {plain(name, 80)!r}; there is: {listed(there)}"
    rules = {rule.id for rule in RULES} | {PATH_UNANSWERED}
    for each in compose.suppress:
        if each.rule not in rules:
            yield f"compose.suppress: there is no rule {each.rule!r}; `switchover lint --explain` lists them"
        if each.service is not None and each.service not in there:
            service = plain(each.service, 80)
            yield f"compose.suppress: {each.rule}: there is no service {service!r}; there is: {listed(there)}"


def _with_facts(
    verdict: Verdict, project: Project, compose: ComposeSpec, suppressions: Sequence[Suppression]
) -> Verdict:
    """The verdict, and start-first where the plan says that two versions may not run side by side."""
    severity = _START_FIRST.severity(verdict.dialect)
    if severity is None:
        return verdict
    found = {finding.service for finding in verdict.findings if finding.rule is _START_FIRST}
    path = ("deploy", "update_config", "order")
    more = [
        Finding(
            _START_FIRST,
            severity,
            plain(service.name, 80),
            ("services", service.name, *path),
            "start-first, and the plan says that it is not stateless",
            service.node.mark(*path),
            next((s.reason for s in suppressions if s.id == _START_FIRST.id and s.service in ("", service.name)), ""),
        )
        for service in project.services
        if service.name not in found
        and service.text(*path) == "start-first"
        and _is_stateless(compose, service.name) is False
    ]
    return replace(verdict, findings=tuple(sorted([*verdict.findings, *more], key=lambda each: each.at[:3])))


def _is_stateless(compose: ComposeSpec, name: str) -> bool | None:
    said = compose.services.get(name)
    return said.stateless if said is not None else None


def _vain(compose: ComposeSpec, verdict: Verdict, today: date) -> Iterator[str]:
    for each in ended(compose, today):
        yield f"{each.names} was accepted until {each.until}, and counts again"
    for each in holding(compose, today):
        accepts = any(
            finding.rule.id == each.rule and each.service in (None, finding.service) for finding in verdict.findings
        )
        if not accepts and each.rule != PATH_UNANSWERED:
            yield f"{each.names} is accepted and not found: take it out of compose.suppress"


def _doubted(compose: ComposeSpec, project: Project) -> Iterator[str]:
    for service in project.services:
        if service.is_stateful and _is_stateless(compose, service.name):
            yield f"{plain(service.name, 80)} is stateless as the plan says, and keeps data as the files say"
