"""Which paths the load balancer asks, and at which address users' names lead to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from switchover.readiness.compose.traefik import checks_of, is_routed, timeout_of
from switchover.readiness.compose.values import number
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.plan.spec import Spec
    from switchover.readiness.compose.service import Project, Service
    from switchover.readiness.compose.traefik import Check

_RULE = re.compile(r"traefik\.http\.routers\.[^.]+\.rule", re.IGNORECASE)
_CLAUSE = re.compile(r"\b(Host|PathPrefix|Path)\(([^)]*)\)", re.IGNORECASE)
_WORD = re.compile(r"[`\"']([^`\"']*)[`\"']")


@dataclass(frozen=True, slots=True)
class Asked:
    """The path of one service's check, and where a request from outside gets to it."""

    service: str
    path: str
    """Without its query, which may hold a secret; the URL has it all."""
    url: str
    """Empty where no request from outside gets there."""
    why_not: str
    timeout_s: float
    """What Traefik gives an answer."""
    status: int | None
    """The one status that Traefik takes; None for any of 2xx and 3xx."""
    ours: bool = True
    """Whether it serves one of the plan's names."""


def asked_paths(project: Project, spec: Spec) -> tuple[Asked, ...]:
    """Every path that Traefik's labels have it ask, under a name of the plan where a router leads there."""
    return tuple(
        _asked(service, check, spec)
        for service in project.services
        if is_routed(service)
        for check in checks_of(service).values()
        if "path" in check
    )


def _asked(service: Service, check: Check, spec: Spec) -> Asked:
    path = service.text(*check["path"]) or ""
    name, way, ours = _way(service, path, spec)
    expected = check.get("status")
    status = number(service.text(*expected)) if expected else None
    return Asked(
        plain(service.name, 80),
        plain(path.partition("?")[0], 200),
        f"{_front(spec, name)}{path}" if name else "",
        way,
        timeout_of(service, check),
        int(status) if status else None,
        ours,
    )


def _way(service: Service, path: str, spec: Spec) -> tuple[str, str, bool]:
    """The name under which the path is reached, or why it is not, and whether a router has a name of the plan."""
    if not path.startswith("/"):
        return "", "it does not begin with /", True
    closed = []
    for rule in _rules(service):
        hosts, paths = _words(rule, "host"), (*_words(rule, "path"), *_words(rule, "pathprefix"))
        ours = next((host for host in hosts if host.lower() in spec.dns.names), "")
        if ours and (not paths or _fits(rule, path)):
            return ours.lower(), "", True
        closed += [*paths] if ours else []
    if closed:
        return "", f"from outside only {plain(', '.join(closed), 120)} leads to it", True
    return "", "no router of it names one of dns.names", False


def _rules(service: Service) -> Iterator[str]:
    for name, node in service.table(*service.labels_at).items():
        if _RULE.fullmatch(name):
            yield node.text() or ""


def _words(rule: str, kind: str) -> tuple[str, ...]:
    clauses = (found[2] for found in _CLAUSE.finditer(rule) if found[1].lower() == kind)
    return tuple(word for clause in clauses for word in _WORD.findall(clause))


def _fits(rule: str, path: str) -> bool:
    bare = path.partition("?")[0]
    return bare in _words(rule, "path") or any(bare.startswith(each) for each in _words(rule, "pathprefix"))


def _front(spec: Spec, name: str) -> str:
    """Scheme, name and port as the plan's own health checks ask them; https where none asks this name."""
    url = next((check.url for check in spec.health if check.host == name), "")
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme or 'https'}://{name}{port}"
