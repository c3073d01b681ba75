"""On which nodes of a swarm a service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Rule, each
from switchover.readiness.constraint import Constraint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Service

_AT = ("deploy", "placement", "constraints")
_KEYS = frozenset({"node.id", "node.hostname", "node.ip", "node.role", "node.platform.os", "node.platform.arch"})
_PINNING = ("node.labels.", "engine.labels.")


def _is_pinned(service: Service) -> bool:
    names = [name for name, sign, _ in service.constraints if sign == "=="]
    return any(name.startswith(_PINNING) or name in ("node.hostname", "node.id") for name in names)


def _on_managers(service: Service) -> Iterator[Hit]:
    if service.is_on_managers and not (service.is_balancer or service.speaks_to_docker):
        yield _AT, "told to run on a manager"


def _anywhere(service: Service) -> Iterator[Hit]:
    is_kept_off = any(constraint.is_for_workers for constraint in service.constraints)
    is_placed = service.is_on_managers or service.is_global or is_kept_off or _is_pinned(service)
    if not is_placed and not service.speaks_to_docker:
        yield ("deploy", "placement"), "nothing keeps it off the managers"


def _docker_anywhere(service: Service) -> Iterator[Hit]:
    if service.speaks_to_docker and not (service.is_on_managers or service.is_global or _is_pinned(service)):
        yield ("deploy", "placement"), "it speaks to Docker, and nothing keeps it on the managers"


def _unpinned(service: Service) -> Iterator[Hit]:
    if _is_pinned(service) or service.is_global:
        return
    for number, mount in enumerate(service.mounts):
        if service.is_own(mount):
            yield ("volumes", number), f"the volume {mount.source} is on one node, the service on any"
            return


def _unreadable(service: Service) -> Iterator[Hit]:
    for number, node in enumerate(service.items(*_AT)):
        found = Constraint.parse(node.text() or "")
        if found is None:
            yield (*_AT, number), f"{node.text()!r} is no constraint; as in node.role != manager"
        elif found.name not in _KEYS and not found.name.startswith(_PINNING):
            yield (*_AT, number), f"nodes have no {found.name}"


def _contradiction(service: Service) -> Iterator[Hit]:
    wanted: dict[str, set[str]] = {}
    refused: dict[str, set[str]] = {}
    for name, sign, value in service.constraints:
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
        "placement-docker",
        "warn",
        None,
        "000-08, 000-20",
        "Only a manager's Docker knows the services of the swarm: on a worker the load balancer has nobody to lead to.",
        "deploy.placement.constraints: [node.role == manager]",
        each(_docker_anywhere),
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
