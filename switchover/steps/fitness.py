"""Whether both servers are fit for the copy: asked when planned, before the rehearsal and as the cutover starts."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from switchover.engine.step import Gate, Verdict
from switchover.plan.decide import replicates, step_of
from switchover.plan.outline import StepName
from switchover.postgres.fence_layers import fence_findings
from switchover.postgres.finding import Finding
from switchover.postgres.fingerprint import read_schema, schema_changes
from switchover.postgres.globals import global_findings
from switchover.postgres.preflight import preflight
from switchover.steps.links import possible
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from switchover.plan.journal import Json
    from switchover.steps.context import Context

SHOWN = 6


async def look_at_both(context: Context) -> tuple[Finding, ...]:
    """Everything that a connection can tell of both servers before anything is copied."""
    source, target, app = context.source, context.target, context.app
    looks = [
        preflight(source, target, app, bin=context.spec.database.bin),
        global_findings(source, target, app),
        fence_findings(source, app),
        _schema_drift(context),
    ]
    if replicates(context.progress()):
        looks += [possible(context), _far_fence(context)]
    found = await asyncio.gather(*looks)
    return tuple(each for some in found for each in some)


def database_gates(context: Context) -> list[Gate]:
    """Holds as long as nothing blocks; a warning does not, but is said until it is mended or accepted.

    After a rehearsal it also says what has changed since.
    """

    async def look() -> Verdict:
        found = context.findings = await look_at_both(context)
        accepted = context.spec.database.accept
        blocks = [each for each in found if each.severity == "block"]
        if blocks:
            says = "; ".join(f"{each.id}: {each.evidence}" for each in blocks)
            held = [each.id for each in blocks if each.id in accepted]
            says += f"; what blocks cannot be accepted: {', '.join(held)}" if held else ""
            return Verdict(False, says, "; ".join(each.fix for each in blocks if each.fix))
        before = step_of(context.progress(), StepName.REHEARSAL).facts.get("preflight")
        changed = drift(before, found) if isinstance(before, list) else ()
        warned = [each for each in found if each.severity == "warn"]
        says = count(len(warned), "warning") if warned else "nothing to warn of"
        says += f", {count(len(changed), 'change')} since the rehearsal" if changed else ""
        lines = [_warning(each, accepted) for each in warned]
        return Verdict(True, says, details=(*lines, *(f"since the rehearsal: {each}" for each in changed)))

    return [Gate("both servers are fit for the copy", look)]


def _warning(finding: Finding, accepted: Mapping[str, str]) -> str:
    if finding.id in accepted:
        return f"{finding.id} is accepted: {plain(accepted[finding.id], 200)}"
    return f"{finding.id}: {finding.evidence}"


def journaled(findings: Iterable[Finding]) -> list[Json]:
    """What was found, for the journal; how to mend it is said anew by every look."""
    return [{"id": each.id, "severity": each.severity, "evidence": each.evidence} for each in findings]


def drift(before: Sequence[Json], now: Iterable[Finding]) -> tuple[str, ...]:
    """What appeared, went or changed since findings were journaled; a line each.

    What is only told, such as sizes, changes with every look: of it only the versions count.
    """
    then = {str(each["id"]): str(each["evidence"]) for each in before if isinstance(each, dict)}
    found = tuple(now)
    today = {each.id: each.evidence for each in found}
    counts = {each.id for each in found if each.severity != "info" or each.id == "versions"}
    new = [f"new {id}: {says}" for id, says in today.items() if id not in then]
    gone = [f"{id} is gone" for id in then if id not in today]
    other = [f"{id} was: {then[id]}" for id, says in today.items() if id in counts and then.get(id, says) != says]
    return (*new, *gone, *other)


async def keep_schema(context: Context) -> str:
    """Put the source's schema beside the plan, so that a later look can name what changed; its hash."""
    text = json.dumps(await read_schema(context.source, context.app))
    path = context.folder / "schema.json"
    path.touch(mode=0o600)
    path.write_text(text)
    return _hash(text)


async def _far_fence(context: Context) -> tuple[Finding, ...]:
    """What a fence around the target would lack, for a return with the data."""
    found = await fence_findings(context.target, context.app)
    return tuple(replace(each, id=f"back-{each.id}") for each in found if each.severity != "info")


async def _schema_drift(context: Context) -> tuple[Finding, ...]:
    """Whether the source's schema is the one that was rehearsed."""
    progress = context.progress()
    copied = step_of(progress, StepName.REPLICATE).facts.get("schema") if replicates(progress) else None
    rehearsed = copied or step_of(progress, StepName.REHEARSAL).facts.get("schema")
    if not isinstance(rehearsed, str):
        return ()
    now = json.dumps(await read_schema(context.source, context.app))
    if _hash(now) == rehearsed:
        return ()
    path = context.folder / "schema.json"
    before = path.read_text() if path.exists() else ""
    lines = schema_changes(json.loads(before), json.loads(now)) if before and _hash(before) == rehearsed else []
    says = "; ".join(lines[:SHOWN]) or "its hash is another; what changed is not known on this machine"
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    why = "what was rehearsed is not what will be moved: times, and whether it can be restored, are no longer proved"
    evidence = plain(f"the source's schema has changed since the rehearsal: {says}{more}", 900)
    return (Finding("schema-changed", "warn", evidence, "rehearse once more", why),)


def _hash(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
