"""Where a key of a TOML document stands: its line, for errors that name the place."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*=")

Path = tuple[str | int, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table header and key of a valid document; keys of inline tables have none."""
    lines: dict[Path, int] = {(): 1}
    counts: dict[tuple[str, ...], int] = {}
    table: Path = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), 1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := _HEADER.match(line):
            names = _split(header[2])
            table = _indexed(names, counts, array=header[1] == "[[")
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            path = (*table, *_split(key[1]))
            for length in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:length], number)
            closing = _left_open(line[key.end() :])
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a key, or of the nearest table or key that holds it."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _split(dotted: str) -> tuple[str, ...]:
    parts = re.findall(r"[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'", dotted)
    return tuple(part.strip("\"'") for part in parts)


def _indexed(names: tuple[str, ...], counts: dict[tuple[str, ...], int], *, array: bool) -> Path:
    """The path with the index of each array of tables on the way."""
    if array:
        counts[names] = counts.get(names, -1) + 1
    path: list[str | int] = []
    for length in range(1, len(names) + 1):
        path.append(names[length - 1])
        if names[:length] in counts:
            path.append(counts[names[:length]])
    return tuple(path)


def _left_open(rest: str) -> str:
    """The multi-line quote that a value opens and does not close on its line; empty when none."""
    for quote in ('"""', "'''"):
        if rest.count(quote) == 1:
            return quote
    return ""
