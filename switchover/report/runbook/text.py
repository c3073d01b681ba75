"""Pieces of the recovery plan's Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Sequence


def section(title: str, *lines: str) -> str:
    """A heading and what stands under it; lines of a list stay together."""
    parts: list[str] = []
    for line in lines:
        if not line:
            continue
        joined = bool(parts) and _is_listed(line) and _is_listed(parts[-1].rsplit("\n", 1)[-1])
        if joined:
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return f"## {title}\n\n" + "\n\n".join(parts) + "\n"


def shell(text: str) -> str:
    """A block of commands."""
    return block(text, "sh")


def block(text: str, language: str = "") -> str:
    """A block whose fence is longer than any run of backticks in it, so that nothing in it can end it."""
    inside = plain(text, 1 << 16)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", inside))])
    return f"{fence}{language}\n{inside}\n{fence}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of cells that are escaped already; empty without rows."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]])


def _is_listed(line: str) -> bool:
    return line.startswith("- ")
