"""Text from outside as Markdown and HTML show it: as it is, on one line."""

from __future__ import annotations

import re

from switchover.words import plain

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~!])")
_OPENS_A_BLOCK = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[-+](?:\s|$))|(?=[-=]+$))")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SPACES = re.compile(r"\s+")


def escape(text: object, limit: int = 300) -> str:
    """The text cleaned and cut, with every character that means something to Markdown or HTML made plain."""
    line = _SPACES.sub(" ", plain(str(text), limit)).strip()
    return _OPENS_A_BLOCK.sub(r"\1\\", _SPECIAL.sub(r"\\\1", line.translate(_HTML)))


def code(text: object) -> str:
    """The text as a code span; what could end it is dropped."""
    line = _SPACES.sub(" ", plain(str(text), 200)).strip().replace("`", "")
    return f"`{line}`" if line else "unknown"


def said(value: object, *, inside: bool = False) -> str:
    """A value of the journal in words: lists with commas, tables as "key: value", nothing as nothing."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(said(each, inside=True) for each in value)
        case dict():
            parts = [f"{key}: {said(each, inside=True)}" for key, each in value.items() if said(each)]
            return f"({', '.join(parts)})" if inside else "; ".join(parts)
        case _:
            return str(value)
