"""What of a plan is another than it was, in words: key by key, values as a person says them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from switchover.plan import spec
from switchover.words import duration, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from switchover.plan.journal import Json

LENGTHS = frozenset(
    field.alias or name
    for table in vars(spec).values()
    if isinstance(table, type) and issubclass(table, BaseModel)
    for name, field in table.model_fields.items()
    if "timedelta" in str(field.annotation)
)
"""Keys whose values are lengths of time; the journal holds them in seconds."""


def changes(before: Mapping[str, Json], now: Mapping[str, Json]) -> str:
    """What is another than it was; empty when nothing is."""
    found = [says for key in now for says in _changed(key, before.get(key), now.get(key))]
    return "changed since: " + "; ".join(found) if found else ""


def _changed(key: str, was: Json, now: Json) -> Iterator[str]:
    """One line for each value that differs; a table is gone through key by key."""
    if was == now:
        return
    if isinstance(was, dict) and isinstance(now, dict):
        for part in (*was, *(each for each in now if each not in was)):
            yield from _changed(f"{key}.{part}", was.get(part), now.get(part))
        return
    yield plain(f"{key} was {plain(_said(key, was), 120)}, is {plain(_said(key, now), 120)}", 400)


def _said(key: str, value: Json) -> str:
    """A value in words; nothing is "not set"."""
    if value is None or value in ([], {}):
        return "not set"
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if key.rpartition(".")[2] in LENGTHS:
            return duration(value)
        case list():
            return ", ".join(_said(key, each) for each in value)
        case dict():
            return " ".join(f"{name} {_said(name, each)}" for name, each in value.items())
        case _:
            return str(value)
