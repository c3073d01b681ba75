"""What a service's labels ask of Traefik."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from switchover.readiness.compose.values import seconds

if TYPE_CHECKING:
    from switchover.readiness.compose.node import Path
    from switchover.readiness.compose.service import Service

INTERVAL_S, TIMEOUT_S = 30.0, 5.0
"""Of its checks, unless told otherwise (pkg/config/dynamic)."""
POLL_S = 15.0
"""How often it looks for the swarm's containers, unless told otherwise; it is not told of health (pswarm.go)."""

Check: TypeAlias = "dict[str, Path]"
"""The settings of a check by name, with the path of each label."""

_ROUTED = re.compile(r"traefik\.http\.(?:routers|services)\.", re.IGNORECASE)
_SERVICE = re.compile(r"traefik\.http\.services\.([^.]+)\.loadbalancer\.(?:healthcheck\.(\w+))?", re.IGNORECASE)
_VIP = frozenset({"traefik.swarm.lbswarm", "traefik.docker.lbswarm"})


def is_routed(service: Service) -> bool:
    """Whether Traefik sends HTTP requests to it."""
    labels = service.table(*service.labels_at)
    is_off = any(name.lower() == "traefik.enable" and node.text() == "false" for name, node in labels.items())
    return not is_off and any(_ROUTED.match(name) for name in labels) and not _is_own(service)


def _is_own(service: Service) -> bool:
    """Traefik's dashboard is served by Traefik itself, at no container's port."""
    labels = service.table(*service.labels_at)
    return service.is_balancer or any((node.text() or "").endswith("@internal") for node in labels.values())


def checks_of(service: Service) -> dict[str, Check]:
    """For each of Traefik's services that the labels make of it, the check; an empty one where there is none."""
    found: dict[str, Check] = {}
    for name in service.table(*service.labels_at):
        label = _SERVICE.match(name)
        if label:
            check = found.setdefault(label[1].lower(), {})
            if label[2]:
                check[label[2].lower()] = (*service.labels_at, name)
    return found


def check_of(service: Service) -> Check:
    """The first check that asks for a path; an empty one where none does."""
    return next((check for check in checks_of(service).values() if "path" in check), {})


def interval_of(service: Service, check: Check | None = None) -> float | None:
    """Seconds between two checks of one container; None where there is no check."""
    check = check_of(service) if check is None else check
    return _seconds(service, check.get("interval"), INTERVAL_S) if "path" in check else None


def timeout_of(service: Service, check: Check | None = None) -> float:
    """Seconds that one check may take."""
    check = check_of(service) if check is None else check
    return _seconds(service, check.get("timeout"), TIMEOUT_S)


def _seconds(service: Service, path: Path | None, default: float) -> float:
    return (seconds(service.text(*path), bare=True) if path else None) or default


def is_by_vip(service: Service) -> bool:
    """Whether its requests go to Docker's virtual address, which knows of every container at once."""
    labels = service.table(*service.labels_at)
    return not is_routed(service) or any(name.lower() in _VIP and node.is_true() for name, node in labels.items())
