"""The way back: once the new side is the one that is written, the old one follows, and stays fit to take over.

Its slot is made behind the fence, after the drain and before the new side opens: both are equal at that moment, so
that no copy is needed and no write can be missed; all else is made before, while users write. What keeps a row from
going round in a circle: the forward subscription is stopped before the slot back is made, so nothing that it applied
is in that slot; and from PostgreSQL 16 on each side asks only for changes made at the other itself (origin = none).
On 15 and before the order alone protects, so it is held to on every version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.errors import ReplicationFailed
from switchover.postgres.replication.published import publish
from switchover.postgres.replication.slot import make_bare_slot
from switchover.postgres.replication.subscription import find_subscription, subscribe

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchover.postgres.replication.link import Link


async def announce(back: Link, app: str) -> None:
    """Make of the way back what needs no fence: the publication and the subscription, not enabled, without a slot."""
    await publish(back, app)
    await subscribe(back, app)


async def prepare_back(ahead: Link, back: Link, app: str, *, deadline_s: float, say: Callable[[str], None]) -> None:
    """Make the whole way back, not enabled: from now on the new side keeps every change for the old one.

    ``enable(back)`` may follow at any time, also when the new side has got another name meanwhile and ``redirect``
    was told; the fence's locks on the old side must be released for it to apply, its settings need not. Who undoes
    the cutover dismantles it, then enables the way ahead again: a slot back that stays would keep what comes from
    there. Raises ReplicationFailed while the way ahead applies, and when the slot cannot be made in ``deadline_s``.
    """
    applying = await find_subscription(ahead, app)
    if applying is not None and (applying.enabled or applying.worker is not None):
        raise ReplicationFailed("the way ahead still applies: disable it first, or rows would go round in a circle")
    if await find_subscription(back, app) is None:
        await announce(back, app)
    await make_bare_slot(back, app, deadline_s=deadline_s, say=say)
