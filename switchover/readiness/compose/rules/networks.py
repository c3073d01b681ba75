"""Who can be reached by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Found, Rule, each
from switchover.readiness.compose.traefik import is_routed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service
    from switchover.readiness.compose.values import Port

_LOCAL = ("127.", "::1", "localhost")


def _is_open(port: Port) -> bool:
    return bool(port.published) and not port.ip.startswith(_LOCAL)


def _is_internal(project: Project, name: str) -> bool:
    network = project.tree.get("networks", name)
    return network is not None and network.is_true("internal")


def _database_open(project: Project) -> Iterator[Found]:
    for service in project.services:
        if service.database is None or service.database.is_for_clients:
            continue
        for name in service.networks:
            if not _is_internal(project, name) and not _is_external(project, name):
                said = f"a database on the network {name}, which leads out"
                yield Found(service.name, ("services", service.name, "networks", name), said)


def _is_external(project: Project, name: str) -> bool:
    return project.tree.get("networks", name, "external") is not None


def _entry_internal(project: Project) -> Iterator[Found]:
    for service in project.services:
        published = [number for number, port in enumerate(service.ports) if port.published]
        if published and service.networks and all(_is_internal(project, name) for name in service.networks):
            path = ("services", service.name, "ports", published[0])
            yield Found(service.name, path, "publishes a port, and is on internal networks alone")


def _bridge(project: Project) -> Iterator[Found]:
    for name, network in project.tree.table("networks").items():
        if network.text("driver") in ("bridge", "macvlan", "ipvlan") and network.get("external") is None:
            yield Found("", ("networks", name, "driver"), f"{network.text('driver')} exists on one node only")


def _database_published(service: Service) -> Iterator[Hit]:
    if service.database is None or service.database.is_for_clients:
        return
    for number, port in enumerate(service.ports):
        if _is_open(port) or (port.published and service.dialect == "stack"):
            yield ("ports", number), f"a database at port {port.published} of the host"


def _bypass(service: Service) -> Iterator[Hit]:
    for number, port in enumerate(service.ports):
        if is_routed(service) and _is_open(port):
            yield ("ports", number), f"published at {port.published}, beside the load balancer"


def _everywhere(service: Service) -> Iterator[Hit]:
    for number, port in enumerate(service.ports):
        is_entry = service.is_balancer or port.published in ("80", "443")
        is_closed_to_all = service.database is not None and not service.database.is_for_clients
        if _is_open(port) and not port.ip and not is_entry and not is_closed_to_all:
            yield ("ports", number), f"port {port.published} on every address of the host"


def _random(service: Service) -> Iterator[Hit]:
    for number, port in enumerate(service.ports):
        if not port.published and port.target:
            yield ("ports", number), f"port {port.target} is published at a random port of the host"


def _taken(project: Project) -> Iterator[Found]:
    owners: dict[tuple[str, str, str], str] = {}
    for service in project.services:
        for number, port in enumerate(service.ports):
            if not port.published or "-" in port.published:
                continue
            key = (port.published, port.protocol, port.ip if project.dialect == "compose" else "")
            owner = owners.setdefault(key, service.name)
            if owner != service.name:
                said = f"port {port.published} is published by {owner} already"
                yield Found(service.name, ("services", service.name, "ports", number), said)


def _fixed(service: Service) -> Iterator[Hit]:
    for number, port in enumerate(service.ports):
        is_fixed = port.published and "-" not in port.published
        is_on_host = service.dialect == "compose" or (port.mode == "host" and service.is_global is False)
        if service.replicas >= 2 and is_fixed and is_on_host:
            yield ("ports", number), f"{service.replicas} replicas and one port {port.published} of the host"


RULES = (
    Rule(
        "database-network-open",
        "warn",
        "warn",
        "004-13",
        "Nothing outside has to reach a database, and it has to reach nothing outside.",
        "A network of its own with internal: true, shared with the services that use it.",
        _database_open,
    ),
    Rule(
        "database-published",
        "error",
        "error",
        "004-13",
        "Docker opens the port past the host's firewall: the database is on the internet.",
        "Take the port out; the services reach it over their network. For yourself: 127.0.0.1:5432:5432",
        each(_database_published),
    ),
    Rule(
        "entry-internal",
        "error",
        "error",
        "004-13",
        "On internal networks alone a published port leads nowhere.",
        "A second network, without internal, for the services that face users.",
        _entry_internal,
    ),
    Rule(
        "network-one-node",
        "error",
        None,
        "004-13",
        "A swarm's services cannot join it.",
        "driver: overlay, or no driver at all",
        _bridge,
    ),
    Rule(
        "port-beside-balancer",
        "warn",
        "warn",
        "004-13",
        "Requests that come this way pass by TLS, health checks and the access log.",
        "Take the port out.",
        each(_bypass),
    ),
    Rule(
        "port-everywhere",
        None,
        "info",
        "004-13",
        "Docker opens it past the host's firewall.",
        "127.0.0.1:8080:80 where a proxy of the host is in front",
        each(_everywhere),
    ),
    Rule(
        "port-random",
        "info",
        "info",
        "004-13",
        "Nobody knows it beforehand, and every start changes it.",
        "8080:80, or expose where only other services ask",
        each(_random),
    ),
    Rule(
        "port-taken",
        "error",
        "error",
        "004-13",
        "The second one cannot start.",
        "Another port; or one load balancer for both.",
        _taken,
    ),
    Rule(
        "port-fixed",
        "error",
        "error",
        "004-03",
        "The second replica finds the port taken and does not start.",
        "A load balancer in front; in a swarm mode: ingress.",
        each(_fixed),
    ),
)
