"""Variables in a Compose file: ``$NAME``, ``${NAME:-default}`` and their kin, and the env files they come from."""

from __future__ import annotations

import re
from collections import ChainMap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from switchover.readiness.compose.node import Mark

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE = re.compile(r"""\s*(?:export\s+)?([A-Za-z_][\w.-]*)[ \t]*[=:][ \t]*('[^']*'|"(?:\\.|[^"\\])*"|[^\n]*)[^\n]*""")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
DEEPEST = 16


class EnvLine(NamedTuple):
    """A variable of an env file."""

    name: str
    source: str
    """Its value as a Compose file would have it, variables not filled in."""
    line: int


class BadVariable(ValueError):
    """A ``$`` that begins no variable. The text is not repeated: it may be a password."""


@dataclass(slots=True)
class Variables:
    """The values, and what was missed while they were filled in."""

    values: Mapping[str, str]
    unset: dict[str, Mark] = field(default_factory=dict)
    """Variables without value and without default, with the first place of each; "" where it may be none."""
    required: dict[Mark, str] = field(default_factory=dict)
    """``${NAME:?words}`` that has no value: the name and its words."""
    bad: dict[Mark, str] = field(default_factory=dict)

    def expand(self, text: str, at: Mark) -> str:
        """The text with its variables filled in; what is missing is noted and counts as empty."""
        try:
            return self._expand(text, at, 0)
        except BadVariable as error:
            self.bad[at] = str(error)
            return text

    def _expand(self, text: str, at: Mark, depth: int) -> str:
        out, done = [], 0
        while (dollar := text.find("$", done)) >= 0:
            out.append(text[done:dollar])
            after = text[dollar + 1 : dollar + 2]
            if after == "$":
                out.append("$")
                done = dollar + 2
            elif name := _NAME.match(text, dollar + 1):
                # After a letter it may be a password with a $ in it: the name is not kept, and so not repeated.
                is_kept = name[0] in self.values or not text[dollar - 1 : dollar].isalnum()
                out.append(self._value(name[0] if is_kept else "", "", "", at, depth))
                done = name.end()
            elif after == "{":
                done = _closing(text, dollar + 2)
                out.append(self._braced(text[dollar + 2 : done - 1], at, depth))
            else:
                raise BadVariable(f"{plain('$' + after)!r} begins no variable; write $$ for a $")
        return "".join([*out, text[done:]])

    def _braced(self, inside: str, at: Mark, depth: int) -> str:
        name = _NAME.match(inside)
        rest = inside[name.end() :] if name else ""
        operator = next((sign for sign in (":-", ":?", ":+", "-", "?", "+") if rest.startswith(sign)), "")
        if name is None or (rest and not operator) or depth > DEEPEST:
            raise BadVariable("${…} holds no variable; as in ${NAME:-default}")
        return self._value(name[0], operator, rest[len(operator) :], at, depth)

    def _value(self, name: str, operator: str, word: str, at: Mark, depth: int) -> str:
        value = self.values.get(name)
        has = bool(value) if operator.startswith(":") else value is not None
        match operator.removeprefix(":"):
            case "+":
                return self._expand(word, at, depth + 1) if has else ""
            case "-":
                return value or "" if has else self._expand(word, at, depth + 1)
            case "?" if not has:
                self.required.setdefault(at, f"{name}: {word}" if word else name)
            case _ if not has:
                self.unset.setdefault(name, at)
        return value or ""


def _closing(text: str, start: int) -> int:
    """The place after the brace that closes the one before ``start``."""
    depth = 1
    for place in range(start, len(text)):
        if text[place] == "{" and text[place - 1] == "$":
            depth += 1
        elif text[place] == "}":
            depth -= 1
            if depth == 0:
                return place + 1
    raise BadVariable("${ is not closed")


def read_env(text: str, outer: Mapping[str, str]) -> dict[str, str]:
    """The variables of an env file; a value may use those above it and the ``outer`` ones."""
    from switchover.readiness.compose.node import Mark

    found: dict[str, str] = {}
    variables, nowhere = Variables(ChainMap(found, dict(outer))), Mark("", 0, 0, 0)
    for name, source, _ in env_lines(text):
        found[name] = variables.expand(source, nowhere) if "$" in source else source
    return found


def env_lines(text: str) -> Iterator[EnvLine]:
    """The variables of an env file, in its order."""
    place, number = 0, 1
    while place < len(text):
        line = _LINE.match(text, place)
        end = line.end() if line else text.find("\n", place)
        end = end if end >= 0 else len(text)
        if line and not line[0].lstrip().startswith("#"):
            yield EnvLine(line[1], _unquoted(line[2]), number + text.count("\n", place, line.start(1)))
        number += text.count("\n", place, end + 1)
        place = end + 1


def _unquoted(value: str) -> str:
    """Single quotes take every ``$`` as it is."""
    if value.startswith("'") and value.endswith("'") and len(value) > 1:
        return value[1:-1].replace("$", "$$")
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), value[1:-1])
    return re.sub(r"(?:^|\s)#.*", "", value).strip()
