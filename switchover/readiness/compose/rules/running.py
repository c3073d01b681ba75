"""How a container is kept up, stopped, bounded and heard: restarts, grace, resources, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Rule, each
from switchover.readiness.compose.values import number, size_of
from switchover.words import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Service

GRACE_S = 10.0
"""Docker's own: after it the container is killed."""
DATABASE_GRACE_S = 60.0

_LIMITS = ("deploy", "resources", "limits")
_RESERVED = ("deploy", "resources", "reservations")
_POLICY = ("deploy", "restart_policy")
_UNBOUNDED = frozenset({"json-file", "default", ""})


def _restart(service: Service) -> Iterator[Hit]:
    if service.is_job:
        return
    if service.dialect == "stack" and service.get(*_POLICY) is None:
        given = service.text("restart")
        if given in ("no", "false"):
            yield ("restart",), f"restart: {given} means nothing in a stack: it is restarted always"
        elif given:
            yield ("restart",), "restart is only fallen back to, and said to be ignored; restart_policy says it"
        else:
            yield ("deploy",), "no restart_policy; a swarm restarts always, after 5s, without an end"
    if service.dialect == "compose" and service.get("restart") is None and service.get(*_POLICY) is None:
        yield (), "no restart policy: what ends stays ended, and nothing comes back with the machine"


def _restart_limited(service: Service) -> Iterator[Hit]:
    attempts = service.number((*_POLICY, "max_attempts"), 0)
    if attempts and not service.is_job and service.get(*_POLICY, "window") is None:
        yield (*_POLICY, "max_attempts"), f"given up for good after {attempts:.0f} failures, however far apart"


def _is_slow_to_stop(service: Service) -> bool:
    return service.database is not None and service.database.is_slow_to_stop


def _grace(service: Service) -> Iterator[Hit]:
    grace = service.seconds(("stop_grace_period",), GRACE_S)
    if _is_slow_to_stop(service) and grace < DATABASE_GRACE_S:
        yield ("stop_grace_period",), f"a database that is killed after {duration(grace)}"


def _grace_missing(service: Service) -> Iterator[Hit]:
    if service.get("stop_grace_period") is None and not service.is_job and not _is_slow_to_stop(service):
        yield (), f"no stop_grace_period: killed {duration(GRACE_S)} after it is asked to stop"


def _memory(service: Service) -> Iterator[Hit]:
    if service.get(*_LIMITS, "memory") is None and (service.dialect == "stack" or service.get("mem_limit") is None):
        yield ("deploy", "resources"), "no limit on memory"


def _cpu(service: Service) -> Iterator[Hit]:
    own = service.dialect == "compose" and (service.get("cpus") or service.get("cpu_quota"))
    if service.get(*_LIMITS, "cpus") is None and not own:
        yield ("deploy", "resources"), "no limit on CPU"


def _reservations(service: Service) -> Iterator[Hit]:
    if service.get(*_RESERVED, "memory") is None:
        yield ("deploy", "resources"), "no memory is reserved"


def _over_reserved(service: Service) -> Iterator[Hit]:
    for key, parse, show in (("memory", size_of, size), ("cpus", number, str)):
        most, wanted = (parse(service.text(*where, key)) for where in (_LIMITS, _RESERVED))
        if most is not None and wanted is not None and wanted > most:
            yield (*_RESERVED, key), f"{show(wanted)} are reserved, {show(most)} are allowed"


def _unbounded_log(service: Service) -> Iterator[Hit]:
    driver = service.text("logging", "driver") or ""
    if driver in _UNBOUNDED and service.get("logging", "options", "max-size") is None:
        yield ("logging",), "the log grows without bound"


def _discarded_log(service: Service) -> Iterator[Hit]:
    if service.text("logging", "driver") == "none":
        yield ("logging", "driver"), "nothing that it says is kept"


RULES = (
    Rule(
        "restart-policy-missing",
        "info",
        "error",
        "004-01",
        "What crashes has to come back by itself, also when the machine restarts; said in the file it is not left to a "
        "default.",
        "stack: deploy.restart_policy: {condition: any, delay: 5s}; Compose: restart: unless-stopped",
        each(_restart),
    ),
    Rule(
        "restart-given-up",
        "warn",
        "info",
        "004-01",
        "A dependency that is away for a minute is enough for the service to stay down.",
        "With max_attempts a window, such as 120s; or no max_attempts.",
        each(_restart_limited),
    ),
    Rule(
        "stop-grace-database",
        "warn",
        "warn",
        "004-05",
        "A database that is killed while it writes its checkpoint recovers at its next start, and that takes time.",
        "stop_grace_period: 1m or more",
        each(_grace),
    ),
    Rule(
        "stop-grace-missing",
        "info",
        "info",
        "004-05",
        "Requests and jobs that take longer than that are cut off at every update.",
        "stop_grace_period: longer than the longest request",
        each(_grace_missing),
    ),
    Rule(
        "memory-limit-missing",
        "error",
        "error",
        "004-06",
        "One service that leaks takes the memory of every other on its node, and the kernel chooses whom to kill.",
        "deploy.resources.limits.memory: 512M",
        each(_memory),
    ),
    Rule(
        "cpu-limit-missing",
        "warn",
        "warn",
        "004-06",
        "One busy service starves its neighbours, the manager's own work among them.",
        "deploy.resources.limits.cpus: '1.0'",
        each(_cpu),
    ),
    Rule(
        "reservation-missing",
        "warn",
        None,
        "004-06, 000-09",
        "The scheduler places by what is reserved: without it everything may land on one node.",
        "deploy.resources.reservations: {cpus: '0.25', memory: 256M}",
        each(_reservations),
    ),
    Rule(
        "reservation-above-limit",
        "error",
        "error",
        "004-06",
        "Docker refuses the service.",
        "Reserve at most what is allowed.",
        each(_over_reserved),
    ),
    Rule(
        "log-unbounded",
        "warn",
        "warn",
        "004-08, 003-16",
        "json-file keeps everything until the disk is full, and then the whole node stands still.",
        "logging: {driver: json-file, options: {max-size: 10m, max-file: '3'}}, or driver: local, or one that ships",
        each(_unbounded_log),
    ),
    Rule(
        "log-discarded",
        "error",
        "error",
        "004-08, 003-16",
        "After a failure there is nothing to read.",
        "A driver that keeps or ships, such as local.",
        each(_discarded_log),
    ),
)
