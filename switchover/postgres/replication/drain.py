"""The drain: proof, behind the fence, that the subscriber has on its disk everything the publisher ever wrote.

A marker row is committed first; its flush carries along whatever was committed before. The end of the log after that is
the position to reach. Only what the subscriber confirms as flushed counts: what the walsender has sent, or the
subscriber replayed, says nothing while one of them stalls. The marker row, seen on the other side, proves the way
end to end. Left to itself the subscriber flushes, and says so, once in wal_writer_delay (200 ms): once the row is seen
a row of ours there brings its log to the disk, and a second one through the link makes it answer at once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.postgres.connect import connect, told
from switchover.postgres.errors import NotDrained
from switchover.postgres.facts import write_mark
from switchover.postgres.replication.lag import Lag, look_at_publisher, look_at_subscriber, read_position
from switchover.postgres.replication.marker import has_marker, write_marker
from switchover.postgres.replication.published import drift
from switchover.postgres.replication.slot import lsn, read_slot
from switchover.postgres.replication.trouble import troubles
from switchover.words import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from psycopg import AsyncConnection

    from switchover.postgres.replication.link import Link

LOOK_EVERY_S = 0.005
SAY_EVERY_S = 1.0
GRACE_S = 5.0
"""How much longer than its deadline it may last to find out why."""


@dataclass(frozen=True, slots=True)
class Drained:
    """The subscriber has everything."""

    position: int
    """The end of the publisher's log behind the fence; the subscriber has flushed up to here at least."""
    marker: UUID
    seconds: float
    quiet: bool
    """Whether no transaction at all has written on the publisher's server since, in any of its databases.

    When others write, the fence's locks alone vouch for this one."""

    @property
    def lsn(self) -> str:
        return lsn(self.position)


async def drain(link: Link, app: str, *, deadline_s: float, say: Callable[[str], None]) -> Drained:
    """Wait until the subscriber has all, the fence being raised already, and it stays so when looked at again.

    Raises NotDrained with the reason when that takes longer than ``deadline_s`` seconds, or cannot be.
    """
    with told(link.publisher):
        there = await connect(link.publisher, app)
    async with there:
        with told(link.subscriber):
            here = await connect(link.subscriber, app)
        async with here:
            try:
                async with asyncio.timeout(deadline_s + GRACE_S):
                    return await _Drain(link, app, there, here).run(deadline_s, say)
            except TimeoutError:
                raise NotDrained(f"not drained within {duration(deadline_s)}: a server does not answer") from None


@dataclass(frozen=True, slots=True)
class _Drain:
    link: Link
    app: str
    there: AsyncConnection
    here: AsyncConnection

    async def run(self, deadline_s: float, say: Callable[[str], None]) -> Drained:
        clock = asyncio.get_running_loop().time
        started = told_at = clock()
        before = await self.fit()
        # The log's end is read after the marker's commit, which is what brings it to the disk.
        with told(self.link.publisher):
            marker = await write_marker(self.there, self.link)
            position = await read_position(self.there)
            mark = int(await write_mark(self.there))
        seen = False
        while not await self.confirmed(position) or not seen:
            if not seen and (seen := await self.seen(marker)):
                await self.hasten()
                continue
            now = clock()
            if now - started > deadline_s:
                raise NotDrained(f"not drained within {duration(deadline_s)}: {await self.reason(before, position)}")
            if now - told_at > SAY_EVERY_S:
                told_at = now
                say(f"waiting for {self.link.subscriber.where}: {await self.reason(before, position)}")
            await asyncio.sleep(LOOK_EVERY_S)
        seconds = clock() - started
        await self.look_again()
        with told(self.link.publisher):
            quiet = int(await write_mark(self.there)) == mark + 1  # the second row is ours
        return Drained(position, marker, seconds, quiet)

    async def hasten(self) -> None:
        """All is applied: bring it to the subscriber's disk, and give the link a reason to say so."""
        with told(self.link.subscriber):
            await write_marker(self.here, self.link)
        with told(self.link.publisher):
            await write_marker(self.there, self.link)

    async def look_again(self) -> None:
        """It has arrived; but was it all that there is, and was all of it applied?"""
        now = await self.look()
        if wrong := [each.evidence for each in troubles(now, drift=await drift(self.link, self.app)) if each.blocks]:
            raise NotDrained(f"it has all arrived, and yet: {'; '.join(wrong)}")

    async def fit(self) -> Lag:
        """Refuse at once what cannot be drained; a failure to apply may end before the deadline does."""
        before = await self.look()
        hopeless = [each.evidence for each in troubles(before) if each.blocks and each.id != "apply-fails"]
        subscription = before.subscriber.subscription
        if not hopeless and subscription is not None and not subscription.enabled:
            hopeless = ["the subscription is not enabled"]
        if hopeless:
            raise NotDrained(f"it cannot be drained: {'; '.join(hopeless)}")
        return before

    async def confirmed(self, position: int) -> bool:
        """Whether the subscriber says that it has all up to there on its disk."""
        with told(self.link.publisher):
            slot = await read_slot(self.there, self.link.name)
        if slot is None or slot.lost:
            says = f"it has lost changes ({slot.why_lost})" if slot else "it is gone"
            raise NotDrained(f"slot {self.link.name} on {self.link.publisher.where} cannot be drained: {says}")
        return slot.confirmed is not None and slot.confirmed >= position

    async def seen(self, marker: UUID) -> bool:
        with told(self.link.subscriber):
            return await has_marker(self.here, marker)

    async def look(self) -> Lag:
        with told(self.link.publisher):
            publisher = await look_at_publisher(self.there, self.link)
        with told(self.link.subscriber):
            return Lag(self.link, publisher, await look_at_subscriber(self.here, self.link))

    async def reason(self, before: Lag, position: int) -> str:
        return _reason(self.link, before, await self.look(), position)


def _reason(link: Link, before: Lag, now: Lag, position: int) -> str:
    """Why it has not all arrived, as far as the two sides know."""
    wrong = [each.evidence for each in troubles(now, before=before) if each.blocks]
    if wrong:
        return "; ".join(wrong)
    sender, slot, subscription = now.publisher.sender, now.publisher.slot, now.subscriber.subscription
    if sender is None or subscription is None or subscription.worker is None or slot is None:
        return "; ".join(each.evidence for each in troubles(now)) or "the two are not connected"
    if sender.sent is not None and sender.sent < position:
        left = size(position - sender.sent)
        first = before.publisher.sender
        still = first is not None and (first.pid, first.sent) == (sender.pid, sender.sent)
        how = "has not moved since the drain began" if still else "is behind"
        return f"walsender pid {sender.pid} on {link.publisher.where} {how}: {left} not sent"
    if slot.confirmed is None or slot.confirmed < position:
        left = size(position - (slot.confirmed or 0))
        sent = "everything was sent" if sender.sent is not None else "we may not see what was sent"
        return f"{sent}, but pid {subscription.worker} on {link.subscriber.where} has not flushed {left}"
    return "everything was flushed, but the marker row is not there"
