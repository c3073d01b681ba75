"""A survey of a plan's names: what the plan expects of them by now, from its journal."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from switchover.dns.leftovers import Move
from switchover.dns.message import Endpoint
from switchover.dns.resolvers import named
from switchover.dns.survey import Surveyor, Wanted
from switchover.plan.decide import low_ttl_fact, step_of
from switchover.plan.file import load
from switchover.plan.outline import StepName
from switchover.plan.progress import ActionStatus, Progress, fold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from switchover.plan.spec import Spec


def planned_surveyors(path: Path, names: Sequence[str]) -> list[Surveyor]:
    """One for each of the plan's names, or for those of them that are given. Raises PlanUnreadable."""
    loaded = load(path)
    spec, progress = loaded.spec, fold(loaded.spec, loaded.entries)
    dns = spec.dns
    return [
        Surveyor(
            name,
            resolver=Endpoint.parse(dns.resolver) if dns.resolver else None,
            port=dns.port,
            resolvers=named(dns.resolvers),
            wanted=_wanted(spec, progress, name),
        )
        for name in (names or dns.names)
    ]


def _wanted(spec: Spec, progress: Progress, name: str) -> Wanted:
    """After the cutover has sent the change, the new address is expected, and the low TTL is the old one."""
    dns = spec.dns
    move = Move(dns.names, dns.from_, dns.to)
    switch = next(
        (each for each in step_of(progress, StepName.CUTOVER).actions if each.id == f"set-address {name}"), None
    )
    if switch is not None and switch.status in (ActionStatus.RUNNING, ActionStatus.DONE, ActionStatus.ALREADY):
        told = switch.result.get("t0") if switch.status is ActionStatus.DONE else None
        t1 = datetime.fromisoformat(told) if isinstance(told, str) else None
        return Wanted(move, dns.low_ttl, dns.low_ttl, t1, cut=True, accept=dns.accept)
    old = step_of(progress, StepName.LOWER_TTL).facts.get("old_ttl")
    known = old if isinstance(old, int) else None
    return Wanted(move, dns.low_ttl, known, low_ttl_fact(progress, "t0"), accept=dns.accept)
