"""The links of a live copy, in both directions, by whatever names the databases bear at the moment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.plan.values import expand
from switchover.postgres.connect import Database, database_name
from switchover.postgres.facts import server_facts
from switchover.postgres.finding import Finding
from switchover.postgres.fingerprint import schemas_apart
from switchover.postgres.replication.lag import Lag, Trail, large_objects
from switchover.postgres.replication.lag import look as look_at
from switchover.postgres.replication.limits import BEHIND, link_findings
from switchover.postgres.replication.link import backward, forward
from switchover.postgres.replication.published import drift
from switchover.postgres.replication.subscription import find_subscription
from switchover.postgres.replication.trouble import troubles
from switchover.postgres.replication.unsuited import schema_findings
from switchover.postgres.scratch import which
from switchover.postgres.together import all_of
from switchover.words import plain

if TYPE_CHECKING:
    from switchover.postgres.replication.link import Link
    from switchover.postgres.scratch import Place
    from switchover.steps.context import Context

SHOWN = 8
LITTLE = 4 << 20
"""Bytes behind that a drain takes at once."""


@dataclass(frozen=True, slots=True)
class Links:
    """Both directions; ``there`` is the new side's database by the name that it has now."""

    there: Database
    ahead: Link
    back: Link


@dataclass(frozen=True, slots=True)
class Followed:
    """How one side follows the other: what was seen of both, and what is wrong."""

    link: Link
    lag: Lag
    findings: tuple[Finding, ...]

    @property
    def blocks(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.blocks)


async def place_of(context: Context) -> Place:
    """Where the live copy is; not asked again while writes are paused and only this run moves it."""
    return context.place or await which(context.target, context.copy_name, context.aside_name, context.app)


async def links(context: Context) -> Links:
    """Both links as they are now: before the target opens the copy has a name of its own."""
    return named_links(context, await place_of(context), await database_name(context.target, context.app))


def named_links(context: Context, place: Place, base: str) -> Links:
    """The links where the copy is at that place; ``base`` is the name of the target's database."""
    spec = context.spec.replicate
    name = context.copy_name if place == "copy" else base
    there = context.target.named(name)
    source = _parse(spec.source) or context.source
    target = (_parse(spec.target) or context.target).named(name)
    return Links(
        there,
        forward(context.source, there, context.plan_id, source),
        backward(context.source, there, context.plan_id, target),
    )


def _parse(text: str | None) -> Database | None:
    return Database.parse(expand(text, os.environ)) if text is not None else None


async def possible(context: Context) -> tuple[Finding, ...]:
    """What would keep the live copy from being made or kept, in either direction; each thing once."""
    app, both_ways = context.app, await links(context)
    version = (await server_facts(context.target, app)).version_num
    found = await all_of(
        [
            link_findings(both_ways.ahead, app),
            link_findings(both_ways.back, app, BEHIND),
            schema_findings(context.source, app, version_num=version),
        ]
    )
    return tuple({each.id: each for some in reversed(found) for each in reversed(some)}.values())


async def followed(context: Context, link: Link, before: Lag | None = None) -> Followed:
    """Look at a link from both sides, and say all that is wrong with it."""
    lag = await look_at(link, context.app)
    changed = await drift(link, context.app)
    objects = await large_objects(link.subscriber, context.app)
    found = [*troubles(lag, before=before, drift=changed, objects=objects)]
    if not changed and (apart := await schemas_apart(link.publisher, link.subscriber, context.app)):
        says = "; ".join(plain(each, 200) for each in apart[:SHOWN])
        says += f"; and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
        fix = f"run the same statement in {link.subscriber.where} as well, or give the live copy up and make it anew"
        why = "replication carries rows, and no change of the schema"
        found.append(Finding("copy-differs", "block", f"the schemas of both sides differ: {says}", fix, why))
    return Followed(link, lag, tuple(found))


async def in_force(context: Context) -> Link | None:
    """The link that is to be followed now: there once it was made, and back once the target is open; or none."""
    place = await place_of(context)
    if place not in ("copy", "swapped"):
        return None
    both_ways = await links(context)
    for link in (both_ways.back, both_ways.ahead) if place == "swapped" else (both_ways.ahead, both_ways.back):
        if await find_subscription(link, context.app) is not None:
            return link
    return None


def seconds_behind(now: Lag, trail: Trail, at: float) -> float | None:
    """How long ago the publisher stood where the subscriber is; None when nobody knows."""
    slot = now.publisher.slot
    trail.add(at, now.publisher.position)
    return None if slot is None or slot.confirmed is None else trail.seconds_behind(slot.confirmed, at)
