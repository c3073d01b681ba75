"""The one place where wording is made: glyphs, durations, sizes, times, and the door for text from outside."""

from __future__ import annotations

import re

_DROP = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def plain(text: str | bytes, limit: int = 2000) -> str:
    """The text without control, bidirectional and invisible characters, cut to ``limit`` characters.

    Newlines and tabs stay. Whatever came from outside (names, bodies, errors, tool output) enters here.
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "replace")
    cut = len(text) > limit
    text = _DROP.sub("", text[:limit])
    return text + "…" if cut else text
