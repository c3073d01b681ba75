"""The steps of a switchover in the operator's order, as data that every other part reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

OPEN_TARGET = "open-target"
"""The action of the cutover whose intent means that the point of no return may be passed."""

FIRST_WRITE = "first-write"
"""The kind of evidence that says it is passed."""

CLEAN_FILES = "the Compose files are clean"
"""The gate whose evidence says how the plan's Compose files stand."""


class StepName(StrEnum):
    """The name of a step, as the operator types it."""

    READINESS = "readiness"
    REHEARSAL = "rehearsal"
    LOWER_TTL = "lower-ttl"
    REPLICATE = "replicate"
    WINDOW = "window"
    CUTOVER = "cutover"
    VERIFY = "verify"
    FINISH = "finish"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What is known of a step before it is ever run."""

    name: StepName
    title: str
    purpose: str
    relies_on: tuple[str, ...]
    """Dotted keys of the spec; when one changes after the step was done, the step is stale."""
    needs: tuple[StepName, ...]
    """Steps that must be done, and not stale, before this one may run."""


COPYING = tuple(f"database.{key}" for key in ("source", "target", "method", "copy", "jobs", "bin", "keep_dump"))
"""What a copy depends on: to accept a warning does not make the rehearsal stale."""

STEPS: tuple[StepInfo, ...] = (
    StepInfo(
        StepName.READINESS,
        "Readiness",
        "The target answers as production before anyone is sent there, and the checklist is signed.",
        ("dns.names", "dns.to", "health", "checklist", "readiness", "topology", "compose"),
        (),
    ),
    StepInfo(
        StepName.REHEARSAL,
        "Rehearsal",
        "A full copy into a scratch database, compared exactly and timed.",
        COPYING,
        (),
    ),
    StepInfo(
        StepName.LOWER_TTL,
        "Lower the TTL",
        "Caches must forget the old address quickly on the night, so they are told days ahead.",
        ("dns",),
        (),
    ),
    StepInfo(
        StepName.REPLICATE,
        "Replicate",
        "A live copy, compared exactly and kept current from then on, so that the cutover has next to nothing to move.",
        (*COPYING, "replicate.source", "replicate.target", "replicate.uncompared"),
        (StepName.REHEARSAL,),
    ),
    StepInfo(
        StepName.WINDOW,
        "Window",
        "A maintenance window that fits the forecast, agreed with the people who use the application.",
        ("window",),
        (StepName.REHEARSAL, StepName.LOWER_TTL, StepName.REPLICATE),
    ),
    StepInfo(
        StepName.CUTOVER,
        "Cutover",
        "Writes stop on the old host, the data moves and is compared, the new host opens, DNS follows.",
        (*COPYING, "dns", "maintenance", "window"),
        (StepName.READINESS, StepName.REHEARSAL, StepName.LOWER_TTL, StepName.REPLICATE, StepName.WINDOW),
    ),
    StepInfo(
        StepName.VERIFY,
        "Verify",
        "Health as users see it, for long enough; the old answer gone from caches; nobody left on the source.",
        ("dns", "health", "verify"),
        (StepName.CUTOVER,),
    ),
    StepInfo(
        StepName.FINISH,
        "Finish",
        "The TTL goes back up, scratch objects go away, the report is written.",
        ("dns",),
        (StepName.VERIFY,),
    ),
)

STEP = {info.name: info for info in STEPS}
"""Every step there is, whatever the method."""


def steps_of(method: str) -> tuple[StepInfo, ...]:
    """The steps of a plan with this method; only "replicate" has the step of that name."""
    if method == "replicate":
        return STEPS
    return tuple(
        replace(info, needs=tuple(name for name in info.needs if name is not StepName.REPLICATE))
        for info in STEPS
        if info.name is not StepName.REPLICATE
    )
