"""Step 1: the target answers as production and its files are clean before anyone is sent there; the rest is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.step import Gate, Step, Verdict
from switchover.plan.outline import StepName
from switchover.steps.checklist import checklist_gates, topology_gates
from switchover.steps.compose import compose_gates
from switchover.web.health import check_all
from switchover.words import count

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchover.engine.action import Facts
    from switchover.plan.spec import HealthSpec
    from switchover.steps.context import Context


LEAST_DAYS = 30
"""A certificate that ends sooner is warned of: on the new host nothing may renew it yet."""


def build(context: Context) -> Step:
    """Gates only: nothing is changed."""
    spec = context.spec
    found: Facts = {}
    files: Facts = {}
    gates = [Gate(f"target answers: {check.name}", _health(context, check, found)) for check in spec.health]
    gates += [*topology_gates(context), *compose_gates(context, files), *checklist_gates(context)]
    return Step(StepName.READINESS, gates=tuple(gates), facts=lambda: {"health": [*found.values()], **files})


def healthy_target(context: Context) -> list[Gate]:
    """The target's health at its address, under the production name; for the cutover's gates too."""
    return [Gate(f"target answers: {check.name}", _health(context, check, {})) for check in context.spec.health]


def _health(context: Context, check: HealthSpec, found: Facts) -> Callable[[], Awaitable[Verdict]]:
    async def look() -> Verdict:
        (answered,) = await check_all((check,), context.spec.dns.to)
        found[check.name] = {
            "name": check.name,
            "ok": answered.ok,
            "status": answered.status,
            "ms": answered.ms,
            "address": context.spec.dns.to,
            "reason": answered.reason,
            "certificate_days": answered.certificate_days,
        }
        says = f"{check.url} at {context.spec.dns.to}: "
        if answered.ok:
            ends = _ends_soon(answered.certificate_days)
            return Verdict(True, f"{says}{answered.status} in {answered.ms:.0f} ms", details=ends)
        return Verdict(False, says + answered.reason, "make the new host answer as production does, then run again")

    return look


def _ends_soon(days: int | None) -> tuple[str, ...]:
    if days is None or days >= LEAST_DAYS:
        return ()
    return (f"the certificate ends in {count(days, 'day')}: see that the new host renews it",)
