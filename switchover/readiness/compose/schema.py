"""The Compose specification's own JSON schema, and what it says of a document in words an operator reads."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

    from switchover.readiness.compose.node import Node, Path

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


def problems(document: Node) -> Iterator[Problem]:
    """Where the document is not what the schema wants, and what it wants there.

    Services are looked at key by key, equal settings once: a large file repeats itself.
    """
    whole = document.plain()
    services = whole.get("services")
    known: dict[tuple[str, str], list[Problem]] = {}
    if isinstance(services, dict):
        del whole["services"]
        for name, service in services.items():
            for path, says in _service_problems(name, service, known):
                yield ("services", name, *path), says
    for error in _validator().iter_errors(whole):
        yield from _worded(error)


def _service_problems(name: str, service: Any, known: dict[tuple[str, str], list[Problem]]) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        yield (), "a service's name has letters, digits, dots, dashes and underscores"
    if not isinstance(service, dict):
        yield (), f"{_shown(service)}; wanted is a table"
        return
    keys = service_keys()
    for key, value in service.items():
        if key not in keys:
            if not key.startswith("x-"):
                yield (key,), _unknown(key, keys)
            continue
        settled = (key, repr(value))
        if settled not in known:
            validator = _validator().evolve(schema=keys[key])
            known[settled] = [found for error in validator.iter_errors(value) for found in _worded(error)]
        for path, says in known[settled]:
            yield (key, *path), says


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
    near = get_close_matches(key, known, 1)
    return f"{plain(key, 60)!r} is no key of Compose here" + (f"; is {near[0]} meant?" if near else "")


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
