"""Step 3: the TTL goes down on every authoritative address, days before anything moves."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from switchover.dns.conduct import judge_servers, look_thrice
from switchover.dns.finding import standing
from switchover.dns.geo import depends_on_place
from switchover.dns.leftovers import Move, leftovers
from switchover.dns.propagation import safe_instant
from switchover.dns.providers.limits import elsewhere, explain, kept_ttl, limits_of
from switchover.engine.action import World
from switchover.engine.step import Gate, Step, Verdict
from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.steps.dns_change import Proof, Rewrite, armed, rewrite_action, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from switchover.dns.finding import Finding
    from switchover.engine.action import Facts
    from switchover.steps.context import Context

EDIT_PATIENCE_S = 900.0
"""How long a run watches for a change before it says who still serves the old answer."""


def build(context: Context) -> Step:
    """Lower each name's TTL; the address stays."""
    dns = context.spec.dns
    gates: list[Gate] = []
    for name in dns.names:
        gates.append(Gate(f"who decides about {name}", _decided(context, name)))
        gates.append(Gate(f"the TTL of {name} will be kept", _kept(context, name)))
        gates.append(Gate(f"nothing left behind at {name}", nothing_left_behind(context, name)))
        gates.append(Gate(f"the change to {name} is permitted", permitted(context, _lowered(context, name))))
    actions = tuple(
        rewrite_action(
            context,
            StepName.LOWER_TTL,
            _lowered(context, name),
            f"lower the TTL of {name} to {dns.low_ttl} s",
            _proof(context),
        )
        for name in dns.names
    )
    return Step(StepName.LOWER_TTL, tuple(gates), actions, facts=lambda: _facts(context))


def _lowered(context: Context, name: str) -> Rewrite:
    dns = context.spec.dns
    return Rewrite(name, dns.from_, dns.from_, dns.low_ttl)


def _proof(context: Context) -> Proof:
    """Three looks spread over a minute, or over the new TTL where that is shorter."""
    low = float(context.spec.dns.low_ttl)
    return Proof(3, min(60.0, low), EDIT_PATIENCE_S, min(5.0, low / 2), edit_holds=True)


def _facts(context: Context) -> Facts:
    """T0 over all names and addresses, the safe instant and the end of the lead; the TTLs of before.

    Where a TTL was seen low without our having seen it change, T0 is the moment it was seen.
    """
    dns = context.spec.dns
    state = step_of(context.progress(), StepName.LOWER_TTL)
    known = state.facts.get("original_ttl")
    original = dict(known) if isinstance(known, dict) else {}
    t0s: list[datetime] = []
    held: list[int] = []
    for action in state.actions:
        t0s.append(datetime.fromisoformat(str(action.result.get("t0") or action.proof["at"])))
        ttl = action.before.get("ttl", dns.low_ttl)
        name = action.id.removeprefix("set-ttl ")
        original[name] = max(int(str(ttl)), int(str(original.get(name, 0))))
        held.append(int(str(action.result.get("held", 0))))
    t0 = max(t0s)
    old = max(*(int(str(ttl)) for ttl in original.values()), *held, dns.former_ttl)
    return {
        "old_ttl": old,
        "t0": t0.isoformat(),
        "safe": safe_instant(t0, old).isoformat(),
        "lead_ends": (t0 + dns.lead).isoformat(),
        "original_ttl": original,
    }


def _decided(context: Context, name: str) -> Callable[[], Awaitable[Verdict]]:
    async def look() -> Verdict:
        authority = await context.authority(name, fresh=True)
        servers = ", ".join(f"{server.host} {server.endpoint}" for server in authority.servers)
        found = (*authority.problems, *judge_servers(authority, await look_thrice(authority)))
        return _weigh(f"zone {authority.zone}, {servers}", found, context.spec.dns.accept)

    return look


def _kept(context: Context, name: str) -> Callable[[], Awaitable[Verdict]]:
    """The zone's keeper is the plan's, and it keeps a TTL as low as the plan wants."""

    async def look() -> Verdict:
        dns = context.spec.dns
        hosts = set((await context.authority(name)).hosts.values())
        kind, service = dns.provider.kind, dns.provider.service
        wrong = elsewhere(kind, service, hosts)
        if wrong:
            return Verdict(False, wrong, "name the keeper that the delegation points to, or move the delegation first")
        limits = limits_of(kind, service, hosts)
        raised = explain(limits, dns.low_ttl)
        if raised:
            return Verdict(False, raised, f"set dns.low_ttl = {kept_ttl(limits, dns.low_ttl)}")
        return Verdict(True, f"{limits.keeper} keeps {dns.low_ttl} s" if limits else "no limit of its keeper is known")

    return look


def nothing_left_behind(context: Context, name: str) -> Callable[[], Awaitable[Verdict]]:
    """No other record of the name still leads to the old host."""

    async def look() -> Verdict:
        authority = await context.authority(name)
        dns = context.spec.dns
        left, geo = await asyncio.gather(
            leftovers(authority, Move(dns.names, dns.from_, dns.to)), depends_on_place(authority)
        )
        found = (*left, *geo)
        return _weigh("" if found else "no other record leads there", found, dns.accept)

    return look


def _weigh(says: str, findings: Sequence[Finding], accept: Sequence[str]) -> Verdict:
    """A no while any error stands that the plan does not accept by name."""
    said = "; ".join(
        [
            *([says] if says else []),
            *(
                f"{'accepted' if each.is_accepted(accept) else each.severity} {each.name}: {each.evidence}"
                for each in findings
            ),
        ]
    )
    errors = standing(findings, accept)
    if not errors:
        return Verdict(True, said)
    names = ", ".join(f'"{each.name}"' for each in errors)
    return Verdict(False, said, f"{'; '.join(each.fix for each in errors)}; or accept by name: dns.accept = [{names}]")


def permitted(context: Context, rewrite: Rewrite) -> Callable[[], Awaitable[Verdict]]:
    """Key, permission and expectation are proved by an update that changes nothing."""

    async def look() -> Verdict:
        return Verdict(True, await armed(context, rewrite))

    return look


def still_low(context: Context, name: str) -> Callable[[], Awaitable[Verdict]]:
    """A fresh look: every authoritative address still serves the old address with the low TTL, and no new one does."""

    async def look() -> Verdict:
        seen = await served(context, _lowered(context, name))
        values = seen.facts.get("values")
        listed = ", ".join(str(value) for value in values) if isinstance(values, list) else "nothing"
        ttls = f"{listed} with TTL {seen.facts.get('ttl')}"
        if seen.world is not World.DONE:
            return Verdict(False, f"not every address serves the low TTL: {ttls}", "run lower-ttl again")
        known = _watched(context, name)
        new = [str(end) for end in (await context.authority(name)).endpoints if known and str(end) not in known]
        if new:
            says = f"{', '.join(new)} was not among the servers whose low TTL was proved"
            return Verdict(False, says, "the zone has new servers since: run lower-ttl again")
        return Verdict(True, f"every authoritative address serves {ttls}")

    return look


def _watched(context: Context, name: str) -> set[str]:
    """The addresses whose low TTL was proved."""
    actions = step_of(context.progress(), StepName.LOWER_TTL).actions
    rows = next((action.result.get("servers") for action in actions if action.id == f"set-ttl {name}"), None)
    return {str(row["address"]) for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
