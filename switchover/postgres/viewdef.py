"""A view's definition as PostgreSQL 16 and later word it: the only relation of a query does not qualify its columns.

Up to PostgreSQL 15 two relations more stand in every view, OLD and NEW, so that its outer query qualifies all columns
(measured: 15.20 against 16.14). Inner queries qualify them on both.
"""

from __future__ import annotations

import re

UNQUALIFIED_SINCE = 160000

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|.""", re.DOTALL)
_NAME = re.compile(r'"|\w')
_SEVERAL = {"JOIN", "UNION", "INTERSECT", "EXCEPT"}
_CLAUSES = {"WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "TABLESAMPLE", ";"}
"""Reserved words: as names they would be quoted."""


def unqualified(definition: str) -> str:
    """The definition without the name of its outer query's only relation before columns; any other as it is."""
    tokens = _TOKEN.findall(definition)
    outer = _outside_brackets(tokens)
    start = next((at for at in outer if tokens[at] == "FROM"), None)
    if start is None or any(tokens[at] in _SEVERAL for at in outer):
        return definition
    end = next((at for at in outer if at > start and tokens[at] in _CLAUSES), len(tokens))
    relation = [tokens[at] for at in outer if start < at < end and not tokens[at].isspace()]
    names = [token for token in relation if _NAME.match(token)]
    if "," in relation or not names:
        return definition
    dropped = {at for at in _qualifiers(tokens, names[-1]) if not start < at < end}
    return "".join(token for at, token in enumerate(tokens) if at not in dropped and at - 1 not in dropped)


def _outside_brackets(tokens: list[str]) -> list[int]:
    """Where the tokens of the outer query are."""
    found, depth = [], 0
    for at, each in enumerate(tokens):
        depth += each == "("
        if not depth:
            found.append(at)
        depth -= each == ")"
    return found


def _qualifiers(tokens: list[str], name: str) -> list[int]:
    """Where the name stands before a dot, and is not behind one itself."""
    return [
        at
        for at, each in enumerate(tokens[:-1])
        if each == name and tokens[at + 1] == "." and (at == 0 or tokens[at - 1] != ".")
    ]
