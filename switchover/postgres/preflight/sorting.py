"""Whether text comes in the same order on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.postgres.finding import Finding
from switchover.postgres.preflight.check import some
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.postgres.preflight.look import Collation, Look

WHY = "lists come in another order; ranges and partitions by text hold other rows"


def sorting(ours: Look, theirs: Look) -> Iterator[Finding]:
    """The order of the database itself, and of the collations that its columns name."""
    yield from _named(ours, theirs)
    if ours.locale != theirs.locale:
        mine, other = (_locale(each.locale) for each in (ours, theirs))
        says = f"the source sorts as {mine}, the target as {other}"
        fix = "make the target with the source's locale, or accept its order"
        yield Finding("locale", "warn", says, fix, WHY)
    elif ours.sorted_by != theirs.sorted_by and ours.sorted_by and theirs.sorted_by:
        says = f"the source sorts by version {ours.sorted_by} of {ours.locale[0]}, the target by {theirs.sorted_by}"
        fix = "nothing: the target's indexes are made anew; look at ranges and partitions by text"
        yield Finding("locale-version", "warn", plain(says), fix, WHY)


def _locale(locale: tuple[str | None, ...]) -> str:
    collate, ctype, provider, name, rules = locale
    known = {"i": "ICU", "b": "built-in"}.get(provider or "")
    more = (f", {known} {name}" if known else "") + (f" with rules {rules}" if rules else "")
    return plain(f"{collate}, {ctype}{more}", 200)


def _named(ours: Look, theirs: Look) -> Iterator[Finding]:
    """By what a collation sorts, not by its name: one of our own is not there before the copy."""
    there = {_rule(each): each.version for each in theirs.collations}
    apart = [
        f"{each.name} is version {each.version} on the source, {there.get(_rule(each), 'none known')} on the target"
        for each in ours.collations
        if there.get(_rule(each)) != each.version
    ]
    if apart:
        says = plain(f"columns are sorted by collations that differ: {some(apart)}", 900)
        fix = "install the locale on the target's host where there is none; else look at ranges and partitions by text"
        yield Finding("collation-versions", "warn", says, fix, WHY)


def _rule(collation: Collation) -> tuple[str, str]:
    """Of one locale de_DE.UTF-8 and de_DE.utf8 are two spellings."""
    return collation.provider, collation.locale.lower().replace("-", "")
