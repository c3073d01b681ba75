"""Whether the answer depends on where one asks from: then one record is many, and one look proves nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from switchover.dns.ask import ask
from switchover.dns.finding import Finding
from switchover.dns.message import State

if TYPE_CHECKING:
    from switchover.dns.authority import Authority

PLACES = {
    "Europe": "193.0.6.0/24",
    "Asia": "202.12.29.0/24",
    "Africa": "196.216.2.0/24",
    "South America": "200.3.14.0/24",
    "anywhere": "0.0.0.0/0",
}
"""Networks of the regional registries (RFC 7871 client subnets), and none."""


async def depends_on_place(authority: Authority) -> tuple[Finding, ...]:
    """Ask one address as if from distant networks; a server that knows no subnets says the same to all."""
    for endpoint in authority.endpoints:
        answers = await asyncio.gather(*(ask(endpoint, authority.owner, "A", subnet=net) for net in PLACES.values()))
        if all(answer.state is State.OK for answer in answers):
            break
    else:
        return ()
    said = dict(zip(PLACES, answers, strict=True))
    if len({answer.values for answer in said.values()}) == 1:
        return ()
    told = "; ".join(f"{place}: {', '.join(answer.values)}" for place, answer in said.items())
    return (
        Finding(
            "geo",
            "error",
            f"{authority.owner} answers by where one asks from: {told}",
            "A plan changes one record set: take the steering off first, or change every answer by hand",
        ),
    )
