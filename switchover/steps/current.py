"""Whether the live copy is current: the gates that say so, the wait for it, and the facts that are kept of a look."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from switchover.engine.action import ActionFailed
from switchover.engine.step import Gate, Verdict
from switchover.plan.decide import has_live_copy
from switchover.postgres.replication.lag import Trail
from switchover.steps.fitness import journaled
from switchover.steps.links import LITTLE, followed, in_force, seconds_behind
from switchover.words import count, duration, size

if TYPE_CHECKING:
    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.postgres.replication.link import Link
    from switchover.steps.context import Context
    from switchover.steps.links import Followed

LOOK_EVERY_S = 1.0
STUCK_S = 60.0
"""How long a trouble may last before it counts: between two tries to apply there is nobody who applies."""


def follow_gates(context: Context) -> list[Gate]:
    """Holds while the live copy follows, or there is none yet; says how far it is behind and what is wrong."""

    async def look() -> Verdict:
        if not has_live_copy(context.progress()):
            return Verdict(True, "there is no live copy yet")
        link = await in_force(context)
        if link is None:
            return Verdict(True, "it is not subscribed yet")
        return _verdict(await followed(context, link))

    return [Gate("the live copy follows", look)]


def current_gate(context: Context) -> Gate:
    """Holds when nothing but the last moments is left to apply."""

    async def look() -> Verdict:
        link = await in_force(context)
        if link is None:
            return Verdict(False, "there is no live copy", "run the step replicate")
        now = await followed(context, link)
        behind, subscription = now.lag.bytes, now.lag.subscriber.subscription
        follows = subscription is not None and subscription.enabled  # else the cutover lets it catch up first
        if follows and not now.blocks and (behind is None or behind > 16 * LITTLE):
            says = "nobody knows how far" if behind is None else size(behind)
            return Verdict(False, f"it is behind: {says}", "wait until it has caught up: `switchover lag` shows it")
        return _verdict(now)

    return Gate("the live copy has everything but the last moments", look)


def _verdict(now: Followed) -> Verdict:
    warned = tuple(f"{each.id}: {each.evidence}" for each in now.findings if each.severity == "warn")
    if now.blocks:
        says = "; ".join(f"{each.id}: {each.evidence}" for each in now.blocks)
        fixes = dict.fromkeys(each.fix for each in now.blocks if each.fix)
        return Verdict(False, says, "; ".join(fixes), details=warned)
    behind = now.lag.bytes
    return Verdict(True, "behind by " + ("?" if behind is None else size(behind)), details=warned)


async def caught_up(context: Context, link: Link, live: Live) -> Followed:
    """Wait until the subscriber has everything but the last moments. Raises ActionFailed when a trouble lasts."""
    trail, before, wrong_since = Trail(), None, None
    while True:
        now = await followed(context, link, before)
        before = before or now.lag
        at = time.monotonic()
        behind, seconds = now.lag.bytes, seconds_behind(now.lag, trail, at)
        subscription = now.lag.subscriber.subscription
        applies = subscription is not None and subscription.worker is not None
        if applies and behind is not None and behind <= LITTLE and not now.blocks:
            return now
        wrong_since = (wrong_since or at) if now.blocks else None
        if wrong_since is not None and at - wrong_since > STUCK_S:
            raise ActionFailed("; ".join(f"{each.evidence} ({each.fix})" for each in now.blocks))
        live.progress(f"behind by {_behind(behind, seconds)}", 0, 0, "bytes")
        await asyncio.sleep(LOOK_EVERY_S)


def _behind(behind: int | None, seconds: float | None) -> str:
    if behind is None:
        return "an unknown amount"
    return size(behind) + (f", {duration(seconds)}" if seconds is not None else "")


def lag_facts(now: Followed) -> Facts:
    """A look at a link, for the journal."""
    slot = now.lag.publisher.slot
    return {
        "behind": now.lag.bytes,
        "held": slot.held_bytes if slot else None,
        "status": slot.wal_status if slot else "gone",
        "apply_errors": now.lag.subscriber.apply_errors,
        "tables": count(len(now.lag.subscriber.tables), "table"),
        "troubles": journaled(now.findings),
    }
