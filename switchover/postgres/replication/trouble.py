"""What is wrong with a link, from a look at both sides: pure rules, worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.finding import Finding
from switchover.postgres.replication.slot import lsn
from switchover.words import count, plain, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from switchover.postgres.replication.lag import Lag, LargeObjects, SubscriberSide

ROOM = 0.25
"""The part of what a slot may hold that should be left."""
SHOWN = 8
LOSSES = ("confl_update_missing", "confl_delete_missing", "confl_update_deleted")
"""Kinds of conflict that stop nothing: the change is left out, and only the log and these counters know of it
(https://www.postgresql.org/docs/current/logical-replication-conflicts.html)."""
STOPS = ("confl_insert_exists", "confl_update_exists", "confl_multiple_unique_conflicts")
"""Kinds of conflict that let a transaction fail: a row in the copy has the key already (the same page)."""

_ANEW = "give the live copy up with `switchover rollback`, and make it anew"
_STAY = (
    "stay on the new host, and end the way back with `switchover run --through finish`; who must go back moves the "
    "data by a plan of its own, from the new host to the old"
)
_ROW_AWAY = "remove the row that is in the way, which the subscriber's server log names; then it goes on by itself"
_BY_REASON = (
    "do what the reason asks for: remove a row that is in the way, make room on a full disk, or grant a right that is "
    "missing; then it goes on by itself"
)


def troubles(
    now: Lag, *, before: Lag | None = None, drift: Sequence[str] = (), objects: LargeObjects | None = None
) -> tuple[Finding, ...]:
    """Everything that keeps the subscriber from having all, or will.

    ``before`` is an earlier look, ``drift`` what has changed since the tables were published, and ``objects`` the
    large objects as they were when the copy began.
    """
    found = [*_slot(now), *_following(now), *_applying(now, before), *_lost(now), *_content(now, drift, objects)]
    return tuple(sorted(found, key=lambda each: ("block", "warn", "info").index(each.severity)))


def _anew(now: Lag) -> str:
    """What to do when a link can never again bring everything."""
    return _STAY if now.link.leads_back else _ANEW


def _slot(now: Lag) -> Iterator[Finding]:
    slot = now.publisher.slot
    if slot is None:
        why = "what was written since the copy is gone"
        yield Finding("slot-gone", "block", "the publisher has no slot for this link", _anew(now), why)
        return
    if slot.lost:
        says = f"slot {slot.name} has lost changes: {plain(slot.why_lost or slot.wal_status, 100)}"
        yield Finding("slot-lost", "block", says, _anew(now), "what it no longer holds can never be applied")
    elif slot.wal_status == "unreserved":
        says = f"slot {slot.name} is past max_slot_wal_keep_size: the next checkpoint may end it"
        yield Finding("slot-in-danger", "warn", says, "raise max_slot_wal_keep_size and reload, now")
    elif slot.safe_bytes is not None and slot.safe_bytes < ROOM * (slot.safe_bytes + (slot.held_bytes or 0)):
        says = f"slot {slot.name} holds {size(slot.held_bytes or 0)}, and is lost after {size(slot.safe_bytes)} more"
        yield Finding("slot-room", "warn", says, "raise max_slot_wal_keep_size, or let the subscriber catch up")


def _following(now: Lag) -> Iterator[Finding]:
    subscription = now.subscriber.subscription
    if subscription is None:
        yield Finding("not-subscribed", "block", "the subscriber has no subscription for this link", "run again")
    elif not subscription.enabled:
        yield Finding("not-enabled", "warn", "the subscription is not enabled: nothing is applied", "run again")
    elif subscription.worker is None or now.publisher.sender is None:
        says = "nothing is applied" if subscription.worker is None else "the publisher sends to nobody"
        slot = now.publisher.slot
        held = f"; the publisher holds {size(slot.held_bytes)} for it" if slot and slot.held_bytes else ""
        why = "the two are not connected; the subscriber tries again every wal_retrieve_retry_interval"
        yield Finding("not-following", "warn", says + held, "the subscriber's server log says why", why)


def _lost(now: Lag) -> Iterator[Finding]:
    """Changes that were left out; told from PostgreSQL 18 on, before that only a comparison shows them."""
    if lost := [(name, number) for name, number in now.subscriber.conflicts if name in LOSSES]:
        kinds = ", ".join(f"{name.removeprefix('confl_').replace('_', ' ')} {number}" for name, number in lost)
        says = f"changes that found no row in the copy, and were left out: {kinds}"
        why = "someone wrote into the copy: it is not what the publisher holds any more"
        yield Finding("changes-left-out", "block", says, _anew(now), why)


def _applying(now: Lag, before: Lag | None) -> Iterator[Finding]:
    """A failing transaction is tried again and again; between two tries there is no worker, and errors grow."""
    subscription, errors = now.subscriber.subscription, now.subscriber.apply_errors
    if subscription is None or not errors:
        return
    earlier = before.subscriber.apply_errors if before is not None else errors
    if subscription.enabled and (errors > earlier or subscription.worker is None):
        kinds = ", ".join(f"{name.removeprefix('confl_')} {number}" for name, number in now.subscriber.conflicts)
        slot = now.publisher.slot
        at = f" at {lsn(slot.confirmed)}" if slot is not None and slot.confirmed is not None else ""
        says = f"applying has failed {count(errors, 'time')}, and stands still{at}" + (f" ({kinds})" if kinds else "")
        since = before.subscriber if before is not None and errors > earlier else None
        if _conflicts_alone(now.subscriber, since):
            why = "someone wrote into the copy; every later change waits"
            yield Finding("apply-fails", "block", says, _ROW_AWAY, why)
        else:
            says += "; the subscriber's server log names the reason"
            yield Finding("apply-fails", "block", says, _BY_REASON, "every later change waits")


def _conflicts_alone(now: SubscriberSide, before: SubscriberSide | None) -> bool:
    """Whether every failure since was a conflict: each of those is counted as both, from PostgreSQL 18 on."""
    failed, stopped = now.apply_errors, _stopped(now)
    if before is not None:
        failed, stopped = failed - before.apply_errors, stopped - _stopped(before)
    return stopped >= failed


def _stopped(side: SubscriberSide) -> int:
    return sum(number for name, number in side.conflicts if name in STOPS)


def _content(now: Lag, drift: Sequence[str], objects: LargeObjects | None) -> Iterator[Finding]:
    if drift:
        says = "; ".join(drift[:SHOWN]) + (f"; and {len(drift) - SHOWN} more" if len(drift) > SHOWN else "")
        yield Finding("tables-changed", "block", says, _anew(now), "replication carries rows, and no change of a table")
    waiting = [f"{plain(name, 100)} ({state})" for name, state in now.subscriber.tables if state != "r"]
    if waiting:
        says = "tables that are not ready: " + ", ".join(waiting[:SHOWN])
        yield Finding("tables-not-ready", "block", says, "run again", "their rows are not applied")
    listed = now.publisher.published.members or frozenset()
    if now.subscriber.subscription is not None and len(listed) != len(now.subscriber.tables):
        says = f"{count(len(listed), 'table')} published, {count(len(now.subscriber.tables), 'table')} subscribed to"
        yield Finding("tables-apart", "block", says, _anew(now), "rows of the others are not applied")
    if objects is not None and now.publisher.objects != objects:
        was, there = (f"{count(each.count, 'large object')}" for each in (objects, now.publisher.objects))
        says = f"large objects have changed since the copy began: {was} then, {there} now"
        yield Finding("large-objects-changed", "block", says, "copy them behind the fence", "replication leaves them")
