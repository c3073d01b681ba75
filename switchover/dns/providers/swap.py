"""Compare and swap for keepers that cannot do it themselves: read, compare, write, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.dns.providers import Change, ChangeConflict, ChangeRefused, ChangeUnknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchover.dns.message import Rrset


class Lost(Exception):
    """The write was sent and no final answer came, so it may still be carried out; the message says how it was lost.

    The text is shown: it comes from outside only through ``plain``.
    """


async def swap(
    provider_name: str,
    change: Change,
    read: Callable[[], Awaitable[Rrset | None]],
    write: Callable[[], Awaitable[str]],
) -> None:
    """Make the change; what is read last decides, never what ``write`` says of it.

    ``write`` returns the keeper's answer, also where that is a refusal, or raises Lost; whatever else it raises means
    that nothing was sent. ``read`` raises Unreachable where the record is not known.
    """
    before = await read()
    if before == change.new:
        return
    if before != change.old:
        raise changed(provider_name, change, before, "before the change")
    late = False
    try:
        said = await write()
    except Lost as error:
        said, late = str(error), True
    now = await _read_back(provider_name, change, read, said)
    if now == change.new:
        return
    if now != change.old:
        raise changed(provider_name, change, now, f"after the change ({said})")
    as_before = f"{change.owner} is {change.old or 'absent'} as before"
    if late:
        raise ChangeUnknown(
            f"the change of {change.owner} was sent to {provider_name} ({said}); {as_before}, but the change may still "
            "be made there. Look again in a minute, or run again: what is done is recognised"
        )
    raise ChangeRefused(f"{provider_name} did not make the change ({said}); {as_before}")


async def _read_back(
    provider_name: str, change: Change, read: Callable[[], Awaitable[Rrset | None]], said: str
) -> Rrset | None:
    try:
        return await read()
    except ChangeConflict:
        raise
    except ChangeRefused:  # of the reading; of the change it says nothing
        raise ChangeUnknown(
            f"the change of {change.owner} was sent to {provider_name} ({said}), which could then not be asked what "
            f"became of it: the record may be {change.old or 'absent'} or {change.new or 'absent'}. Look at it there, "
            "or run again: what is done is recognised"
        ) from None


def changed(provider_name: str, change: Change, seen: Rrset | None, when: str) -> ChangeConflict:
    """The record is neither the old nor, in time, the new one: the conflict to raise."""
    return ChangeConflict(
        f"{change.owner} {change.rdtype} at {provider_name} is {seen or 'absent'} {when}; the plan expects "
        f"{change.old or 'absent'}, to become {change.new or 'absent'}. Somebody else changed it: "
        "find out who, then look again",
        seen,
    )
