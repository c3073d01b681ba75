"""The container's own health check."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Rule, each
from switchover.words import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Service

SHORTEST_S = 5.0
LONGEST_S = 180.0
"""A dead container should be noticed within three minutes."""

_AT: tuple[str, ...] = ("healthcheck",)
_NOTHING = frozenset({"true", "exit 0", ":", "/bin/true", "echo", "ls"})
_SHELL = re.compile(r"\|\||&&|[|<>;]|\$\(")
_PASSES = re.compile(r"\|\|\s*(?:exit\s+0|true|:)\s*$")


def _words(service: Service) -> list[str]:
    return [node.text() or "" for node in service.items("healthcheck", "test")]


def _command(service: Service) -> str:
    words = _words(service)
    return " ".join(words[1:] if words and words[0] in ("CMD", "CMD-SHELL") else words)


def _asks(service: Service) -> bool:
    """Whether the file says anything of a check but that the image's own is not switched off."""
    table = service.table("healthcheck")
    return service.get("healthcheck") is not None and (table.keys() != {"disable"} or service.check is None)


def _missing(service: Service) -> Iterator[Hit]:
    if not _asks(service) and not service.is_job:
        yield (), "no health check in the file; one in the image cannot be seen from here"


def _disabled(service: Service) -> Iterator[Hit]:
    if service.get("healthcheck") is not None and service.check is None:
        yield _AT, "the health check is switched off"


def _untested(service: Service) -> Iterator[Hit]:
    if service.check is not None and _asks(service) and not _words(service):
        yield _AT, "times without a test: they count only if the image brings a test"


def _malformed(service: Service) -> Iterator[Hit]:
    words, node = _words(service), service.get("healthcheck", "test")
    if node is None or not isinstance(node.value, list) or not words:
        return
    if words[0] not in ("NONE", "CMD", "CMD-SHELL"):
        yield (*_AT, "test"), f"the list begins with {words[0]!r}; wanted is CMD, CMD-SHELL or NONE"
    elif words[0] == "CMD-SHELL" and len(words) != 2:
        yield (*_AT, "test"), "CMD-SHELL takes the whole command as one text"
    elif words[0] == "CMD" and len(words) == 2 and " " in words[1].strip():
        yield (*_AT, "test", 1), "CMD runs a program of this whole name, spaces included"
    elif words[0] == "CMD" and any(word in ("||", "&&", "|") for word in words):
        yield (*_AT, "test"), "CMD has no shell; || and && are handed to the program as words"


def _always_passes(service: Service) -> Iterator[Hit]:
    command = _command(service).strip()
    if command in _NOTHING or _PASSES.search(command):
        yield (*_AT, "test"), "passes whatever the state of the service"


def _interval_short(service: Service) -> Iterator[Hit]:
    if service.check and service.check.interval < SHORTEST_S:
        yield (*_AT, "interval"), f"a process is started in the container every {duration(service.check.interval)}"


def _detection_slow(service: Service) -> Iterator[Hit]:
    if service.check is None:
        return
    interval, timeout, retries, _ = service.check
    noticed = retries * (interval + timeout)
    if noticed > LONGEST_S and interval * retries > LONGEST_S / 2:
        yield (*_AT, "interval"), f"a service that hangs is noticed after up to {duration(noticed)}"


def _timeout_long(service: Service) -> Iterator[Hit]:
    if service.check and service.check.timeout > service.check.interval:
        timeout, interval = duration(service.check.timeout), duration(service.check.interval)
        yield (*_AT, "timeout"), f"the timeout, {timeout}, is longer than the interval, {interval}"


def _retries(service: Service) -> Iterator[Hit]:
    if service.check and service.check.retries < 2:
        yield (*_AT, "retries"), "one slow answer ends the container"


def _start_period(service: Service) -> Iterator[Hit]:
    if service.check is None:
        return
    interval, _, retries, start = service.check
    startup = service.startup_s
    if startup is None:
        if start == 0 and service.dialect == "stack":
            yield _AT, f"no start_period: a start over {duration(interval * retries)} is taken for a failure"
    elif start + interval * retries < startup:
        yield (
            (*_AT, "start_period"),
            f"ended after {duration(start + interval * retries)}; it takes {duration(startup)}",
        )
    elif start < startup:
        yield (*_AT, "start_period"), f"{duration(start)} is shorter than the start, {duration(startup)}"


def _pg_isready(service: Service) -> Iterator[Hit]:
    command = _command(service)
    if "pg_isready" in command and not re.search(r"\s(?:-U|--username|-d|--dbname)", command):
        yield (*_AT, "test"), "pg_isready without -U and -d"


RULES = (
    Rule(
        "healthcheck-missing",
        "error",
        "error",
        "004-02",
        "Without one a container counts as running when its process starts: a rolling update ends the old one before "
        "the new one can serve, and a service that hangs is never replaced.",
        "healthcheck: {test: [CMD, …], interval: 30s, timeout: 10s, retries: 3, start_period: 40s}",
        each(_missing),
    ),
    Rule(
        "healthcheck-disabled",
        "error",
        "error",
        "004-02",
        "A check that is switched off also hides the one of the image.",
        "Write a test that asks the service itself.",
        each(_disabled),
    ),
    Rule(
        "healthcheck-untested",
        "info",
        "info",
        "004-02",
        "Where the image has no HEALTHCHECK these times do nothing.",
        "Write the test in the file.",
        each(_untested),
    ),
    Rule(
        "healthcheck-malformed",
        "error",
        "error",
        "004-02",
        "The check cannot run as it is written: the container is never healthy, or the check does not look.",
        "test: [CMD, curl, -f, http://localhost/health], or test: curl -f http://localhost/health || exit 1",
        each(_malformed),
    ),
    Rule(
        "healthcheck-always-passes",
        "error",
        "error",
        "004-02",
        "A check that cannot fail says healthy of a dead service.",
        "Ask the service itself, and let a failure be one.",
        each(_always_passes),
    ),
    Rule(
        "healthcheck-interval-short",
        "warn",
        "warn",
        "001-08",
        "Every check starts a process; at this pace it costs CPU and floods the logs.",
        "interval: 10s or more; start_interval makes the start quick",
        each(_interval_short),
    ),
    Rule(
        "healthcheck-detection-slow",
        "warn",
        "warn",
        "004-02",
        "Until then users are sent to a service that does not answer.",
        "interval: 30s, timeout: 10s, retries: 3",
        each(_detection_slow),
    ),
    Rule(
        "healthcheck-timeout-long",
        "warn",
        "warn",
        "001-06",
        "The next check waits for this one, so that the interval is not kept.",
        "A timeout below the interval, and above what the slowest answer takes.",
        each(_timeout_long),
    ),
    Rule(
        "healthcheck-retries-few",
        "warn",
        "warn",
        "004-02",
        "A single lost check replaces a container that works.",
        "retries: 3",
        each(_retries),
    ),
    Rule(
        "healthcheck-start-period",
        "error",
        "warn",
        "004-02, 001-05",
        "Failures count from the first check on, unless a start period covers the start: a swarm ends the container "
        "before it is ready, again and again.",
        "start_period: as long as the slowest start",
        each(_start_period),
    ),
    Rule(
        "healthcheck-pg-isready",
        "info",
        "info",
        "004-17",
        "It writes an error into the database's log at every check where no role has the container's user name.",
        "pg_isready -U app -d app",
        each(_pg_isready),
    ),
)
