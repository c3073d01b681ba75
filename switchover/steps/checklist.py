"""The gates on what people signed and on what the new host was declared to be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.engine.action import Waiting
from switchover.engine.step import Gate, Verdict
from switchover.readiness.availability import slower_than_asked, spent_by_window
from switchover.readiness.checklist import ChecklistUnreadable, Status, judge, read_items
from switchover.readiness.checklist.judge import score
from switchover.readiness.swarm import SwarmUnreachable, differences, read_swarm
from switchover.readiness.topology import shortfalls, single_points
from switchover.words import count, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.plan.production import TopologySpec
    from switchover.plan.progress import Progress
    from switchover.plan.spec import Spec
    from switchover.readiness.checklist import Checklist, Standing
    from switchover.steps.context import Context

NAMED = 6
"""So many missing items are named in the evidence; all are in the details."""


def checklist_gates(context: Context) -> list[Gate]:
    """Holds while every required item is signed, waived with a reason, or shown; asked anew each time."""

    async def look() -> Verdict:
        found = _judged(context)
        return found if isinstance(found, Verdict) else _verdict(context, found)

    asked = context.spec.readiness is not None or any(item.required for item in context.spec.checklist)
    return [Gate("the checklist is signed", look)] if asked else []


def topology_gates(context: Context) -> list[Gate]:
    """Holds while nothing is short that blocks; only where the plan says what the new host consists of."""

    async def look() -> Verdict:
        found = _judged(context)
        if isinstance(found, Verdict):
            return found
        excused = {each.item.id for each in found.standings if each.status in (Status.WAIVED, Status.NOT_APPLICABLE)}
        short = [each for each in shortfalls(context.spec) if each.demand.id not in excused]
        blocks = [each for each in short if each.demand.severity == "block"]
        warns = tuple(f"{each.demand.id}: {each.evidence}" for each in short if each.demand.severity == "warn")
        if blocks:
            says = "; ".join(f"{each.demand.id}: {each.evidence}" for each in blocks)
            fix = "; ".join(each.demand.mend for each in blocks)
            return Verdict(False, says, f"{fix}; or say why not: [readiness.waived]", details=warns)
        topology = context.spec.topology
        nodes = len(topology.nodes) if topology is not None else 0
        says = f"as the plan declares them: {count(nodes, 'node')}"
        alone = single_points(context.spec)
        says += f"; alone of its kind: {', '.join(alone)}" if alone else ""
        return Verdict(True, says, details=warns)

    topology = context.spec.topology
    if topology is None:
        return []
    gates = [Gate("nodes and database are of the size of production", look)]
    if topology.docker is not None:
        gates.append(Gate("the swarm is what the plan declares", lambda: _swarm(context, topology)))
    return gates


async def _swarm(context: Context, topology: TopologySpec) -> Verdict:
    folder = topology.docker_certificates
    try:
        swarm = await read_swarm(str(topology.docker), context.path.parent / folder if folder is not None else None)
    except SwarmUnreachable as error:
        return Verdict(None, str(error), "see that the endpoint answers, or leave topology.docker out")
    found = differences(topology, swarm)
    if found.blocks:
        return Verdict(False, "; ".join(found.blocks), "mend the swarm, or correct [topology]", details=found.warns)
    return Verdict(True, f"{count(len(swarm.nodes), 'node')}, as Docker says", details=found.warns)


def _judged(context: Context) -> Checklist | Verdict:
    """Every item as it stands now; a verdict where the checklist cannot be read."""
    try:
        items = read_items(context.spec, context.path.parent)
    except ChecklistUnreadable as error:
        return Verdict(None, f"the checklist cannot be read: {plain(str(error), 600)}", "correct the plan or the pack")
    return judge(context.spec, items, context.progress(), datetime.now(UTC))


def _verdict(context: Context, found: Checklist) -> Verdict:
    required = [each for each in found.applicable if each.required]
    missing = found.missing
    if missing:
        names = ", ".join(each.item.id for each in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        says = f"{len(missing)} of {count(len(required), 'required item')} wait for a person: {names}{more}"
        fix = f"switchover attest {context.path.name} {missing[0].item.id} --note …"
        fix += "; or say why not: [readiness.waived]" if context.spec.readiness is not None else ""
        lines = tuple(f"{each.item.id}: {each.item.title}: {each.says}" for each in missing)
        return Verdict(False, says, fix, Waiting("attest:readiness", f"{says}; {fix}", "person"), lines)
    waived = sum(each.status is Status.WAIVED for each in required)
    stand, of = score([each for each in found.applicable if not each.required])
    says = f"{count(sum(each.stands for each in required), 'required item')} signed, shown or waived"
    says += f" ({waived} waived)" if waived else ""
    says += f"; {stand} of {of} recommended" if of else ""
    return Verdict(True, says, details=_remarks(context.spec, context.progress(), required))


def _remarks(spec: Spec, progress: Progress, required: Sequence[Standing]) -> tuple[str, ...]:
    """What holds today and will not on the night; what the window takes of the year; what nobody looked at."""
    window = spec.window
    ending = [
        f"{each.item.id} ends on {each.expires}, before the window closes"
        for each in required
        if each.expires is not None and window is not None and each.expires < window.closes.date()
    ]
    unseen = "the plan has no [compose]: no Compose file was held against the rules" if spec.compose is None else ""
    said = (spent_by_window(spec), slower_than_asked(spec, progress), unseen if spec.readiness is not None else "")
    return (*ending, *(each for each in said if each))
