"""On which nodes of a swarm a service runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Rule, each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Service

_AT = ("deploy", "placement", "constraints")
_CONSTRAINT = re.compile(r"\s*((?:node|engine)\.[\w.\-/]+)\s*(==|!=)\s*(.+?)\s*", re.DOTALL)
_KEYS = frozenset({"node.id", "node.hostname", "node.ip", "node.role", "node.platform.os", "node.platform.arch"})
_PINNING = ("node.labels.", "engine.labels.")
_DOCKER = ("docker.sock", "docker.socket")


def _constraints(service: Service) -> list[tuple[str, str, str]]:
    """Name, sign and value of every constraint that can be read."""
    found = [_CONSTRAINT.fullmatch(node.text() or "") for node in service.node.items(*_AT)]
    return [(each_[1], each_[2], each_[3]) for each_ in found if each_]


def _is_kept_off(service: Service) -> bool:
    return any(
        (name, sign, value.lower()) in (("node.role", "!=", "manager"), ("node.role", "==", "worker"))
        for name, sign, value in _constraints(service)
    )


def _is_pinned(service: Service) -> bool:
    names = [name for name, sign, _ in _constraints(service) if sign == "=="]
    return any(name.startswith(_PINNING) or name in ("node.hostname", "node.id") for name in names)


def _speaks_to_docker(service: Service) -> bool:
    return any(mount.source.endswith(_DOCKER) for mount in service.mounts)


def _on_managers(service: Service) -> Iterator[Hit]:
    if service.is_on_managers and not (service.is_balancer or _speaks_to_docker(service)):
        yield _AT, "told to run on a manager"


def _anywhere(service: Service) -> Iterator[Hit]:
    if service.is_on_managers or service.is_global or _is_kept_off(service) or _is_pinned(service):
        return
    yield ("deploy", "placement"), "nothing keeps it off the managers"


def _unpinned(service: Service) -> Iterator[Hit]:
    if _is_pinned(service) or service.is_global:
        return
    for number, mount in enumerate(service.mounts):
        if service.is_own(mount):
            yield ("volumes", number), f"the volume {mount.source} is on one node, the service on any"
            return


def _unreadable(service: Service) -> Iterator[Hit]:
    for number, node in enumerate(service.node.items(*_AT)):
        found = _CONSTRAINT.fullmatch(node.text() or "")
        if found is None:
            yield (*_AT, number), f"{node.text()!r} is no constraint; as in node.role != manager"
        elif found[1] not in _KEYS and not found[1].startswith(_PINNING):
            yield (*_AT, number), f"nodes have no {found[1]}"


def _contradiction(service: Service) -> Iterator[Hit]:
    wanted: dict[str, set[str]] = {}
    refused: dict[str, set[str]] = {}
    for name, sign, value in _constraints(service):
        (wanted if sign == "==" else refused).setdefault(name, set()).add(value)
    for name, values in wanted.items():
        if len(values) > 1 or values & refused.get(name, set()):
            yield _AT, f"no node can satisfy what is asked of {name}"
    if {"manager", "worker"} <= refused.get("node.role", set()):
        yield _AT, "no node can satisfy what is asked of node.role"


RULES = (
    Rule(
        "placement-anywhere",
        "warn",
        None,
        "000-08, 000-10",
        "Managers run the swarm; a manager without memory or CPU to spare can neither schedule nor heal, and with the "
        "balancer on it the whole site is away.",
        "deploy.placement.constraints: [node.role != manager]",
        each(_anywhere),
    ),
    Rule(
        "placement-on-manager",
        "warn",
        None,
        "000-08, 000-10",
        "Managers run the swarm; only what speaks to Docker, such as the load balancer, has to be there.",
        "deploy.placement.constraints: [node.role != manager]",
        each(_on_managers),
    ),
    Rule(
        "placement-unpinned",
        "error",
        None,
        "000-11",
        "A local volume exists on the node where it was made: after a move to another node the service begins with an "
        "empty one.",
        "deploy.placement.constraints: [node.labels.database == true], and the label on one node",
        each(_unpinned),
    ),
    Rule(
        "placement-unreadable",
        "error",
        None,
        "000-10",
        "Docker refuses the service.",
        "node.role, node.hostname, node.labels.NAME, with == or !=",
        each(_unreadable),
    ),
    Rule(
        "placement-contradiction",
        "error",
        None,
        "000-12",
        "The service is never placed, and an update waits without end.",
        "Take one of the constraints away.",
        each(_contradiction),
    ),
)
