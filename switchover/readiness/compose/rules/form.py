"""The form of the file: its schema, its variables, and values that the schema takes and Docker does not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Found, Rule, each
from switchover.readiness.compose.values import number, seconds, size_of
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from switchover.readiness.compose.node import Path, Step
    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service

    Reads = Callable[[str], object]

_RESTART = re.compile(r"no|false|always|unless-stopped|on-failure(?::\d+)?")
_PORTS = re.compile(r"\d{1,5}(?:-\d{1,5})?")


def _is_duration(text: str) -> bool:
    return seconds(text) is not None


def _is_size(text: str) -> bool:
    return size_of(text) is not None


def _is_count(text: str) -> bool:
    value = number(text)
    return value is not None and value >= 0 and value == int(value)


def _is_share(text: str) -> bool:
    value = number(text)
    return value is not None and 0 <= value <= 1


def _is_cpus(text: str) -> bool:
    value = number(text)
    return value is not None and value > 0


def _one_of(*words: str) -> Reads:
    return lambda text: text in words


_UPDATES: tuple[tuple[str, Reads, str], ...] = (
    ("delay", _is_duration, "a duration, as in 10s"),
    ("monitor", _is_duration, "a duration, as in 60s"),
    ("parallelism", _is_count, "a whole number from 0 on"),
    ("max_failure_ratio", _is_share, "a number from 0 to 1"),
)
_VALUES: tuple[tuple[Path, Reads, str], ...] = (
    *((("healthcheck", key), _is_duration, "a duration, as in 30s") for key in ("interval", "timeout", "start_period")),
    (("healthcheck", "start_interval"), _is_duration, "a duration, as in 5s"),
    (("healthcheck", "retries"), _is_count, "a whole number"),
    (("stop_grace_period",), _is_duration, "a duration, as in 30s"),
    (("restart",), _RESTART.fullmatch, "no, always, on-failure[:times] or unless-stopped"),
    (("deploy", "mode"), _one_of("replicated", "global", "replicated-job", "global-job"), "replicated or global"),
    (("deploy", "replicas"), _is_count, "a whole number from 0 on"),
    (("deploy", "restart_policy", "condition"), _one_of("none", "on-failure", "any"), "none, on-failure or any"),
    (("deploy", "restart_policy", "delay"), _is_duration, "a duration, as in 5s"),
    (("deploy", "restart_policy", "window"), _is_duration, "a duration, as in 120s"),
    (("deploy", "restart_policy", "max_attempts"), _is_count, "a whole number"),
    *((("deploy", "update_config", key), reads, says) for key, reads, says in _UPDATES),
    *((("deploy", "rollback_config", key), reads, says) for key, reads, says in _UPDATES),
    (
        ("deploy", "update_config", "failure_action"),
        _one_of("continue", "pause", "rollback"),
        "continue, pause or rollback",
    ),
    (("deploy", "rollback_config", "failure_action"), _one_of("continue", "pause"), "continue or pause"),
    *((("deploy", "resources", part, "memory"), _is_size, "a size, as in 512M") for part in ("limits", "reservations")),
    *(
        (("deploy", "resources", part, "cpus"), _is_cpus, "a number, as in '0.5'")
        for part in ("limits", "reservations")
    ),
    (("mem_limit",), _is_size, "a size, as in 512m"),
    (("mem_reservation",), _is_size, "a size, as in 512m"),
    (("shm_size",), _is_size, "a size, as in 64m"),
)
"""The path, what reads its text, and what is wanted."""
_BY_TABLE: dict[Path, dict[Step, tuple[Reads, str]]] = {}
for _path, _reads, _wanted in _VALUES:
    _BY_TABLE.setdefault(_path[:-1], {})[_path[-1]] = (_reads, _wanted)


def _values(service: Service) -> Iterator[Hit]:
    for parent, readers in _BY_TABLE.items():
        for key, node in service.table(*parent).items():
            text = node.text() if key in readers else None
            if text is None:
                continue
            reads, wanted = readers[key]
            is_the_schemas = reads is _is_duration and not isinstance(node.value, str)
            if not is_the_schemas and not reads(text):
                yield (*parent, key), f"{plain(text, 60)!r} is not a value; {wanted}"
    for place, port in enumerate(service.ports):
        for text in (port.target, port.published):
            if text and not _is_port(text):
                yield ("ports", place), f"{plain(text, 60)!r} is no port"


def _is_port(text: str) -> bool:
    return _PORTS.fullmatch(text) is not None and all(0 < int(part) < 65536 for part in text.split("-"))


def _schema(project: Project) -> Iterator[Found]:
    for document in project.loaded.documents:
        for path, says in project.problems(document):
            service = str(path[1]) if path[:1] == ("services",) and len(path) > 1 else ""
            yield Found(service, path, says, document.mark(*path))


def _empty(project: Project) -> Iterator[Found]:
    if not project.tree.table("services"):
        yield Found("", ("services",), "no services")


def _unset(project: Project) -> Iterator[Found]:
    for name, at in project.loaded.variables.unset.items():
        # A password's hash with its $ unescaped looks like variables too: a name that is none is not repeated.
        said = f"the variable {name}" if name.isupper() else "a variable here"
        yield Found("", (), f"{said} has no value, and counts as empty; $$ is a $", at)


def _bad_variables(project: Project) -> Iterator[Found]:
    for at, says in project.loaded.variables.bad.items():
        yield Found("", (), says, at)
    for at, says in project.loaded.variables.required.items():
        yield Found("", (), f"a variable is required and has no value: {plain(says, 120)}", at)


RULES = (
    Rule(
        "schema",
        "error",
        "error",
        "001-14",
        "Compose refuses a file that its schema refuses.",
        "As the Compose specification has it: https://github.com/compose-spec/compose-spec",
        _schema,
    ),
    Rule(
        "no-services",
        "error",
        "error",
        "",
        "There is nothing to deploy.",
        "services: with at least one",
        _empty,
    ),
    Rule(
        "bad-value",
        "error",
        "error",
        "001-14, 004-02, 004-04",
        "The schema takes any text here; Docker refuses it when the file is deployed.",
        "What the finding says.",
        each(_values),
    ),
    Rule(
        "variable-unset",
        "warn",
        "warn",
        "",
        "The service gets an empty value: an image without a tag, a password that is none.",
        "Set it in the environment or an env file (--env-file), or give it a default: ${NAME:-default}",
        _unset,
    ),
    Rule(
        "variable-bad",
        "error",
        "error",
        "",
        "The file cannot be deployed.",
        "Set the variable; write $$ for a $ that is meant as one.",
        _bad_variables,
    ),
)
