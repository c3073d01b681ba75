"""The load balancer's own checks, as Traefik's labels ask for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Found, Rule, each
from switchover.readiness.compose.traefik import INTERVAL_S, checks_of, interval_of, is_routed, timeout_of
from switchover.readiness.compose.values import seconds
from switchover.words import duration, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service

SHORTEST_S = 5.0
MOST_A_SECOND = 5.0

_PORT = re.compile(r"traefik\.(?:http|tcp|udp)\.services\.[^.]+\.loadbalancer\.server\.port", re.IGNORECASE)
_RULE = re.compile(r"traefik\.(?:http|tcp)\.routers\.[^.]+\.rule", re.IGNORECASE)


def _missing(service: Service) -> Iterator[Hit]:
    if not is_routed(service):
        return
    unasked = "the load balancer sends requests to it and never asks whether it can answer"
    checks = checks_of(service)
    if not checks:
        yield service.labels_at, unasked
    for name, check in checks.items():
        if "path" not in check:
            yield service.labels_at, f"{unasked}, as {plain(name, 80)}" if len(checks) > 1 else unasked


def _path(service: Service) -> Iterator[Hit]:
    for check in checks_of(service).values():
        at = check.get("path")
        if at and not (service.text(*at) or "").startswith("/"):
            yield at, f"{service.text(*at)!r} does not begin with /"


def _rule(service: Service) -> Iterator[Hit]:
    for name, node in service.table(*service.labels_at).items():
        text = node.text() or ""
        if _RULE.fullmatch(name) and (text.count("`") % 2 or text.count("(") != text.count(")") or "(" not in text):
            yield (*service.labels_at, name), "quotes or brackets of the rule do not match"


def _times(service: Service) -> Iterator[Hit]:
    for check in checks_of(service).values():
        for name in ("interval", "timeout", "unhealthyinterval"):
            at = check.get(name)
            if at and seconds(service.text(*at), bare=True) is None:
                yield at, f"{service.text(*at)!r} is no duration; as in 10s"


def _interval_short(service: Service) -> Iterator[Hit]:
    for check in checks_of(service).values():
        interval = interval_of(service, check)
        if interval is not None and interval < SHORTEST_S:
            yield check["interval"], f"every container is asked every {duration(interval)}"


def _timeout_long(service: Service) -> Iterator[Hit]:
    for check in checks_of(service).values():
        interval, timeout = interval_of(service, check), timeout_of(service, check)
        if interval is not None and timeout >= interval:
            said = f"the timeout, {duration(timeout)}, is no shorter than the interval, {duration(interval)}"
            yield check.get("timeout", check.get("interval", service.labels_at)), said


def _interval_long(service: Service) -> Iterator[Hit]:
    startup = service.startup_s
    for check in checks_of(service).values():
        interval = interval_of(service, check)
        if interval is not None and startup is not None and interval > 2 * startup and interval > INTERVAL_S:
            said = f"asked every {duration(interval)}, though it starts within {duration(startup)}"
            yield check.get("interval", check["path"]), said


def _misplaced(service: Service) -> Iterator[Hit]:
    where = ("labels",) if service.dialect == "stack" else ("deploy", "labels")
    found = [name for name in service.table(*where) if name.lower().startswith("traefik.")]
    right = service.table(*service.labels_at)
    if found and not any(name.lower().startswith("traefik.") for name in right):
        yield (
            (*where, found[0]),
            f"Traefik reads {'.'.join(map(str, service.labels_at))} here, and not {'.'.join(where)}",
        )


def _port(service: Service) -> Iterator[Hit]:
    labels = service.table(*service.labels_at)
    if is_routed(service) and not any(_PORT.fullmatch(name) for name in labels):
        yield service.labels_at, "no loadbalancer.server.port"


def _flood(project: Project) -> Iterator[Found]:
    """Checks a second, of containers and of the load balancer, in the whole project."""
    rates: dict[str, float] = {}
    for service in project.services:
        interval = interval_of(service)
        rate = 1 / service.check.interval if service.check else 0.0
        rate += 1 / interval if interval else 0.0
        rates[service.name] = rate * max(1, service.replicas)
    total = sum(rates.values())
    if total > MOST_A_SECOND:
        most = max(rates, key=lambda name: rates[name])
        said = f"{total:.1f} checks a second in all, {rates[most]:.1f} of them of {most}"
        yield Found("", ("services",), said)


RULES = (
    Rule(
        "balancer-check-missing",
        "error",
        "error",
        "001-03",
        "A new container gets its share of requests before it can answer, and one that hangs keeps getting it.",
        "traefik.http.services.NAME.loadbalancer.healthcheck.path=/health, with interval=10s and timeout=5s",
        each(_missing),
    ),
    Rule(
        "balancer-rule",
        "error",
        "error",
        "001-03",
        "Traefik leaves the router out, and nothing reaches the service.",
        "Host(`shop.example.com`)",
        each(_rule),
    ),
    Rule(
        "balancer-check-path",
        "error",
        "error",
        "001-03",
        "Traefik takes a path on the container itself, no whole address.",
        "healthcheck.path=/health; healthcheck.port and .hostname for the rest",
        each(_path),
    ),
    Rule(
        "balancer-check-duration",
        "error",
        "error",
        "001-05, 001-06",
        "Traefik refuses the service's whole configuration.",
        "Seconds, or a duration such as 10s.",
        each(_times),
    ),
    Rule(
        "balancer-check-interval-short",
        "warn",
        "warn",
        "001-08",
        "Every check is a line of the log, and load on the manager that the balancer runs on.",
        "interval: 10s, near the time that the service takes to start",
        each(_interval_short),
    ),
    Rule(
        "balancer-check-interval-long",
        "warn",
        "warn",
        "001-05",
        "A container that is ready waits that long for its first request, one that hangs goes on getting them.",
        "interval: near the time that the service takes to start",
        each(_interval_long),
    ),
    Rule(
        "balancer-check-timeout-long",
        "warn",
        "warn",
        "001-06",
        "Checks pile up on a slow service.",
        "A timeout below the interval; 5s is Traefik's own.",
        each(_timeout_long),
    ),
    Rule(
        "balancer-labels-misplaced",
        "error",
        "error",
        "001-03",
        "A swarm's balancer reads the service's labels, the container's are invisible to it; without a swarm it is the "
        "other way round. The service gets no requests, or no checks.",
        "Move the labels to deploy.labels for a stack, to labels for Compose.",
        each(_misplaced),
    ),
    Rule(
        "balancer-port-missing",
        "error",
        None,
        "001-03",
        "In a swarm Traefik cannot see which port the container listens on, and leaves the service out.",
        "traefik.http.services.NAME.loadbalancer.server.port=8080 under deploy.labels",
        each(_port),
    ),
    Rule(
        "checks-flood",
        "warn",
        "warn",
        "001-08",
        "Health checks this frequent fill logs and network and keep the manager busy.",
        "Longer intervals, most of all where there are many replicas.",
        _flood,
    ),
)
