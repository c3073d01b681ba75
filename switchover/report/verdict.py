"""What the report claims: where users are, what is proved and what is not. "Unknown" is never said as "ok"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.plan.decide import replicates, step_of
from switchover.plan.outline import StepName
from switchover.plan.progress import Passed, StepStatus, touched

if TYPE_CHECKING:
    from switchover.plan.progress import Progress, StepState

CLAIMS = {
    StepName.READINESS: "the target answered as production under its own name before DNS pointed there",
    StepName.REHEARSAL: "a full dump was restored and compared exactly",
    StepName.LOWER_TTL: "every authoritative address served the low TTL",
    StepName.WINDOW: "forecast and way back fitted the window",
    StepName.CUTOVER: "the fenced source and the copy were compared exactly before the target opened",
    StepName.VERIFY: "health held for the soak time and nobody was left on the source",
    StepName.FINISH: "the TTL is back and scratch objects are gone",
}
LIVE = CLAIMS | {
    StepName.REPLICATE: "the live copy was compared exactly as of the moment it follows from, and had caught up",
    StepName.CUTOVER: "behind the fence the live copy had everything: flushed to the end of the log, the marker row, "
    "every sequence, and the rows of the tables that were compared once more",
    StepName.VERIFY: "health held for the soak time, nobody was left on the source, and the old host was kept current",
    StepName.FINISH: "the TTL is back, scratch objects are gone, and no replication is left on either server",
}
"""What is claimed where a live copy was followed."""
UNCOMPARED = "the live copy had caught up; it was not compared before it followed"
BACK = "DNS serves the old address and the source has its settings of before"


def verdict(progress: Progress) -> str:
    """One sentence: where users are, or that this is not known."""
    states = _states(progress)
    cutover = step_of(progress, StepName.CUTOVER)
    stale = [state.title for state in progress.steps if state.status is StepStatus.STALE]
    for state in states:
        if state.status is StepStatus.UNKNOWN:
            return f"Unknown: a person must look. {state.title}: {state.why}"
    if progress.finished and stale:
        return f"Users are on the new host, but the plan was changed since: {', '.join(stale)}."
    if progress.finished:
        return "Done: users are on the new host, and every step is proved."
    if progress.rolled_back:
        return "Rolled back: users are on the old host."
    if _half_way(progress.rollback):
        return "In the middle of a rollback: users may be without service; run the rollback again."
    if cutover.status in (StepStatus.DONE, StepStatus.STALE):
        return "Cut over, not finished: users are on the new host; verification is still to be completed."
    if progress.passed is not Passed.NOT:
        return "In between: the target may have taken writes; go forward or roll back."
    if _half_way(cutover):
        return "In the middle of the cutover: users may be without service; run again or roll back."
    if cutover.status in (StepStatus.FAILED, StepStatus.UNDONE) and cutover.why:
        return f"Not cut over: users are on the old host. The last attempt: {cutover.why}"
    return f"Not cut over: users are on the old host. Next is {progress.next}."


def proved(progress: Progress) -> tuple[str, ...]:
    """The claims of the steps that are done and still stand."""
    claims = [_claim(progress, state) for state in progress.steps if state.status is StepStatus.DONE]
    return (*claims, BACK) if progress.rolled_back else tuple(claims)


def not_proved(progress: Progress) -> tuple[str, ...]:
    """The other claims, each with why it does not stand; and the servers that the claims leave out."""
    open_ = [state for state in progress.steps if state.status is not StepStatus.DONE]
    claims = [
        f"{_claim(progress, state)} ({state.status}" + (f": {state.why}" if state.why else "") + ")" for state in open_
    ]
    left_out = _unproven(progress)
    if left_out:
        claims.append(f"what {', '.join(left_out)} served: accepted as unproven, or not to be reached from here")
    return (*claims, *_uncompared(progress))


def _uncompared(progress: Progress) -> list[str]:
    """What was accepted as not to be compared."""
    said = [
        action.result.get("comparison") or action.proof.get("comparison")
        for state in _states(progress)
        for action in state.actions
    ]
    listed = (each.get("differing") for each in said if isinstance(each, dict) and each.get("verdict") == "incomplete")
    return list(dict.fromkeys(f"{line}: accepted" for lines in listed if isinstance(lines, list) for line in lines))


def _claim(progress: Progress, state: StepState) -> str:
    if state.name is StepName.REPLICATE and state.facts.get("uncompared"):
        return UNCOMPARED
    return (LIVE if replicates(progress) else CLAIMS)[state.name]


def _unproven(progress: Progress) -> list[str]:
    """The name servers' addresses that were set aside while the others were watched."""
    found: set[str] = set()
    for state in _states(progress):
        for action in state.actions:
            rows = action.result.get("servers")
            for row in rows if isinstance(rows, list) else []:
                if isinstance(row, dict) and row.get("proved") is False:
                    found.add(f"{row.get('host')} {row.get('address')}")
    return sorted(found)


def _states(progress: Progress) -> tuple[StepState, ...]:
    return (*progress.steps, progress.rollback) if progress.rollback else progress.steps


def _half_way(state: StepState | None) -> bool:
    """Whether something was touched and the step did not come to its end."""
    return (
        state is not None and state.status is not StepStatus.DONE and any(touched(action) for action in state.actions)
    )
