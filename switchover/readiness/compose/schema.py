"""The Compose specification's own JSON schema, and what it says of a document in words an operator reads."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from switchover.readiness.compose.node import Node
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

    from switchover.readiness.compose.node import Path

    Problem = tuple[Path, str]

_TYPES = {
    "object": "a table",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_TEXTUAL = frozenset({"enum", "const", "pattern", "minLength", "maxLength"})
MOST_GUESSES = 1000
"""For so many different unknown keys it is said which may be meant: each takes a moment."""


def problems(document: Node) -> Iterator[Problem]:
    """Where the document is not what the schema wants, and what it wants there.

    Services are looked at key by key, settings of one form once: a large file repeats itself.
    """
    services = document.get("services")
    known: dict[object, list[Problem]] = {}
    if services is not None and isinstance(services.value, dict):
        for name, service in services.value.items():
            for path, says in _service_problems(name, service, known):
                yield ("services", name, *path), says
        rest = {name: node for name, node in document.value.items() if name != "services"}
        document = Node(rest, document.at, document.keys)
    for error in _validator().iter_errors(document.plain()):
        yield from _worded(error)


def _service_problems(name: str, service: Node, known: dict[object, list[Problem]]) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        yield (), "a service's name has letters, digits, dots, dashes and underscores"
    if not isinstance(service.value, dict):
        yield (), f"{_shown(service.value)}; wanted is a table"
        return
    keys = service_keys()
    for key, node in service.value.items():
        if node.tag == "!reset":
            continue
        if key not in keys:
            if not key.startswith("x-"):
                yield (key,), _unknown(key, keys)
            continue
        form = (key, _form(node, *_looks_at_texts(key, is_item=isinstance(node.value, list))))
        if form not in known:
            validator = _validator().evolve(schema=keys[key])
            known[form] = [found for error in validator.iter_errors(node.plain()) for found in _worded(error)]
        for path, says in known[form]:
            yield (key, *path), says


def _form(node: Node, is_exact: bool, is_exact_within: bool) -> object:
    """What the schema sees of a value: equal for two values of which it says the same."""
    value = node.value
    if node.tag == "!reset":
        return node.tag
    if type(value) is str:
        return value if is_exact else str
    if type(value) is dict:
        return tuple([(key, _form(each, is_exact_within, is_exact_within)) for key, each in value.items()])
    if type(value) is list:
        texts = {each.value for each in value if type(each.value) is str}
        if len(texts) == len(value) and not is_exact:
            return (list, len(value))
        return (list, *[_form(each, True, True) for each in value])
    return (type(value), value)


@cache
def _looks_at_texts(key: str, *, is_item: bool) -> tuple[bool, bool]:
    """Whether the schema asks more of a service's setting, or of what its list holds, than to be text; and within."""
    whole = service_keys()[key]
    here = [
        branch
        for schema in _branches(whole)
        for branch in (_branches(schema.get("items", {})) if is_item else [schema])
    ]
    return any(not _TEXTUAL.isdisjoint(branch) for branch in here), not _TEXTUAL.isdisjoint(_words(whole))


def _words(schema: Any) -> Iterator[str]:
    """Every key of the schema, at any depth."""
    for each in schema if isinstance(schema, list) else _followed(schema).values() if isinstance(schema, dict) else ():
        yield from _words(each)
    if isinstance(schema, dict):
        yield from _followed(schema)


def _branches(schema: Any) -> Iterator[Any]:
    """The schema and its alternatives."""
    schema = _followed(schema)
    yield schema
    for branch in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _branches(branch)


def _worded(error: ValidationError) -> Iterator[Problem]:
    """One error in words; of alternatives, the one that takes this type of value."""
    path: Path = tuple(error.absolute_path)
    wanted: Any = error.validator_value
    value: Any = error.instance
    match error.validator:
        case "oneOf" | "anyOf" if (nearest := _nearest(error)) is not None:
            yield from _worded(nearest)
        case "oneOf" | "anyOf" | "type":
            types = _types(error.schema)
            names = " or ".join(said for name, said in _TYPES.items() if name in types)
            yield path, f"{_shown(error.instance)}; wanted is {names}"
        case "enum":
            values = " or ".join(str(value) for value in wanted)
            yield path, f"{plain(str(error.instance), 60)!r} is not a value; {values}"
        case "additionalProperties" | "unevaluatedProperties" if isinstance(value, dict):
            known = _properties(error.schema)
            for key in value:
                if key not in known and not key.startswith("x-"):
                    yield (*path, key), _unknown(key, known)
        case "required":
            missing = next((key for key in wanted if key not in value), "")
            yield path, f"{missing} is missing"
        case "uniqueItems":
            yield path, "an item stands in it twice"
        case _:
            yield path, f"wanted is {error.validator} {plain(str(wanted), 60)}"


def _nearest(error: ValidationError) -> ValidationError | None:
    branches: dict[object, list[ValidationError]] = {}
    for each in error.context or ():
        branches.setdefault(each.schema_path[0], []).append(each)
    fitting = [
        found for found in branches.values() if not any(each.validator == "type" and not each.path for each in found)
    ]
    return fitting[0][0] if len(fitting) == 1 else None


def _unknown(key: str, known: dict[str, Any]) -> str:
    near = _near(key, tuple(known)) if _near.cache_info().currsize < MOST_GUESSES else ""
    return f"{plain(key, 60)!r} is no key of Compose here" + (f"; is {near} meant?" if near else "")


@cache
def _near(key: str, known: tuple[str, ...]) -> str:
    return next(iter(get_close_matches(key[:60], known, 1)), "")


def _shown(value: object) -> str:
    """A number or the like itself; a text is not repeated: it may be a password."""
    return _named(value) if isinstance(value, str | dict | list) else f"{json.dumps(value)} is {_named(value)}"


def _named(value: object) -> str:
    kinds = {bool: "boolean", dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return _TYPES[kinds.get(type(value), "null")]


def _types(schema: Any) -> frozenset[str]:
    schema = _followed(schema)
    found = schema.get("type", ())
    own = frozenset((found,) if isinstance(found, str) else found)
    return own.union(*(_types(branch) for branch in (*schema.get("oneOf", ()), *schema.get("anyOf", ()))))


def _properties(schema: Any) -> dict[str, Any]:
    """The keys that a schema and its parts know."""
    schema = _followed(schema)
    parts = [_properties(part) for part in schema.get("allOf", ())]
    return {key: value for part in [*parts, schema.get("properties", {})] for key, value in part.items()}


def _followed(schema: Any) -> Any:
    while "$ref" in schema:
        schema = _schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


@cache
def _schema() -> Any:
    return json.loads(files("switchover.readiness.compose").joinpath("compose-spec.json").read_bytes())


@cache
def service_keys() -> dict[str, Any]:
    """The keys that a service may have, with the schema of each."""
    return _properties(_schema()["$defs"]["service"])


@cache
def _validator() -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(_schema())
