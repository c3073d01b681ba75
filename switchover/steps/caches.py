"""The wait until no obedient cache holds the old address any more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.dns.authority import observe as ask_all
from switchover.dns.propagation import agreed, safe_instant
from switchover.engine.action import Action, Seen
from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.steps.dns_change import servers_fact
from switchover.words import instant

if TYPE_CHECKING:
    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.plan.progress import Progress
    from switchover.steps.context import Context


def caches_action(context: Context) -> Action:
    """Every authoritative address serves the new address, and the low TTL has run out since the last one did."""
    dns = context.spec.dns

    async def observe() -> Seen:
        ready = old_answer_gone(context.progress(), dns.low_ttl)
        servers: list[Json] = []
        for name in dns.names:
            authority = await context.authority(name)
            answers = await ask_all(authority)
            servers += servers_fact(authority, answers)
            if not agreed(answers, (dns.to,), None, authority.hosts, authority.waived).ok:
                return Seen.todo(servers=servers, name=name)
        facts: Facts = {"servers": servers, "gone": ready.isoformat()}
        return Seen.done(**facts) if datetime.now(UTC) >= ready else Seen.todo(**facts)

    async def apply(live: Live) -> Facts:
        ready = old_answer_gone(context.progress(), dns.low_ttl)
        whole = (ready - datetime.now(UTC)).total_seconds()
        while (left := (ready - datetime.now(UTC)).total_seconds()) > 0:
            live.progress(f"caches may hold the old address until {instant(ready)}", whole - left, whole, "s")
            await asyncio.sleep(min(1.0, left))
        return {"gone": ready.isoformat()}

    return Action(
        "caches-expire",
        "wait until the last cache has dropped the old address",
        observe,
        apply,
        does=(f"ask every authoritative address; wait {dns.low_ttl} s and 2 s more since the last one changed",),
        deadline_s=dns.low_ttl + 60.0,
    )


def old_answer_gone(progress: Progress, ttl_s: int) -> datetime:
    """When the last obedient cache has dropped the old address: T1 over all names, plus the low TTL and 2 s."""
    switched = [
        datetime.fromisoformat(str(action.result.get("t0") or action.proof["at"]))
        for action in step_of(progress, StepName.CUTOVER).actions
        if action.id.startswith("set-address ") and (action.result or action.proof)
    ]
    return safe_instant(max(switched), ttl_s)
