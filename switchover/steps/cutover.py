"""Step 5: writes stop on the old host, the data moves and is compared, the new host opens, DNS follows."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from switchover.engine.action import Action, Waiting
from switchover.engine.step import Gate, Step, Verdict
from switchover.plan.decide import low_ttl_fact, replicates, window_clock
from switchover.plan.outline import OPEN_TARGET, StepName
from switchover.postgres.kept import keeping
from switchover.steps import turning
from switchover.steps.caches import caches_action
from switchover.steps.checklist import checklist_gates
from switchover.steps.compose import compose_gates
from switchover.steps.copying import Copying, compare_action, copy_actions
from switchover.steps.current import current_gate
from switchover.steps.dns_change import Proof, Rewrite, rewrite_action
from switchover.steps.fencing import fence_action, source_mark
from switchover.steps.fitness import database_gates, journaled
from switchover.steps.following import follow_action, views_action
from switchover.steps.globals import globals_action
from switchover.steps.lower_ttl import nothing_left_behind, permitted, still_low
from switchover.steps.maintenance import maintenance_action
from switchover.steps.opening import may_undo, open_action, sequences_action
from switchover.steps.outage import metered
from switchover.steps.readiness import healthy_target
from switchover.steps.rehearsal import chosen_way
from switchover.steps.turn import Turn
from switchover.steps.turning import announce_action, paused_actions, ready_action, within_budget
from switchover.words import duration, instant, size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchover.engine.live import Live
    from switchover.engine.runner import Runner
    from switchover.steps.context import Context

SWITCH_DEADLINE_S = 600.0
"""How long every authoritative address may take to serve the new answer; secondaries refresh in minutes."""

ROOM = 16 * 1024 * 1024
"""Bytes that must be free for the journal itself."""


def build(context: Context, runner: Runner) -> Step:
    """The whole cutover; a failure before the target has taken a user's write undoes itself."""
    live = replicates(context.progress())
    copying = final_copy(context)
    return Step(
        StepName.CUTOVER,
        gates=tuple(_gates(context)),
        actions=_to_live_copy(context, copying) if live else _with_copy(context, copying),
        go="everything is ready; a person says go",
        undo_on_failure=True,
        no_return=OPEN_TARGET,
        may_undo=turning.may_undo(Turn(context)) if live else lambda: may_undo(context, copying),
        facts=lambda: {"preflight": journaled(context.findings)},
        around=lambda: _around(context, runner, live),
    )


async def _around(context: Context, runner: Runner, live: bool) -> Callable[[], Awaitable[None]]:
    """The outage meter; and with a live copy, where every millisecond counts, sessions that are kept."""
    stop = await metered(context, runner, StepName.CUTOVER)
    if not live:
        return stop
    let_go = await keeping()

    async def end() -> None:
        await let_go()
        await stop()

    return end


def _with_copy(context: Context, copying: Copying) -> tuple[Action, ...]:
    """Everything moves while nobody writes."""
    return (
        *maintenance_action(context, on=True),
        globals_action(context),
        fence_action(context),
        *copy_actions(copying, chosen_way(context), where="beside the target"),
        sequences_action(context, copying),
        compare_action(copying, sequences=True),
        open_action(context, copying),
        *(switch_dns(context, name) for name in context.spec.dns.names),
        caches_action(context),
        *maintenance_action(context, on=False),
    )


def _to_live_copy(context: Context, copying: Copying) -> tuple[Action, ...]:
    """All but the last moments are there already; the fence's locks stand until the writers have moved."""
    turn = Turn(context)

    async def last_look(context: Context, copying: Copying, live: Live) -> None:
        await turn.still_fenced()

    return (
        globals_action(context),
        views_action(turn),
        ready_action(turn),
        announce_action(turn),
        *maintenance_action(context, on=True),
        *paused_actions(turn),
        within_budget(turn, open_action(context, copying, last_look)),
        *(switch_dns(context, name) for name in context.spec.dns.names),
        caches_action(context),
        follow_action(turn),
        *maintenance_action(context, on=False),
    )


def final_copy(context: Context) -> Copying:
    """The copy that becomes production; stamped with the source's write mark under the fence."""
    return Copying(context, "final", context.copy_name, lambda: source_mark(context))


def switch_dns(context: Context, name: str) -> Action:
    """The A record from the old host to the new one; the low TTL stays until the operator accepts."""
    dns = context.spec.dns
    rewrite = Rewrite(name, dns.from_, dns.to, dns.low_ttl)
    return rewrite_action(
        context, StepName.CUTOVER, rewrite, f"point {name} to {dns.to}", Proof(2, 0.0, SWITCH_DEADLINE_S)
    )


def _gates(context: Context) -> list[Gate]:
    dns = context.spec.dns
    gates = [
        Gate("caches have forgotten the old TTL", _safe(context)),
        Gate("the window is open", _open(context)),
        Gate("room for the journal", _room(context)),
        *database_gates(context),
        *healthy_target(context),
        *([current_gate(context)] if replicates(context.progress()) else []),
        *compose_gates(context, {}),
        *checklist_gates(context),
    ]
    for name in dns.names:
        gates.append(Gate(f"{name} still has the low TTL", still_low(context, name)))
        gates.append(Gate(f"nothing left behind at {name}", nothing_left_behind(context, name)))
        switch = Rewrite(name, dns.from_, dns.to, dns.low_ttl)
        gates.append(Gate(f"the switch of {name} is permitted", permitted(context, switch)))
    return gates


def _safe(context: Context) -> Callable[[], Awaitable[Verdict]]:
    async def look() -> Verdict:
        progress = context.progress()
        safe, lead = low_ttl_fact(progress, "safe"), low_ttl_fact(progress, "lead_ends")
        if safe is None or lead is None:
            return Verdict(None, "the TTL has not been proved low", "run lower-ttl")
        ready = max(safe, lead)
        if datetime.now(UTC) < ready:
            reason = f"caches may hold the old TTL until {instant(ready)}"
            return Verdict(False, reason, "", Waiting("safe-instant", reason, "time", ready))
        return Verdict(True, f"since {instant(ready)}")

    return look


def _open(context: Context) -> Callable[[], Awaitable[Verdict]]:
    async def look() -> Verdict:
        now = datetime.now(UTC)
        clock = window_clock(context.spec, context.progress(), now)
        if clock is None:
            return Verdict(False, "the plan has no [window]", "add one")
        zone = context.spec.window.zone if context.spec.window else None
        if now < clock.opens:
            reason = f"the window opens {instant(clock.opens, zone)}"
            return Verdict(False, reason, "", Waiting("window", reason, "time", clock.opens))
        if now > clock.latest_go:
            late = duration((now - clock.latest_go) / timedelta(seconds=1))
            reason = f"the latest start was {instant(clock.latest_go, zone)}, {late} ago"
            return Verdict(False, reason, "a missed window is never entered late: set a new window.start")
        return Verdict(True, clock.says)

    return look


def _room(context: Context) -> Callable[[], Awaitable[Verdict]]:
    async def look() -> Verdict:
        disk = os.statvfs(context.folder)
        free = disk.f_bavail * disk.f_frsize
        return Verdict(free >= ROOM, f"{size(free)} free", "free some space where the plan lies")

    return look
