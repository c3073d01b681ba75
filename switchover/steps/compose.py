"""The gates on the Compose files that the plan names, and on the path that their load balancer asks."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from switchover.engine.step import Gate, Verdict
from switchover.plan.outline import CLEAN_FILES
from switchover.readiness.asked import Asked, asked_paths
from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.deployed import PATH_UNANSWERED, accepted_of, look_at, place, read_project
from switchover.readiness.rollout.planned import studies
from switchover.readiness.rollout.study import Study
from switchover.web.probe import Request, probe
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from switchover.engine.action import Facts
    from switchover.plan.journal import Json
    from switchover.plan.production import ComposeSpec
    from switchover.readiness.compose.rule import Finding
    from switchover.readiness.deployed import Deployed
    from switchover.steps.context import Context

NAMED = 3
"""So many findings are named in the evidence."""
MOST_TOLD = 12
MOST_KEPT = 200
"""So many findings stand in the details, and in the journal."""


def compose_gates(context: Context, found: Facts) -> list[Gate]:
    """Holds while no error stands in the files and the balancer's path is answered; ``found`` is for the journal."""
    compose = context.spec.compose
    if compose is None:
        return []

    async def clean() -> Verdict:
        try:
            deployed = await asyncio.to_thread(look_at, compose, context.path.parent, _today())
        except ComposeUnreadable as error:
            return _unreadable(error)
        rollouts = await asyncio.to_thread(studies, deployed.project)
        found["compose"] = _facts(compose, deployed, context.path.parent)
        found["rollouts"] = [_rollout(each) for each in rollouts.values() if isinstance(each, Study)]
        return _verdict(context, compose, deployed, [*_losses(rollouts)])

    async def answered() -> Verdict:
        try:
            project = await asyncio.to_thread(read_project, compose, context.path.parent)
        except ComposeUnreadable as error:
            return _unreadable(error)
        asked = asked_paths(project, context.spec)
        looked = await asyncio.gather(*(_ask(context, compose, each) for each in asked if each.ours))
        found["balancer_paths"] = [facts for facts, _ in looked]
        others = tuple(f"{each.service}: not asked: {each.why_not}" for each in asked if not each.ours)
        return _answers([verdict for _, verdict in looked], others)

    return [Gate(CLEAN_FILES, clean), Gate("the load balancer's path is answered", answered)]


def _today() -> date:
    return datetime.now(UTC).date()


def _unreadable(error: ComposeUnreadable) -> Verdict:
    says = f"the Compose files cannot be read: {plain(error.problems[0], 600)}"
    return Verdict(None, says, "correct the file, or [compose] of the plan", details=tuple(error.problems[1:MOST_TOLD]))


def _verdict(context: Context, compose: ComposeSpec, deployed: Deployed, losses: list[str]) -> Verdict:
    verdict, folder = deployed.verdict, context.path.parent
    says = f"{plain(', '.join(compose.files), 200)}, read as {compose.dialect}: {count(verdict.services, 'service')}"
    says += f", {_sum(deployed)}"
    accepted = [each for each in verdict.findings if each.accepted]
    lines = [f"accepted: {_says(each, folder)}: {plain(each.accepted, 200)}" for each in accepted]
    command = f"switchover lint --plan {context.path.name}"
    if verdict.is_clean:
        warnings = [_says(each, folder) for each in verdict.standing if each.severity == "warn"]
        return Verdict(True, says, details=_capped([*deployed.remarks, *losses, *warnings, *lines], command))
    errors = [_says(each, folder) for each in verdict.standing if each.severity == "error"]
    more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    says += f": {'; '.join(errors[:NAMED])}{more}"
    fix = f"{command} shows each line and what mends it; mend the file, or say why it is fine: [[compose.suppress]]"
    return Verdict(False, says, fix, details=_capped([*deployed.remarks, *losses, *errors[NAMED:], *lines], command))


def _sum(deployed: Deployed) -> str:
    verdict = deployed.verdict
    numbers = _numbers(deployed)
    parts = [count(numbers[key], key.removesuffix("s")) for key in ("errors", "warnings", "hints")]
    accepted = len(verdict.findings) - len(verdict.standing)
    return ", ".join([*parts, *([f"{accepted} accepted"] if accepted else [])])


def _numbers(deployed: Deployed) -> dict[str, int]:
    standing = deployed.verdict.standing
    severities = {"errors": "error", "warnings": "warn", "hints": "info"}
    return {key: sum(each.severity == severity for each in standing) for key, severity in severities.items()}


def _says(finding: Finding, folder: Path) -> str:
    of = f" {finding.service}" if finding.service else ""
    return f"{place(finding, folder)} {finding.rule.id}{of}: {finding.evidence}"


def _capped(lines: list[str], command: str) -> tuple[str, ...]:
    rest = len(lines) - MOST_TOLD
    return (*lines[:MOST_TOLD], *([f"and {rest} more: {command}"] if rest > 0 else []))


def _facts(compose: ComposeSpec, deployed: Deployed, folder: Path) -> Json:
    """Errors, warnings and whatever was accepted, with its reason; hints are only counted."""
    kept = [each for each in deployed.verdict.findings if each.severity != "info" or each.accepted]
    rows: list[Json] = [
        {
            "rule": each.rule.id,
            "severity": each.severity,
            "service": each.service,
            "place": place(each, folder),
            "evidence": each.evidence,
            "accepted": each.accepted,
        }
        for each in kept[:MOST_KEPT]
    ]
    return {
        "files": list(compose.files),
        "dialect": compose.dialect,
        "services": deployed.verdict.services,
        **_numbers(deployed),
        "findings": rows,
        "left_out": len(kept) - len(rows),
    }


def _rollout(found: Study) -> dict[str, Json]:
    """How an update of the service would go."""
    timeline = found.now.timeline
    return {
        "service": found.service,
        "lossless": found.now.lossless,
        "fewest_serving": timeline.fewest,
        "replicas": timeline.replicas,
        "worse_than_defaults": found.worse_than_defaults,
    }


def _losses(rollouts: Mapping[str, Study | ComposeUnreadable]) -> Iterator[str]:
    """Updates that take capacity away, that are worse than with Docker's own settings, or that cannot be tried."""
    for name, found in rollouts.items():
        if isinstance(found, ComposeUnreadable):
            yield f"{plain(name, 80)}: its update cannot be simulated: {plain(found.problems[0], 300)}"
        else:
            shown = "the wizard's checklist, key c, shows what to change"
            timeline = found.now.timeline
            if not found.now.lossless:
                yield f"{plain(name, 80)}: an update takes it down to {timeline.fewest} of {timeline.replicas}: {shown}"
            if found.worse_than_defaults:
                yield f"{plain(name, 80)}: an update fails more requests than with Docker's defaults: {shown}"


async def _ask(context: Context, compose: ComposeSpec, asked: Asked) -> tuple[dict[str, Json], Verdict]:
    """One path, asked of the target under the production name; the plan may accept that it is not answered."""
    accepted = accepted_of(compose, PATH_UNANSWERED, asked.service, _today())
    ok, status, says = None, None, f"{asked.service}: {asked.path}: {asked.why_not}"
    if asked.url:
        within_ms = int(asked.timeout_s * 1000)
        answer = await probe(
            Request(asked.url, context.spec.dns.to, asked.status, None, within_ms, max(5.0, asked.timeout_s + 1))
        )
        ok, status = answer.ok, answer.status
        how = f"{answer.status} in {answer.ms:.0f} ms" if answer.ok else answer.reason
        says = f"{asked.service}: {plain(asked.url.partition('?')[0], 300)} at {context.spec.dns.to}: {how}"
    facts: dict[str, Json] = {"service": asked.service, "says": says, "ok": ok, "status": status}
    if ok is True or accepted is None:
        return facts, Verdict(ok, says)
    reason = plain(accepted.reason, 200)
    return {**facts, "accepted": reason}, Verdict(True, f"{says} (accepted: {reason})")


def _answers(looked: list[Verdict], others: tuple[str, ...]) -> Verdict:
    if not looked:
        return Verdict(True, "no load balancer's check under a name of this plan: nothing to ask", details=others)
    says = "; ".join(each.evidence for each in looked)
    if all(each.ok for each in looked):
        return Verdict(True, says, details=others)
    fix = "make the path answer with 2xx or 3xx; where it is for the inside only, look at it there and say so: "
    fix += f'[[compose.suppress]] rule = "{PATH_UNANSWERED}"'
    return Verdict(False if any(each.ok is False for each in looked) else None, says, fix, details=others)
