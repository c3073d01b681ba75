"""One change of one A RRset: applied by compare-and-swap, proved on every authoritative address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.dns.authority import observe
from switchover.dns.message import Rrset
from switchover.dns.propagation import agreed
from switchover.dns.providers import Change, NeedsEdit
from switchover.dns.providers.manual import typical_mistake
from switchover.dns.watch import watch
from switchover.engine.action import Action, ActionFailed, Seen, Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from switchover.dns.authority import Authority
    from switchover.dns.message import Answer
    from switchover.dns.watch import Round
    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.steps.context import Context


@dataclass(frozen=True, slots=True)
class Proof:
    """How often, and over how long, every address must say the same before it counts."""

    rounds: int
    spread_s: float
    deadline_s: float
    interval_s: float = 1.0
    edit_holds: bool = False
    """Whether a missing edit by hand is a hold (days to go) or a failure (inside the window)."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What one name's A RRset becomes; the address it must hold now is part of the compare-and-swap."""

    name: str
    expected: str
    wanted: str
    ttl: int


def rewrite_action(context: Context, rewrite: Rewrite, title: str, proof: Proof) -> Action:
    """The action that brings one name to the wanted answer on every authoritative address."""
    verb = "set-ttl" if rewrite.expected == rewrite.wanted else "set-address"
    return Action(
        id=f"{verb} {rewrite.name}",
        title=title,
        observe=lambda: _observe(context, rewrite),
        apply=lambda live: _apply(context, rewrite, proof, live),
        undo=lambda before, live: _undo(context, rewrite, before, live),
        does=(
            f"{rewrite.name} A {rewrite.expected} -> {rewrite.name} A {rewrite.wanted} TTL {rewrite.ttl}",
            f"by {context.spec.dns.provider.kind}, only if it is still {rewrite.expected}; then every address is asked",
        ),
        undoes=f"the record goes back to {rewrite.expected} with its TTL of before, by the same compare-and-swap",
        deadline_s=proof.deadline_s + 30,
    )


async def armed(context: Context, rewrite: Rewrite) -> str:
    """Prove key, permission and expectation of a change without changing anything; returns the evidence."""
    authority = await context.authority(rewrite.name)
    return await context.provider(authority.zone).check(_change(authority, rewrite, await _current(authority)))


async def _observe(context: Context, rewrite: Rewrite) -> Seen:
    authority = await context.authority(rewrite.name)
    answers = await observe(authority)
    facts: Facts = {"at": _now(), "servers": servers_fact(authority, answers), **_before(answers)}
    if not any(answer.rrset for answer in answers):
        return Seen.unknown(f"no authoritative address of {authority.zone} answered for {rewrite.name}", **facts)
    if agreed(answers, (rewrite.wanted,), rewrite.ttl, authority.hosts).ok:
        return Seen.done(**facts)
    return Seen.todo(**facts)


async def _apply(context: Context, rewrite: Rewrite, proof: Proof, live: Live) -> Facts:
    authority = await context.authority(rewrite.name, fresh=True)
    by_hand = await _send(context, authority, rewrite, live)
    wanted = Rrset((rewrite.wanted,), rewrite.ttl)

    def on_round(now: Round) -> None:
        total = len(now.answers) - len(now.unseen)
        good = total - len(now.missing)
        live.progress(f"{rewrite.name}: {good} of {total} addresses serve it", good, total, "addresses")
        mistake = typical_mistake(now.answers, by_hand) if by_hand else None
        if mistake:
            live.log(mistake)

    watched = await watch(
        authority,
        wanted,
        rounds=proof.rounds,
        spread_s=proof.spread_s,
        deadline_s=proof.deadline_s,
        on_round=on_round,
        interval_s=proof.interval_s,
    )
    if watched.t0 is None:
        missing = "; ".join(f"{each.endpoint} {each.reason}" for each in watched.missing)
        if by_hand and proof.edit_holds:
            raise Waiting(f"edit:{rewrite.name}", f"waits for your edit: {missing}", "edit")
        raise ActionFailed(f"not every authoritative address serves it after {proof.deadline_s:g} s: {missing}")
    servers: list[Json] = [
        {"host": authority.hosts.get(each.endpoint, ""), **each.to_json()} for each in watched.observations
    ]
    return {"t0": watched.t0.isoformat(), "servers": servers}


async def _undo(context: Context, rewrite: Rewrite, before: Mapping[str, Json], live: Live) -> Facts:
    ttl = before.get("ttl")
    back = Rewrite(rewrite.name, rewrite.wanted, rewrite.expected, int(ttl) if isinstance(ttl, int) else rewrite.ttl)
    facts = await _apply(context, back, Proof(2, 0.0, 60.0), live)
    return {"servers": facts["servers"]}


async def _send(context: Context, authority: Authority, rewrite: Rewrite, live: Live) -> Change | None:
    """Send the change unless the record is already as wanted; a change that a person must make is returned."""
    current = await _current(authority)
    if current == Rrset((rewrite.wanted,), rewrite.ttl):
        return None
    if current.values not in ((rewrite.expected,), (rewrite.wanted,)):
        raise ActionFailed(
            f"{rewrite.name} is {', '.join(current.values)}, not {rewrite.expected}: someone else changed it; "
            "nothing was sent"
        )
    change = _change(authority, rewrite, current)
    try:
        await context.provider(authority.zone).apply(change)
    except NeedsEdit as edit:
        for line in edit.instructions:
            live.log(line)
        return change
    return None


async def _current(authority: Authority) -> Rrset:
    """The RRset as the authoritative addresses serve it; the primary's word first, else the first that answers."""
    for answer in await observe(authority):
        if answer.rrset is not None:
            return answer.rrset
    raise ActionFailed(f"no authoritative address of {authority.zone} answered; nothing was sent")


def _change(authority: Authority, rewrite: Rewrite, current: Rrset) -> Change:
    return Change(
        zone=authority.zone,
        owner=authority.owner,
        rdtype="A",
        old_values=current.values,
        old_ttl=current.ttl,
        new_values=(rewrite.wanted,),
        new_ttl=rewrite.ttl,
    )


def _before(answers: Sequence[Answer]) -> Facts:
    """What undo needs: the highest TTL and the addresses that were served."""
    served = [answer.rrset for answer in answers if answer.rrset is not None]
    values = sorted({value for rrset in served for value in rrset.values})
    return {"ttl": max((rrset.ttl for rrset in served), default=0), "values": list(values)}


def servers_fact(authority: Authority, answers: Sequence[Answer]) -> list[Json]:
    """What each authoritative address said, for the journal and the report."""
    return [
        {
            "host": authority.hosts.get(answer.endpoint, ""),
            "address": str(answer.endpoint),
            "state": answer.state.value,
            "values": list(answer.values),
            "ttl": answer.ttl,
            "serial": answer.serial,
            "at": answer.at.isoformat(timespec="milliseconds"),
        }
        for answer in answers
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
