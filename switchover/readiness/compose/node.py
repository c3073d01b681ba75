"""A YAML document as a tree that knows where each of its values stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]


class Mark(NamedTuple):
    """A place on one line of a file; lines and columns count from 1."""

    file: str
    line: int
    column: int
    end: int
    """The column after the last character."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ComposeUnreadable(Exception):
    """The files cannot be read as a whole; each problem is one line that begins with its place."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True, eq=False)
class Node:
    """A value and its place; never changed once it is made, for several parents may hold it."""

    value: Any
    """A dict of Nodes, a list of Nodes, or a str, int, float, bool or None."""
    at: Mark
    keys: Mapping[str, Mark] | None = None
    """Where the keys of a table stand."""
    source: str = ""
    """The text before its variables were filled in, where it has any."""
    tag: str = ""
    """``!reset`` or ``!override``, which speak to the merge of several files."""

    def get(self, *path: Step) -> Node | None:
        """What stands at this path, or None."""
        node: Node | None = self
        for step in path:
            value = node.value  # type: ignore[union-attr]
            if type(value) is dict:
                node = value.get(step)
            elif type(value) is list and isinstance(step, int) and step < len(value):
                node = value[step]
            else:
                return None
            if node is None:
                return None
        return node

    def text(self, *path: Step) -> str | None:
        """The scalar at this path as text, as Compose would hand it on; None for nothing, a table or a list."""
        node = self.get(*path) if path else self
        value = node.value if node is not None else None
        if type(value) is str or value is None:
            return value
        if isinstance(value, dict | list):
            return None
        return str(value).lower() if isinstance(value, bool) else str(value)

    def table(self, *path: Step) -> dict[str, Node]:
        """The table at this path; an empty one where there is none."""
        node = self.get(*path)
        return node.value if node is not None and isinstance(node.value, dict) else {}

    def items(self, *path: Step) -> list[Node]:
        """The list at this path; a scalar counts as a list of one."""
        node = self.get(*path) if path else self
        if node is None or node.value is None or isinstance(node.value, dict):
            return []
        return node.value if isinstance(node.value, list) else [node]

    def is_true(self, *path: Step) -> bool:
        """Whether it is switched on, written as a boolean or, as Compose takes it with a warning, as yes or on."""
        return (self.text(*path) or "").lower() in ("true", "yes", "on", "y")

    def mark(self, *path: Step) -> Mark:
        """Where this path stands: a scalar itself, else its key; what is absent stands where its parent does."""
        node, at = self, self.at
        for step in path:
            value = node.value
            found = None
            if type(value) is dict:
                found = value.get(step)
            elif type(value) is list and isinstance(step, int) and step < len(value):
                found = value[step]
            if found is None:
                break
            is_leaf = type(found.value) is not dict and type(found.value) is not list
            at = found.at if is_leaf or isinstance(step, int) else (node.keys or {}).get(step, found.at)
            node = found
        return at

    def plain(self) -> Any:
        """The value without places, as a JSON document has it; what a ``!reset`` takes away is left out."""
        value = self.value
        if isinstance(value, dict):
            return {key: node.plain() for key, node in value.items() if node.tag != "!reset"}
        if isinstance(value, list):
            return [node.plain() for node in value if node.tag != "!reset"]
        return value
