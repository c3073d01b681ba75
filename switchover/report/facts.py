"""What the report says, gathered from plan and journal; no wording but the verdict's."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from switchover.plan.decide import forecast, step_of
from switchover.plan.journal import Json, What
from switchover.plan.outline import StepName
from switchover.plan.progress import Passed, StepStatus
from switchover.plan.spec import SHORTEST_LEAD, SHORTEST_WINDOW, digest
from switchover.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.plan.journal import Entry
    from switchover.plan.progress import Progress, StepState
    from switchover.plan.spec import Spec

TOLD = {
    What.COMPLETE,
    What.FAILED,
    What.UNKNOWN,
    What.UNDONE,
    What.HELD,
    What.UNDO_FAILED,
    What.RECOVERED,
    What.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    at: str
    who: str
    where: str
    what: str
    says: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a phase of the cutover took, against the rehearsal; seconds."""

    phase: str
    rehearsed_s: float | None
    took_s: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the report says."""

    name: str
    plan_id: str
    verdict: str
    proved: tuple[str, ...]
    not_proved: tuple[str, ...]
    from_address: str
    to_address: str
    names: tuple[str, ...]
    reasons: tuple[str, ...]
    people: tuple[Moment, ...]
    timeline: tuple[Moment, ...]
    timings: tuple[Timing, ...]
    cutover_s: float | None
    forecast_s: tuple[float, float] | None
    outages: tuple[dict[str, Json], ...]
    dns: tuple[dict[str, Json], ...]
    comparisons: tuple[dict[str, Json], ...]
    changes: tuple[dict[str, Json], ...]
    kept: str
    passed: str
    spec_digest: str
    head: str
    entries: int


def make_report(spec: Spec, entries: Sequence[Entry], progress: Progress) -> Report:
    """Gather the report from the journal alone; a pure function."""
    states = [*progress.steps, *([progress.rollback] if progress.rollback else [])]
    cutover = step_of(progress, StepName.CUTOVER)
    expected = forecast(progress)
    proved, missing = _proved(spec, progress)
    return Report(
        name=spec.name,
        plan_id=progress.plan_id,
        verdict=_verdict(progress),
        proved=tuple(proved),
        not_proved=tuple(missing),
        from_address=spec.dns.from_,
        to_address=spec.dns.to,
        names=spec.dns.names,
        reasons=_reasons(spec),
        people=tuple(_people(entries)),
        timeline=tuple(_moment(entry) for entry in entries if entry.what in TOLD and entry.step),
        timings=_timings(progress),
        cutover_s=cutover.seconds,
        forecast_s=(round(expected.low_s, 1), round(expected.high_s, 1)) if expected else None,
        outages=tuple(_outages(entries)),
        dns=tuple(_dns(states)),
        comparisons=tuple(_found(states, "comparison")),
        changes=tuple(_changes(states)),
        kept=_kept(progress),
        passed=progress.passed,
        spec_digest=digest(spec, ("database", "dns", "window", "maintenance", "health", "verify", "checklist")),
        head=progress.head,
        entries=progress.entries,
    )


def as_json(report: Report) -> str:
    """The report for a program."""
    return json.dumps(asdict(report), indent=2, ensure_ascii=False)


def _verdict(progress: Progress) -> str:
    if progress.rolled_back:
        return "Rolled back: users are on the old host."
    if progress.finished:
        return "Done: users are on the new host, and every step is proved."
    if any(state.status is StepStatus.UNKNOWN for state in progress.steps):
        return "Unknown: a person must look."
    cutover = step_of(progress, StepName.CUTOVER)
    if cutover.status is StepStatus.DONE:
        return "Cut over, not finished: users are on the new host; verification is still to be completed."
    if progress.passed is not Passed.NOT:
        return "In between: the target may have taken writes; go forward or roll back."
    return f"Not cut over: users are on the old host. Next is {progress.next}."


def _proved(spec: Spec, progress: Progress) -> tuple[list[str], list[str]]:
    proved: list[str] = []
    missing: list[str] = []
    claims = {
        StepName.READINESS: "the target answered as production under its own name before DNS pointed there",
        StepName.REHEARSAL: "a full dump was restored and compared exactly",
        StepName.LOWER_TTL: "every authoritative address served the low TTL",
        StepName.WINDOW: "forecast and way back fitted the window",
        StepName.CUTOVER: "the fenced source and the copy were compared exactly before the target opened",
        StepName.VERIFY: "health held for the soak time and nobody was left on the source",
        StepName.FINISH: "the TTL is back and scratch objects are gone",
    }
    for state in progress.steps:
        (proved if state.status is StepStatus.DONE else missing).append(claims[state.name])
    return proved, missing


def _reasons(spec: Spec) -> tuple[str, ...]:
    reasons = []
    if spec.dns.lead < SHORTEST_LEAD:
        reasons.append(f"lead of {duration(spec.dns.lead)} instead of 48h: {spec.dns.lead_reason}")
    if spec.window is not None and spec.window.length < SHORTEST_WINDOW:
        reasons.append(f"window of {duration(spec.window.length)} instead of 2h: {spec.window.short_reason}")
    if spec.dns.accept:
        reasons.append(f"accepted as left behind in DNS: {', '.join(spec.dns.accept)}")
    return tuple(reasons)


def _people(entries: Sequence[Entry]) -> list[Moment]:
    return [_moment(entry) for entry in entries if entry.what in (What.DECIDED, What.ATTESTED)]


def _moment(entry: Entry) -> Moment:
    data = entry.data
    says = next((str(data[key]) for key in ("reason", "note", "signal", "file") if data.get(key)), "")
    subject = next((str(data[key]) for key in ("hold", "item", "key") if data.get(key)), entry.action)
    if data.get("choice"):
        says = f"{data['choice']}. {says}"
    if entry.what is What.COMPLETE and isinstance(data.get("seconds"), (int, float)):
        says = duration(float(str(data["seconds"])))
    return Moment(
        entry.at.strftime("%Y-%m-%d %H:%M:%SZ"),
        entry.who,
        f"{entry.step} {subject}".strip(),
        str(entry.what),
        says,
    )


def _timings(progress: Progress) -> tuple[Timing, ...]:
    rehearsed = {
        action.id.removesuffix("-rehearsal"): action.seconds for action in step_of(progress, StepName.REHEARSAL).actions
    }
    took = {action.id.removesuffix("-final"): action.seconds for action in step_of(progress, StepName.CUTOVER).actions}
    phases = [*took, *(phase for phase in rehearsed if phase not in took)]
    return tuple(Timing(phase, rehearsed.get(phase), took.get(phase)) for phase in phases)


def _outages(entries: Sequence[Entry]) -> list[dict[str, Json]]:
    found: list[dict[str, Json]] = []
    for entry in entries:
        summary = entry.data.get("summary")
        if entry.what is What.EVIDENCE and entry.data.get("kind") == "outage" and isinstance(summary, dict):
            found.append(
                {
                    "step": entry.step,
                    "file": entry.data.get("file"),
                    "sha256": entry.data.get("sha256"),
                    **summary,
                }
            )
    return found


def _dns(states: Sequence[StepState]) -> list[dict[str, Json]]:
    """The latest word of every authoritative address for every change."""
    found: list[dict[str, Json]] = []
    for state in states:
        for action in state.actions:
            servers = action.proof.get("servers")
            for server in servers if isinstance(servers, list) else []:
                if isinstance(server, dict):
                    found.append({"step": state.name, "change": action.id, **server})
    return found


def _found(states: Sequence[StepState], key: str) -> list[dict[str, Json]]:
    found: list[dict[str, Json]] = []
    for state in states:
        for action in state.actions:
            value = action.result.get(key) or action.proof.get(key)
            if isinstance(value, dict):
                found.append({"step": state.name, **value})
    return found


def _changes(states: Sequence[StepState]) -> list[dict[str, Json]]:
    found: list[dict[str, Json]] = []
    for state in states:
        for action in state.actions:
            rows = action.result.get("changes") or action.proof.get("changes")
            for row in rows if isinstance(rows, list) else []:
                if isinstance(row, dict):
                    found.append({"step": state.name, **row})
    return found


def _kept(progress: Progress) -> str:
    actions = progress.rollback.actions if progress.rollback else ()
    return next((str(action.proof["kept"]) for action in actions if action.proof.get("kept")), "")
