"""Whether it runs as production, and whether anybody watches it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.readiness.compose.node import Mark
from switchover.readiness.compose.rule import Found, Rule
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.service import Project, Service

_KIND = re.compile(
    r"(?:NODE|APP|FLASK|RAILS|RACK|MIX|GO|SYMFONY|ENVIRONMENT|DJANGO|ASPNETCORE|DOTNET)_?(?:ENV|ENVIRONMENT)?"
)
_DEVELOPMENT = frozenset({"development", "dev", "local", "test", "testing"})
_DEBUG = re.compile(r"(?:[A-Z0-9]+_)*DEBUG")
_ON = frozenset({"1", "true", "yes", "on"})
_LEVEL = re.compile(r"(?:[A-Z0-9]+_)*LOG_?LEVEL")
_CHATTY = frozenset({"debug", "trace", "all", "silly"})
_WATCHES = re.compile(r"(?:monitoring|prometheus|metrics|com\.datadoghq|co\.elastic|newrelic)[./_-]", re.IGNORECASE)


def _is_development(name: str, value: str) -> bool:
    value = value.lower()
    return (
        (value in _DEVELOPMENT and _KIND.fullmatch(name) is not None)
        or (value in _ON and _DEBUG.fullmatch(name) is not None)
        or (value in _CHATTY and _LEVEL.fullmatch(name) is not None)
    )


def _development(project: Project) -> Iterator[Found]:
    """In the file, or in an env file that it names."""
    for service in project.services:
        at = ("services", service.name)
        for name, node in service.table("environment").items():
            if _is_development(name, node.text() or ""):
                yield Found(service.name, (*at, "environment", name), _says(name, node.text() or ""))
        for number, node in enumerate(service.items("env_file")):
            file = project.loaded.env_files[node]
            for name, value, line in file.lines:
                if _is_development(name, value):
                    mark = Mark(file.name, line, 1, 1 + len(name))
                    yield Found(service.name, (*at, "env_file", number), _says(name, value), mark)


def _says(name: str, value: str) -> str:
    return f"{plain(name, 80)} is {plain(value, 20)}"


def _unwatched(project: Project) -> Iterator[Found]:
    if project.services and not any(_is_labelled(service) for service in project.services):
        yield Found("", ("services",), "no service has labels that say how it is watched")


def _is_labelled(service: Service) -> bool:
    names = (*service.table("labels"), *service.table("deploy", "labels"))
    return any(_WATCHES.match(name) for name in names)


RULES = (
    Rule(
        "environment-development",
        "warn",
        "warn",
        "004-18",
        "Such settings show users stack traces, switch off caches and checks, and fill the log.",
        "NODE_ENV: production and the like; DEBUG off; LOG_LEVEL: info",
        _development,
    ),
    Rule(
        "monitoring-unlabelled",
        "info",
        "info",
        "004-09",
        "A monitoring that finds its services by their labels finds none here; one that is told otherwise needs none.",
        "labels: {monitoring.enabled: 'true', monitoring.port: '9090'}, or those that yours reads",
        _unwatched,
    ),
)
