"""Step 1: the target answers as production before anyone is sent there, and the checklist is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.action import Waiting
from switchover.engine.step import Gate, Step, Verdict
from switchover.plan.outline import StepName
from switchover.web.health import check_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchover.engine.action import Facts
    from switchover.plan.spec import ChecklistItem, HealthSpec
    from switchover.steps.context import Context


def build(context: Context) -> Step:
    """Gates only: nothing is changed."""
    spec = context.spec
    found: Facts = {}
    gates = [Gate(f"target answers: {check.name}", _health(context, check, found)) for check in spec.health]
    gates += [Gate(f"attested: {item.title}", _attested(context, item)) for item in spec.checklist if item.required]
    return Step(StepName.READINESS, gates=tuple(gates), facts=lambda: {"health": [found[key] for key in found]})


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
            return Verdict(True, f"{says}{answered.status} in {answered.ms:.0f} ms")
        return Verdict(False, says + answered.reason, "make the new host answer as production does, then run again")

    return look


def _attested(context: Context, item: ChecklistItem) -> Callable[[], Awaitable[Verdict]]:
    async def look() -> Verdict:
        signed = context.progress().attested.get(item.id)
        if signed is not None:
            return Verdict(True, f"{signed.who}: {signed.note}")
        fix = f"switchover attest {context.path.name} {item.id} --note …"
        wait = Waiting(f"attest:{item.id}", f"{item.title}: not attested yet; {fix}", "person")
        return Verdict(False, "nobody has signed this", fix, wait)

    return look
