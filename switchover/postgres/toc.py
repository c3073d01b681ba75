"""What an archive holds, sorted: what can begin once its table is full, what must wait, what comes last.

pg_restore's own list says what there is, in an order that works, and what depends on what (pg_restore manual,
``--list`` and ``--use-list``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

_ENTRY = re.compile(r"^(\d+); (\d+) (\d+) (.*)$")
_NEEDS = re.compile(r"^;\s+depends on: ([\d ]+)$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the archive."""

    id: int
    oid: int
    """The object's own in the source's catalog; an index and the constraint it stands for have different ones."""
    says: str
    """Its kind, schema, name and owner, as the list says them."""
    needs: tuple[int, ...] = ()

    @property
    def is_foreign_key(self) -> bool:
        return self.says.startswith("FK CONSTRAINT ")

    @property
    def is_event_trigger(self) -> bool:
        return self.says.startswith("EVENT TRIGGER ")


_BELONGINGS = (
    *("ACL ", "CHECK CONSTRAINT ", "COMMENT ", "DEFAULT ", "SECURITY LABEL ", "SEQUENCE ", "SEQUENCE OWNED BY "),
    "TABLE ATTACH ",
)
"""Entries that change the table they depend on, and so must not come while it is being filled."""


@dataclass(frozen=True, slots=True)
class AfterData:
    """The parts of what follows the data, each in the archive's order."""

    early: tuple[Entry, ...]
    """Indexes and keys of plain tables: each may begin when its table is full."""
    middle: tuple[Entry, ...]
    """What needs them: indexes over partitions, views, triggers, materialized views, policies, comments."""
    foreign: tuple[Entry, ...]
    last: tuple[Entry, ...]
    """Event triggers, which would fire on everything before, and what speaks of foreign keys."""


def read_list(lines: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of ``pg_restore --list --verbose``, in their order."""
    entries: list[Entry] = []
    for line in lines:
        if found := _ENTRY.match(line):
            entries.append(Entry(int(found[1]), int(found[3]), found[4]))
        elif entries and (needs := _NEEDS.match(line)):
            last = entries.pop()
            entries.append(Entry(last.id, last.oid, last.says, tuple(int(each) for each in needs[1].split())))
    return tuple(entries)


def write_list(path: Path, entries: Iterable[Entry]) -> None:
    """Write what ``pg_restore --use-list`` reads, for you alone."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{entry.id};\n" for entry in entries))


def sort_out(entries: Iterable[Entry], early_oids: Collection[int]) -> AfterData:
    """Part the entries; ``early_oids`` are the indexes and constraints of plain tables."""
    early: list[Entry] = []
    middle: list[Entry] = []
    foreign: list[Entry] = []
    last: list[Entry] = []
    late: set[int] = set()
    for entry in entries:
        if entry.is_foreign_key:
            foreign.append(entry)
            late.add(entry.id)
        elif entry.is_event_trigger or late.intersection(entry.needs):
            last.append(entry)
            late.add(entry.id)
        elif entry.oid in early_oids and entry.says.startswith(("INDEX ", "CONSTRAINT ")):
            early.append(entry)
        else:
            middle.append(entry)
    return AfterData(tuple(early), tuple(middle), tuple(foreign), tuple(last))


def part_before(entries: Iterable[Entry], tables: Collection[int]) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """What some tables, by oid, need to be filled, with all that belongs to them; and everything else."""
    listed = tuple(entries)
    first = {entry.id for entry in listed if entry.oid in tables and entry.says.startswith("TABLE ")}
    size = -1
    while size != len(first):
        size = len(first)
        for entry in listed:
            if entry.id in first:
                first.update(entry.needs)
            elif entry.says.startswith(_BELONGINGS) and first.intersection(entry.needs):
                first.add(entry.id)
    return tuple(e for e in listed if e.id in first), tuple(e for e in listed if e.id not in first)
