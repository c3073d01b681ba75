"""Definitions in the one wording that a dump and its restore lead to, whatever they were written like at first."""

from __future__ import annotations

import re

_SPACE = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|\s+""")
_ARRAY = "(ARRAY["
_CAST = re.compile(r'\]\)::([\w." ]+(?:\([\d,]+\))?)\[\]')


def folded(definition: str) -> str:
    """White space outside quotes as one blank: the server lays a query out otherwise in each version."""
    return _SPACE.sub(lambda found: found[1] or " ", definition).strip()


def pushed(definition: str) -> str:
    """A cast of a whole array as a cast of each element.

    A list of varchar becomes ``(ARRAY['x'::varchar])::text[]`` when it is first written, and is read again as
    ``ARRAY[('x'::varchar)::text]`` (transformTypeCast in parse_expr.c): what was restored once differs from what
    never was.
    """
    at = definition.find(_ARRAY)
    while at >= 0:
        start = at + len(_ARRAY)
        elements = _elements(definition, start)
        end = start + sum(len(each) + 1 for each in elements) - 1
        cast = _CAST.match(definition, end) if elements else None
        if cast is not None:
            words = ", ".join(f"({each.strip()})::{cast[1]}" for each in elements)
            definition = f"{definition[:at]}ARRAY[{words}]{definition[cast.end() :]}"
        at = definition.find(_ARRAY, at + 1)
    return definition


def _elements(text: str, start: int) -> list[str]:
    """What stands between commas up to the bracket that closes the list; nothing where none closes it."""
    found: list[str] = []
    depth, since, at = 0, start, start
    while at < len(text):
        each = text[at]
        if each == "'":
            at = text.find("'", at + 1)
            if at < 0:
                return []
        elif each in "([":
            depth += 1
        elif each in ")]" and depth:
            depth -= 1
        elif each == "]":
            return [*found, text[since:at]]
        elif each == "," and not depth:
            found.append(text[since:at])
            since = at + 1
        at += 1
    return []
