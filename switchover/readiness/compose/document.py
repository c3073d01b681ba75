"""YAML text to nodes: the values as YAML 1.2 and Compose read them, merge keys resolved, hostile texts refused.

The scanner is libyaml, whose Go port Compose uses, so that the two take the same texts; what a bare word means is
decided here, for PyYAML's own answer is that of YAML 1.1 (22:22 a number, no a boolean).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from yaml import events

from switchover.readiness.compose.node import ComposeUnreadable, Mark, Node
from switchover.words import count, plain, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Expand = Callable[[str, Mark], str]

LARGEST = 8 * 1024 * 1024
DEEPEST = 64
MOST_REPEATED = 100_000
"""So many values may come from aliases, beyond those that are written out."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"([-+]?)0([0-7_]+)")
_NUMBER_STARTS = frozenset("+-.0123456789")


def read_documents(text: bytes, file: str, expand: Expand) -> list[Node]:
    """The documents of a file, each a table; ``expand`` fills in the variables of a text.

    Raises ComposeUnreadable, with the place, for what is no YAML or more than a person writes.
    """
    if len(text) > LARGEST:
        raise ComposeUnreadable(f"{file}: larger than {size(LARGEST)}; nobody writes such a Compose file")
    if b"\0" in text[:4096]:
        raise ComposeUnreadable(f"{file}: a binary file; a Compose file is text")
    try:
        found = list(_Composer(_LOADER(text), file, expand).documents())
    except yaml.YAMLError as error:
        raise ComposeUnreadable(_said(error, file)) from None
    for document in found:
        if not isinstance(document.value, dict):
            raise ComposeUnreadable(f"{document.at}: not a table; a Compose file begins with `services:`")
    return found


def _said(error: Any, file: str) -> str:
    """The parser's words in one line, with the place first."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark is not None else file
    words = (getattr(error, "context", None), getattr(error, "problem", None), getattr(error, "reason", None))
    return f"{place}: not YAML: {plain(', '.join(str(word) for word in words if word) or 'unreadable', 200)}"


class _Composer:
    """Builds nodes from the parser's events."""

    def __init__(self, source: Any, file: str, expand: Expand) -> None:
        self._next: Callable[[], Any] = source.get_event
        self._file = file
        self._expand = expand
        self._anchors: dict[str, tuple[Node | None, int]] = {}
        self._made = self._repeated = 0

    def documents(self) -> Iterator[Node]:
        while type(event := self._next()) is not events.StreamEndEvent:
            if type(event) is events.DocumentStartEvent:
                self._anchors.clear()
                node = self._node(self._next(), 0)
                if node.value is not None:
                    yield node

    def _node(self, event: Any, depth: int) -> Node:
        kind, anchor = type(event), event.anchor
        if kind is events.ScalarEvent and anchor is None:
            return self._scalar(event)
        if kind is events.AliasEvent:
            return self._alias(event)
        if depth >= DEEPEST:
            self._refuse(event, f"deeper than {DEEPEST} levels")
        before = self._made
        self._anchors[anchor] = (None, 0)
        if kind is events.ScalarEvent:
            node = self._scalar(event)
        elif kind is events.MappingStartEvent:
            node = self._table(event, depth + 1)
        else:
            node = self._list(event, depth + 1)
        self._anchors[anchor] = (node, self._made - before)
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            self._refuse(event, f"there is no anchor {plain(event.anchor, 80)!r} above")
        node, values = self._anchors[event.anchor]
        if node is None:
            self._refuse(event, f"the anchor {plain(event.anchor, 80)!r} contains itself")
        self._made += values
        self._repeated += values
        if self._repeated > MOST_REPEATED:
            self._refuse(event, f"its aliases unfold to more than {count(MOST_REPEATED, 'value')}")
        return node

    def _scalar(self, event: Any) -> Node:
        self._made += 1
        text: str = event.value
        at = self._mark(event)
        if "$" in text and (filled := self._expand(text, at)) != text:
            return Node(filled, at, source=text)
        if event.implicit[0]:
            return Node(_resolved(text), at)
        return Node(text, at, tag=_tag(event))

    def _list(self, event: Any, depth: int) -> Node:
        self._made += 1
        values = []
        while type(each := self._next()) is not events.SequenceEndEvent:
            values.append(self._node(each, depth))
        return Node(values, self._mark(event), tag=_tag(event))

    def _table(self, event: Any, depth: int) -> Node:
        self._made += 1
        table: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        merged: list[Node] = []
        while type(each := self._next()) is not events.MappingEndEvent:
            key = self._key(each)
            node = self._node(self._next(), depth)
            if key == "<<" and not merged and (each.implicit[0] or each.tag == _MERGE):
                merged.append(node)
            elif key in table or (merged and key == "<<"):
                self._refuse(each, f"the key {plain(key, 80)!r} is written twice")
            else:
                table[key], keys[key] = node, self._mark(each)
        for node in merged:
            _merge(node, table, keys)
        return Node(table, self._mark(event), keys, tag=_tag(event))

    def _key(self, event: Any) -> str:
        if type(event) is not events.ScalarEvent:
            self._refuse(event, "a key is a word, not a table, a list or an alias")
        return str(event.value)

    def _mark(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        line, column = start.line, start.column
        place = (self._file, line + 1, column + 1, (end.column if end.line == line else column) + 1)
        return tuple.__new__(Mark, place)  # a third of the time that Mark(…) takes, and every value has one

    def _refuse(self, event: Any, says: str) -> NoReturn:
        raise ComposeUnreadable(f"{self._mark(event)}: {says}")


_MERGE = "tag:yaml.org,2002:merge"
"""What ``!!merge`` stands for (https://yaml.org/type/merge.html)."""


def _merge(source: Node, table: dict[str, Node], keys: dict[str, Mark]) -> None:
    """``<<``: what the table has itself stays; of several, the earlier wins."""
    for each in source.value if isinstance(source.value, list) else [source]:
        if not isinstance(each.value, dict):
            raise ComposeUnreadable(f"{each.at}: `<<` takes a table, or a list of tables")
        for key, node in each.value.items():
            if key not in table:
                table[key], keys[key] = node, each.mark(key) if each.keys is None else each.keys[key]


def _tag(event: Any) -> str:
    return str(event.tag) if event.tag is not None and str(event.tag) in ("!reset", "!override") else ""


def _resolved(text: str) -> Any:
    """A bare word's value: null, booleans and numbers of YAML 1.2, and the octals of 1.1 that Go still reads."""
    if text in _NULL:
        return None
    if text[0] not in _NUMBER_STARTS:
        return _BOOL.get(text, text)
    try:
        if _INT.fullmatch(text):
            return int(_OCTAL.sub(r"\1\g<2>", text), 8) if _OCTAL.fullmatch(text) else int(text.replace("_", ""), 0)
        return float(text.replace("_", "")) if _FLOAT.fullmatch(text) else text
    except ValueError:  # more digits than Python reads, or underscores in odd places
        return text
