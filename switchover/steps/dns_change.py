"""One change of one A RRset: applied by compare-and-swap, proved on every authoritative address."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.dns.authority import observe
from switchover.dns.message import Rrset
from switchover.dns.propagation import agreed
from switchover.dns.providers import Change, NeedsEdit
from switchover.dns.providers.manual import look_around, typical_mistake
from switchover.dns.resolvers import Expected, named, sample
from switchover.dns.watch import watch
from switchover.engine.action import Action, ActionFailed, Seen, Waiting, World
from switchover.plan.progress import ActionStatus
from switchover.words import duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from switchover.dns.authority import Authority
    from switchover.dns.message import Answer
    from switchover.dns.watch import Round, WatchResult
    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.plan.outline import StepName
    from switchover.steps.context import Context


LOOK_AROUND_S = 5.0
"""Between two looks for a slip of the hand."""


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


def rewrite_action(context: Context, step: StepName, rewrite: Rewrite, title: str, proof: Proof) -> Action:
    """The action that brings one name to the wanted answer on every authoritative address.

    It is done only when every address has been watched for as long as the proof asks: one round that happens to
    agree, after a killed run or an edit by hand, is looked at again.
    """
    verb = "set-ttl" if rewrite.expected == rewrite.wanted else "set-address"
    name = f"{verb} {rewrite.name}"
    watched: list[Facts] = []

    async def observe() -> Seen:
        seen = await served(context, rewrite)
        if seen.world is World.DONE and not watched and not _journaled(context, step, name):
            return Seen.todo(**seen.facts)
        return seen

    async def apply(live: Live) -> Facts:
        watched.append(await _apply(context, rewrite, proof, live))
        return watched[-1]

    return Action(
        id=name,
        title=title,
        observe=observe,
        apply=apply,
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


def _journaled(context: Context, step: StepName, action: str) -> bool:
    """Whether an earlier run has watched the change to its end."""
    states = context.progress().steps
    return any(
        each.id == action and each.status is ActionStatus.DONE and "t0" in each.result
        for state in states
        if state.name is step
        for each in state.actions
    )


async def served(context: Context, rewrite: Rewrite) -> Seen:
    """One round: whether every authoritative address serves the wanted record."""
    authority = await context.authority(rewrite.name)
    answers = await observe(authority)
    facts: Facts = {"at": _now(), "servers": servers_fact(authority, answers), **_before(answers)}
    if not any(answer.rrset for answer in answers):
        return Seen.unknown(f"no authoritative address of {authority.zone} answered for {rewrite.name}", **facts)
    if agreed(answers, (rewrite.wanted,), rewrite.ttl, authority.hosts, authority.waived).ok:
        return Seen.done(**facts)
    return Seen.todo(**facts)


async def _apply(context: Context, rewrite: Rewrite, proof: Proof, live: Live) -> Facts:
    authority = await context.authority(rewrite.name, fresh=True)
    held = await _held(context, rewrite, live)
    by_hand = await _send(context, authority, rewrite, live)
    wanted = Rrset((rewrite.wanted,), rewrite.ttl)

    def on_round(now: Round) -> None:
        total = len(now.answers) - len(now.unseen)
        good = total - len(now.missing)
        live.progress(f"{rewrite.name}: {good} of {total} addresses serve it", good, total, "addresses")

    async with _mistakes(authority, by_hand, live) as mistakes:
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
        missing = "; ".join([*mistakes[-1:], *(f"{each.endpoint} {each.reason}" for each in watched.missing)])
        if by_hand and proof.edit_holds:
            raise Waiting(f"edit:{rewrite.name}", f"waits for your edit: {missing}", "edit")
        raise ActionFailed(f"not every authoritative address serves it after {proof.deadline_s:g} s: {missing}")
    return {"t0": watched.t0.isoformat(), "servers": _tracks_fact(authority, watched), "held": held}


@asynccontextmanager
async def _mistakes(authority: Authority, change: Change | None, live: Live) -> AsyncIterator[list[str]]:
    """Meanwhile look for the usual slips of an edit by hand, and say each once; what was said is yielded."""
    said: list[str] = []

    async def look() -> None:
        while change is not None:
            mistake = typical_mistake(await look_around(authority, change), change)
            if mistake is not None and mistake not in said[-1:]:
                said.append(mistake)
                live.log(mistake)
            await asyncio.sleep(LOOK_AROUND_S)

    task = asyncio.ensure_future(look())
    try:
        yield said
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _held(context: Context, rewrite: Rewrite, live: Live) -> int:
    """The longest that any resolver keeps the record now, in seconds: more than its TTL shows a higher one of late.

    Asked before a TTL is lowered; whatever they hold is part of the old TTL.
    """
    if rewrite.expected != rewrite.wanted:
        return 0
    views = await sample(named(context.spec.dns.resolvers), rewrite.name, Expected(frozenset({rewrite.expected})), 2)
    held = {view: (view.expires - view.at).total_seconds() for view in views if view.expires is not None}
    longest = max(held, key=held.__getitem__, default=None)
    if longest is None:
        return 0
    live.log(f"resolvers keep {rewrite.name} for up to {duration(held[longest])} ({longest.name} {longest.endpoint})")
    return round(held[longest])


def _tracks_fact(authority: Authority, watched: WatchResult) -> list[Json]:
    """What each address was seen to serve, since when and how often; for the journal and the report."""
    return [
        {
            "host": authority.hosts.get(endpoint, ""),
            "address": str(endpoint),
            "state": track.last.state.value,
            "values": list(track.last.values),
            "ttl": track.last.ttl,
            "serial": track.last.serial,
            "nsid": track.last.nsid,
            "since": track.first.at.isoformat(timespec="milliseconds") if track.first is not None else None,
            "at": track.last.at.isoformat(timespec="milliseconds"),
            "probes": track.asked,
            "proved": endpoint not in watched.unseen,
        }
        for endpoint, track in watched.tracks.items()
    ]


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
