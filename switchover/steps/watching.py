"""How the live copy follows, looked at again and again, as a document: what ``lag`` prints and the wizard shows."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from switchover.plan.file import load
from switchover.plan.progress import fold
from switchover.postgres.replication.lag import Lag, Trail
from switchover.steps.context import Context
from switchover.steps.links import followed, in_force, seconds_behind
from switchover.steps.session import EXPECTED
from switchover.words import plain

if TYPE_CHECKING:
    from pathlib import Path

    from switchover.plan.journal import Json
    from switchover.steps.links import Followed


@dataclass(slots=True)
class LagWatch:
    """Looks at the link that is in force, and remembers what an earlier look has to tell."""

    context: Context
    trail: Trail = field(default_factory=Trail)
    first: Lag | None = None
    name: str = ""

    @classmethod
    def of(cls, path: Path) -> LagWatch:
        """The watch of a plan; reads it once."""
        loaded = load(path)
        plan_id = fold(loaded.spec, loaded.entries).plan_id or "0" * 32
        return cls(Context(path, loaded.spec, loaded.entries, plan_id, "watch"))

    async def look(self) -> dict[str, Json]:
        """One look; what could not be asked is said, never raised."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            link = await in_force(self.context)
            if link is None:
                return {"at": at, "trouble": "there is no live copy"}
            if link.name != self.name:  # the direction has turned
                self.trail, self.first, self.name = Trail(), None, link.name
            now = await followed(self.context, link, self.first)
        except EXPECTED as error:
            return {"at": at, "trouble": plain(str(error))}
        self.first = self.first or now.lag
        seconds = seconds_behind(now.lag, self.trail, asyncio.get_running_loop().time())
        return {"at": at, **_document(now, seconds)}


def _document(now: Followed, seconds: float | None) -> dict[str, Json]:
    slot, sender = now.lag.publisher.slot, now.lag.publisher.sender
    subscription = now.lag.subscriber.subscription
    waiting: list[Json] = [name for name, state in now.lag.subscriber.tables if state != "r"]
    return {
        "from": now.link.publisher.where,
        "to": now.link.subscriber.where,
        "name": now.link.name,
        "behind_bytes": now.lag.bytes,
        "behind_s": None if seconds is None else round(seconds, 1),
        "slot": slot.wal_status if slot is not None else "gone",
        "held_bytes": slot.held_bytes if slot is not None else None,
        "safe_bytes": slot.safe_bytes if slot is not None else None,
        "walsender": sender.pid if sender is not None else None,
        "worker": subscription.worker if subscription is not None else None,
        "enabled": subscription is not None and subscription.enabled,
        "apply_errors": now.lag.subscriber.apply_errors,
        "tables": len(now.lag.subscriber.tables),
        "waiting": waiting,
        "findings": [asdict(each) for each in now.findings],
    }
