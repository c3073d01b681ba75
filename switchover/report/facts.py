"""The report as data, gathered from plan and journal alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from switchover.plan.decide import forecast, replicates, step_of
from switchover.plan.journal import Json, What
from switchover.plan.outline import FIRST_WRITE, OPEN_TARGET, StepName
from switchover.plan.production import WaiverSpec
from switchover.plan.progress import ActionStatus, StepStatus
from switchover.plan.spec import SHORTEST_LEAD, SHORTEST_WINDOW, digest
from switchover.report import evidence
from switchover.report.pauses import Pause, pauses
from switchover.report.service import Service, service
from switchover.report.story import Moment, people, timeline
from switchover.report.verdict import not_proved, proved, verdict
from switchover.words import duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from switchover.plan.journal import Entry
    from switchover.plan.production import SuppressSpec
    from switchover.plan.progress import Progress, StepState
    from switchover.plan.spec import Spec
    from switchover.report.evidence import Proved

WHOLE = (
    "database",
    "dns",
    "window",
    "maintenance",
    "health",
    "verify",
    "checklist",
    "readiness",
    "topology",
    "compose",
)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a phase took in the cutover, and in the rehearsal; seconds."""

    phase: str
    rehearsed_s: float | None
    took_s: float | None


@dataclass(frozen=True, slots=True)
class Relied:
    """What of the spec a finished step relied on, by its digest, and whether it still is so."""

    step: str
    digest: str
    stale: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the report says; instants are UTC, durations seconds."""

    name: str
    plan_id: str
    verdict: str
    proved: tuple[str, ...]
    not_proved: tuple[str, ...]
    from_address: str
    to_address: str
    names: tuple[str, ...]
    low_ttl_s: int
    timezone: str
    """The plan's zone, for showing times; empty is UTC."""
    reasons: tuple[str, ...]
    passed: str
    """The point of no return: "not passed", "may be passed", "passed", or "rolled back" when it is behind."""
    opened: str
    """When the target was last opened; empty when it never was."""
    first_write: dict[str, Json] | None
    service: Service | None
    """None while nothing has been touched."""
    pauses: tuple[Pause, ...]
    """Every time in which nobody could write, and how it ended."""
    people: tuple[Moment, ...]
    timeline: tuple[Moment, ...]
    timings: tuple[Timing, ...]
    cutover_s: float | None
    """From the first change to the end, holds and lost runs included."""
    forecast_s: tuple[float, float] | None
    remarks: tuple[dict[str, Json], ...]
    """What the preflight warned of last, each with the reason for which it was accepted, if it was."""
    files: tuple[dict[str, Json], ...]
    """What was found in the Compose files when the target was found ready, each with the reason if it was accepted."""
    made: tuple[str, ...]
    """Roles, settings and privileges that the target lacked and was given."""
    clients: tuple[dict[str, Json], ...]
    """Who was connected to the source before the fence, and so must be pointed to the target."""
    came_back: tuple[dict[str, Json], ...]
    """Who connected to the source although it was fenced."""
    dns: tuple[dict[str, Json], ...]
    comparisons: tuple[dict[str, Json], ...]
    changes: tuple[dict[str, Json], ...]
    changes_known: bool
    """Whether the rows written on the target were counted; if not, no rows here says nothing."""
    kept: str
    proofs: tuple[Proved, ...]
    relied: tuple[Relied, ...]
    spec_digest: str
    head: str
    entries: int


def make_report(spec: Spec, entries: Sequence[Entry], progress: Progress) -> Report:
    """Gather the report from the journal alone; a pure function."""
    states = (*progress.steps, progress.rollback) if progress.rollback else progress.steps
    expected = forecast(progress)
    users = service(entries)
    unsure = users is not None and not users.complete
    return Report(
        name=spec.name,
        plan_id=progress.plan_id,
        verdict=verdict(progress),
        proved=proved(progress),
        not_proved=(*not_proved(progress), *(["the whole time that users were without service"] if unsure else [])),
        from_address=spec.dns.from_,
        to_address=spec.dns.to,
        names=spec.dns.names,
        low_ttl_s=spec.dns.low_ttl,
        timezone=spec.window.timezone if spec.window else "",
        reasons=_reasons(spec),
        passed="rolled back" if progress.rolled_back else progress.passed,
        opened=_opened(entries),
        first_write=_first_write(entries),
        service=users,
        pauses=pauses(entries, spec.dns.low_ttl),
        people=people(entries),
        timeline=timeline(entries),
        timings=_timings(progress),
        cutover_s=_cutover_s(step_of(progress, StepName.CUTOVER)),
        forecast_s=(round(expected.low_s, 1), round(expected.high_s, 1)) if expected else None,
        remarks=_remarks(spec, progress),
        files=_listed(_compose(progress).get("findings")),
        made=_made(progress),
        clients=_listed(_fence(progress).get("clients") or step_of(progress, StepName.REHEARSAL).facts.get("clients")),
        came_back=_listed(_fence(progress).get("came_back")),
        dns=evidence.rows(states, "servers"),
        comparisons=evidence.rows(states, "comparison"),
        changes=evidence.rows(states, "changes"),
        changes_known=evidence.looked(states, "changes"),
        kept=_kept(progress),
        proofs=evidence.proofs(states),
        relied=_relied(entries, progress),
        spec_digest=digest(spec, WHOLE),
        head=progress.head,
        entries=progress.entries,
    )


def as_json(report: Report) -> str:
    """The report for a program."""
    return json.dumps(asdict(report), indent=2, ensure_ascii=False)


def _reasons(spec: Spec) -> tuple[str, ...]:
    reasons = []
    if spec.dns.lead < SHORTEST_LEAD:
        reasons.append(f"lead of {duration(spec.dns.lead)} instead of 48h: {spec.dns.lead_reason}")
    if spec.window is not None and spec.window.length < SHORTEST_WINDOW:
        reasons.append(f"window of {duration(spec.window.length)} instead of 2h: {spec.window.short_reason}")
    reasons += [f"preflight {name} accepted: {why}" for name, why in spec.database.accept.items()]
    if spec.replicate.uncompared is not None:
        reasons.append(f"live copy not compared before it followed: {spec.replicate.uncompared}")
    if spec.readiness is not None:
        reasons += [f"checklist {item} waived: {_waived(waiver)}" for item, waiver in spec.readiness.waived.items()]
        reasons += [f"checklist {item} not applicable: {why}" for item, why in spec.readiness.not_applicable.items()]
    if spec.compose is not None:
        reasons += [f"in the Compose files {each.names} accepted: {_waived(each)}" for each in spec.compose.suppress]
    if spec.dns.accept:
        reasons.append(f"accepted as left behind in DNS: {', '.join(spec.dns.accept)}")
    return tuple(reasons)


def _waived(waiver: WaiverSpec | SuppressSpec) -> str:
    by = f"by {waiver.owner}" if isinstance(waiver, WaiverSpec) and waiver.owner else ""
    said = ", ".join(part for part in (f"until {waiver.until}" if waiver.until else "", by) if part)
    return f"{waiver.reason} ({said})" if said else waiver.reason


def _remarks(spec: Spec, progress: Progress) -> tuple[dict[str, Json], ...]:
    """The cutover's own look counts; before it the rehearsal's."""
    steps = (step_of(progress, name) for name in (StepName.CUTOVER, StepName.REHEARSAL))
    found = next((state.facts["preflight"] for state in steps if state.facts.get("preflight")), None)
    return tuple(
        {**each, "accepted": spec.database.accept.get(str(each.get("id")), "no")}
        for each in _listed(found)
        if each.get("severity") != "info"
    )


def _compose(progress: Progress) -> Mapping[str, Json]:
    found = step_of(progress, StepName.READINESS).facts.get("compose")
    return found if isinstance(found, dict) else {}


def _made(progress: Progress) -> tuple[str, ...]:
    """What was lacking when it was intended: a run that was killed has made it all the same."""
    steps = (step_of(progress, name) for name in (StepName.REHEARSAL, StepName.CUTOVER))
    done = (
        action
        for state in steps
        for action in state.actions
        if action.id == "copy-globals" and action.status is ActionStatus.DONE
    )
    says = (action.result.get("made") or action.before.get("says") for action in done)
    return tuple(str(each) for some in says if isinstance(some, list) for each in some)


def _fence(progress: Progress) -> Mapping[str, Json]:
    actions = step_of(progress, StepName.CUTOVER).actions
    return next((action.result for action in actions if action.id == "fence-source"), {})


def _listed(found: Json) -> tuple[dict[str, Json], ...]:
    return tuple(each for each in found if isinstance(each, dict)) if isinstance(found, list) else ()


def _opened(entries: Sequence[Entry]) -> str:
    opened = [entry.at for entry in entries if entry.action == OPEN_TARGET and entry.what is What.INTENT]
    return opened[-1].isoformat(timespec="seconds") if opened else ""


def _first_write(entries: Sequence[Entry]) -> dict[str, Json] | None:
    """The first sight of a user's write; the write itself was earlier."""
    for entry in entries:
        if entry.what is What.EVIDENCE and entry.data.get("kind") == FIRST_WRITE:
            return {"seen": entry.at.isoformat(timespec="seconds"), "table": entry.data.get("table", "")}
    return None


def _timings(progress: Progress) -> tuple[Timing, ...]:
    rehearsed = {
        action.id.removesuffix("-rehearsal").removesuffix("-trial"): action.seconds
        for action in step_of(progress, StepName.REHEARSAL).actions
    }
    took = {action.id.removesuffix("-final"): action.seconds for action in step_of(progress, StepName.CUTOVER).actions}
    if replicates(progress):
        copied = step_of(progress, StepName.REPLICATE).actions
        took |= {action.id.removesuffix("-live"): action.seconds for action in copied if action.id.endswith("-live")}
    timings = [Timing(phase, rehearsed.get(phase), took.get(phase)) for phase in {**took, **rehearsed}]
    return tuple(each for each in timings if each.rehearsed_s is not None or each.took_s is not None)


def _cutover_s(cutover: StepState) -> float | None:
    started = [action.started for action in cutover.actions if action.started is not None]
    if cutover.status not in (StepStatus.DONE, StepStatus.STALE) or cutover.ended is None or not started:
        return None
    return round((cutover.ended - min(started)).total_seconds(), 2)


def _relied(entries: Sequence[Entry], progress: Progress) -> tuple[Relied, ...]:
    digests = {entry.step: str(entry.data.get("digest", "")) for entry in entries if entry.what is What.COMPLETE}
    return tuple(
        Relied(state.name, digests[state.name], state.why if state.status is StepStatus.STALE else "")
        for state in progress.steps
        if digests.get(state.name) and state.status in (StepStatus.DONE, StepStatus.STALE)
    )


def _kept(progress: Progress) -> str:
    actions = progress.rollback.actions if progress.rollback else ()
    return next((str(action.proof["kept"]) for action in actions if action.proof.get("kept")), "")
