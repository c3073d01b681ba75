"""The provider that works for everyone: a person edits, we say exactly what and watch what comes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from switchover.dns.ask import ask
from switchover.dns.authority import NoAuthority, find_authority, observe
from switchover.dns.message import FIRM, State
from switchover.dns.propagation import set_aside
from switchover.dns.providers import Capabilities, Change, ChangeConflict, NeedsEdit, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchover.dns.authority import Authority
    from switchover.dns.message import Answer, Endpoint, Rrset


@dataclass(frozen=True, slots=True)
class Manual:
    """The zone's keeper is a person with a console or an editor."""

    port: int = 53
    resolver: Endpoint | None = None

    @property
    def name(self) -> str:
        return "manual"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            cas=False,
            ttl=True,
            min_ttl=None,
            says="you edit the record where the zone is kept; every authoritative address is watched",
        )

    def describe(self, change: Change) -> tuple[str, ...]:
        """What to edit, a line each."""
        return instructions(change)

    async def read(self, owner: str, rdtype: str = "A") -> Rrset | None:
        """The record, if all its authoritative servers say the same."""
        try:
            authority = await find_authority(owner, resolver=self.resolver, port=self.port)
        except NoAuthority as error:
            raise Unreachable(str(error)) from None
        answers = await observe(authority, rdtype)
        unseen = set_aside(answers, authority.hosts)
        heard = [answer for answer in answers if answer.endpoint not in unseen]
        silent = [f"{answer.endpoint}: {answer}" for answer in heard if answer.state not in FIRM]
        if silent or not heard:
            raise Unreachable(f"not every authoritative server of {owner} could be asked: {'; '.join(silent)}")
        if len({answer.rrset for answer in heard}) > 1:
            said = "; ".join(f"{answer.endpoint}: {answer}" for answer in heard)
            raise Unreachable(f"the authoritative servers do not agree on {owner} {rdtype}: {said}")
        return heard[0].rrset

    async def check(self, change: Change) -> str:
        """Whether the record is now what the instructions start from."""
        seen = await self.read(change.owner, change.rdtype)
        if seen != change.old:
            raise ChangeConflict(
                f"{change.owner} {change.rdtype} is {seen or 'absent'}, the plan expects {change.old or 'absent'}",
                seen,
            )
        at = f"{change.owner} {change.rdtype}"
        return f"{at} is {seen or 'absent'} on every authoritative server, as expected; you edit it"

    async def apply(self, change: Change) -> NoReturn:
        """Ask for the edit."""
        raise NeedsEdit(instructions(change))


def instructions(change: Change) -> tuple[str, ...]:
    """The edit, field by field, in the words of most consoles."""
    host = relative(change.owner, change.zone)
    if change.new_values:
        only = "" if len(change.new_values) == 1 else " (these and no other)"
        action = (f"Value:  {', '.join(change.new_values)}{only}", f"TTL:    {change.new_ttl} seconds")
    else:
        action = ("Action: delete every record of this name and type", "TTL:    none")
    return (
        f"Zone:   {change.zone}",
        f"Host:   {host}    (some consoles want the full name: {change.owner}.)",
        f"Type:   {change.rdtype}",
        *action,
        f"Now:    {change.old or 'no such record'}",
        "Edit the record that is there; do not delete it and add a new one: caches would keep the gap.",
    )


def relative(owner: str, zone: str) -> str:
    """The owner as a console's host field wants it: ``@`` for the zone itself."""
    return "@" if owner == zone else owner.removesuffix("." + zone)


async def look_around(authority: Authority, change: Change) -> tuple[Answer, ...]:
    """Ask every address what ``typical_mistake`` needs to know."""
    asked = ((change.owner, change.rdtype), (change.owner, "AAAA"), (_doubled(change), change.rdtype))
    return tuple(await asyncio.gather(*(ask(end, name, kind) for end in authority.endpoints for name, kind in asked)))


def typical_mistake(answers: Sequence[Answer], change: Change) -> str | None:
    """The usual slip that explains the answers, in a sentence that says what to do; None if none is seen.

    ``answers`` may be those of ``look_around``, or any round of answers for the owner.
    """
    here = [answer for answer in answers if (answer.name, answer.rdtype) == (change.owner, change.rdtype)]
    doubled = [answer for answer in answers if answer.name == _doubled(change) and answer.state is State.OK]
    untouched = [answer for answer in here if answer.rrset != change.new]
    if untouched and doubled and set(doubled[0].values) & set(change.new_values):
        return (
            f"the record was made as {_doubled(change)}: the console adds the zone itself. "
            f"Write {relative(change.owner, change.zone)} in the host field"
        )
    for answer in untouched:
        slip = _slip(answer, change)
        if slip:
            return f"{slip} (seen at {answer.endpoint})"
    if not untouched and change.rdtype == "A" and change.old_values != change.new_values:
        for answer in answers:
            if (answer.name, answer.rdtype, answer.state) == (change.owner, "AAAA", State.OK):
                return (
                    f"an AAAA record ({', '.join(answer.values)}) still stands beside the changed A: "
                    "clients with IPv6 use it first. Change it too, or delete it"
                )
    return None


def _slip(answer: Answer, change: Change) -> str:
    values, old, new = set(answer.values), set(change.old_values), set(change.new_values)
    if answer.chain:
        return f"{change.owner} was made {answer.detail or 'a CNAME'}; it must be an {change.rdtype} record"
    if answer.state is not State.OK or answer.rrset == change.old:
        return ""
    if values == new and answer.ttl != change.new_ttl:
        same = "not been changed" if answer.ttl == change.old_ttl else f"become {answer.ttl}"
        return f"the value is right but the TTL has {same}: set {change.new_ttl} seconds"
    if new < values:
        kept = ", ".join(sorted(values - new))
        return f"the old record was kept beside the new one: delete {kept}"
    if values != old and values != new:
        return f"the value is {', '.join(answer.values)}; it should be {', '.join(change.new_values)}"
    return ""


def _doubled(change: Change) -> str:
    return f"{change.owner}.{change.zone}"
