"""How far pg_dump or pg_restore is, as far as what they say with --verbose tells: table by table."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.words import count, left, plain, size, so_far

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    OnProgress = Callable[[str, float, float, str], None]

DUMPS = re.compile(r'dumping contents of table "(?P<key>.*)"$')
BEGINS = re.compile(r'processing data for table "(?P<key>.*)"$')
"""One job of pg_restore says when it begins a table."""

ENDS = re.compile(r"finished item (?P<key>\d+) TABLE DATA (?P<name>.*)$")
"""Several say when they have finished one, by its number in the archive."""


@dataclass(slots=True)
class Tally:
    """Counts the client's lines that speak of a table; ``sizes`` are bytes by what the lines call it."""

    on_progress: OnProgress
    line: re.Pattern[str]
    verb: str
    sizes: Mapping[str, int]
    done: int = 0
    bytes: float = 0.0
    under_way: str = ""
    started: float = field(default_factory=time.monotonic)

    def __call__(self, line: str) -> None:
        found = self.line.search(line)
        if found is None:
            return
        self.done += 1
        key = found["key"]
        if self.line is ENDS:
            self.bytes += self.sizes.get(key, 0)
            self.say(f"{plain(found['name'], 60)}, {size(self.sizes.get(key, 0))}")
        else:  # it begins, so the one before is over
            self.bytes += self.sizes.get(self.under_way, 0)
            self.under_way = key
            self.say(f"now {plain(key, 60)}, {size(self.sizes.get(key, 0))}")

    def say(self, latest: str) -> None:
        whole = sum(self.sizes.values())
        rest = left(time.monotonic() - self.started, self.bytes, whole)
        says = f"{self.verb} {count(self.done, 'table')}, {so_far(self.bytes, whole, rest)}; {latest}"
        self.on_progress(says, self.done, max(len(self.sizes), self.done), "tables")
