"""Rows under heads where they fit the width; else each row on two lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from switchover.tui.draw import STYLES, mark

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NAME = 28


@dataclass(frozen=True, slots=True)
class Row:
    """Mark, word, cells: first a name and an address, then what is said of them; the note stands below."""

    kind: str
    word: str
    cells: tuple[str, ...]
    note: str = ""


def grid(heads: Sequence[str], rows: Sequence[Row], width: int, *, ascii_only: bool) -> list[Text]:
    """The rows as lines: under their heads where all fit, else with the heads as words in a second line."""
    if not rows:
        return []
    word = max(cell_len(row.word) for row in rows)
    columns = [_column(head, [row.cells[at] for row in rows]) for at, head in enumerate(heads)]
    columns[0] = min(columns[0], MOST_NAME)
    wide = 2 + word + sum(2 + column for column in columns if column) <= width
    lines = [Text(" " * (2 + word) + _cells(heads, columns, ascii_only=ascii_only), "dim")] if wide else []
    for row in rows:
        start = Text.assemble(mark(row.kind, ascii_only=ascii_only), " ", (f"{row.word:<{word}}", STYLES[row.kind]))
        if wide:
            lines.append(start.append(_cells(row.cells, columns, ascii_only=ascii_only)))
        else:
            lines += _folded(row, start, heads, width, ascii_only=ascii_only)
        if row.note:
            lines.append(Text(" " * (4 + word) + row.note, "dim"))
    return lines


def _column(head: str, cells: Sequence[str]) -> int:
    """How wide a column is; one that is empty throughout is left out."""
    most = max(cell_len(cell) for cell in cells)
    return max(cell_len(head), most) if most else 0


def _folded(row: Row, start: Text, heads: Sequence[str], width: int, *, ascii_only: bool) -> list[Text]:
    """Name and address, and the rest below; a name gives way to a long address."""
    indent = start.cell_len + 2
    name, address = row.cells[:2]
    room = max(8, width - indent - 2 - cell_len(address))
    rest = "  ".join(f"{head} {cell}" for head, cell in zip(heads[2:], row.cells[2:], strict=True) if cell)
    first = start.append(f"  {cut(name, min(room, cell_len(name)), ascii_only=ascii_only)}  {address}")
    return [first, Text(" " * indent + rest)] if rest else [first]


def _cells(cells: Sequence[str], columns: Sequence[int], *, ascii_only: bool) -> str:
    parts = [cut(cell, column, ascii_only=ascii_only) for cell, column in zip(cells, columns, strict=True) if column]
    return "".join(f"  {part}" for part in parts).rstrip()


def cut(text: str, width: int, *, ascii_only: bool) -> str:
    """Exactly ``width`` cells; a cut is marked."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + ("~" if ascii_only else "…")
