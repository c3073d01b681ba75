"""What a swarm says of its nodes, held against what the plan declares; only looked at, never changed.

Asked through Docker's own client, which is an extra: ``pip install 'switchover[docker]'``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchover.readiness.constraint import Constraint
from switchover.readiness.topology import LEEWAY
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from switchover.plan.production import NodeSpec, TopologySpec

PATIENCE_S = 10


class SwarmUnreachable(Exception):
    """The endpoint could not be asked; what it would say is unknown."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node as the swarm knows it."""

    id: str
    name: str
    role: str
    ready: bool
    availability: str
    cpu: float
    memory_gb: float
    labels: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    """Services with a task there that should be running."""

    @property
    def takes_tasks(self) -> bool:
        return self.ready and self.availability == "active"


@dataclass(frozen=True, slots=True)
class Swarm:
    """Its nodes, and what each service asks of the node that it runs on."""

    nodes: tuple[Node, ...]
    constraints: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Differences:
    """Where the swarm is not what the plan declares."""

    blocks: tuple[str, ...]
    warns: tuple[str, ...]


async def read_swarm(url: str, certificates: Path | None = None) -> Swarm:
    """Ask the endpoint, over tcp:// with the certificates of a folder. Raises SwarmUnreachable."""
    try:
        async with asyncio.timeout(4 * PATIENCE_S):
            return await asyncio.to_thread(_read, url, certificates)
    except TimeoutError:
        raise SwarmUnreachable(f"{plain(url, 200)}: no answer within {4 * PATIENCE_S} s") from None


def differences(topology: TopologySpec, swarm: Swarm) -> Differences:
    """Hold the swarm against the plan; a pure function."""
    there = {node.name: node for node in swarm.nodes}
    blocks = [says for wanted in topology.nodes for says in _of_node(wanted, there.get(wanted.name))]
    blocks += _unplaceable(swarm)
    declared = {node.name for node in topology.nodes}
    warns = [f"{plain(name, 60)} is a node that the plan does not name" for name in there if name not in declared]
    warns += [
        f"{plain(node.name, 60)} is a manager and runs {', '.join(plain(name, 60) for name in others)}"
        for node in swarm.nodes
        if node.role == "manager" and (others := [name for name in node.runs if not _is_of(name, topology.on_managers)])
    ]
    return Differences(tuple(blocks), tuple(warns))


def _of_node(wanted: NodeSpec, found: Node | None) -> Iterable[str]:
    name = plain(wanted.name, 60)
    if found is None:
        yield f"{name} is no node of the swarm"
        return
    if found.role != wanted.role:
        yield f"{name} is a {found.role}, declared as {wanted.role}"
    if not found.ready:
        yield f"{name} is not ready"
    if wanted.role == "worker" and found.availability != "active":
        yield f"{name} takes no tasks: its availability is {found.availability}"
    if found.cpu < wanted.cpu * LEEWAY:
        yield f"{name} has {found.cpu:g} CPUs, declared as {wanted.cpu:g}"
    if found.memory_gb < wanted.memory_gb * LEEWAY:
        yield f"{name} has {found.memory_gb:.1f} GB, declared as {wanted.memory_gb:g}"


def _unplaceable(swarm: Swarm) -> Iterable[str]:
    """Services whose constraints no node meets: an update of one waits without end."""
    for service, constraints in swarm.constraints.items():
        if not any(node.takes_tasks and all(_meets(node, each) for each in constraints) for node in swarm.nodes):
            asked = ", ".join(plain(each, 100) for each in constraints)
            yield f"no node that takes tasks meets what {plain(service, 60)} asks for: {asked}"


def _meets(node: Node, constraint: str) -> bool:
    """Whether a node meets a constraint; one of a kind that is not known here is taken to be met."""
    found = Constraint.parse(constraint)
    if found is None:
        return True
    key, sign, wanted = found
    known = {"node.role": node.role, "node.hostname": node.name, "node.id": node.id}
    if key.startswith("node.labels."):
        value: str | None = node.labels.get(key.removeprefix("node.labels."), "")
    else:
        value = known.get(key)
    if value is None:
        return True
    return (value == wanted) is (sign == "==")


def _is_of(service: str, names: Sequence[str]) -> bool:
    """Whether a service is one of these; ``docker stack deploy`` puts the stack's name before it."""
    return service in names or service.partition("_")[2] in names


def _read(url: str, certificates: Path | None) -> Swarm:
    try:
        import docker
        from docker.errors import DockerException
        from requests.exceptions import RequestException
    except ImportError:
        raise SwarmUnreachable("Docker's client is not installed: pip install 'switchover[docker]'") from None
    socket = url.removeprefix("unix://")
    if socket != url and not Path(socket).exists():
        raise SwarmUnreachable(f"{plain(socket, 200)} is not there")
    try:
        tls = _tls(certificates) if certificates is not None else False
        client = docker.DockerClient(url, timeout=PATIENCE_S, use_ssh_client=url.startswith("ssh://"), tls=tls)
        try:
            nodes, services = client.api.nodes(), client.api.services()
            tasks = client.api.tasks(filters={"desired-state": "running"})
        finally:
            client.close()
    except (DockerException, RequestException, OSError) as error:
        raise SwarmUnreachable(f"{plain(url, 200)}: {plain(str(error), 300)}") from None
    return _swarm(nodes, services, tasks)


def _tls(folder: Path) -> Any:
    """The server must prove itself by ca.pem and for its name, and we ourselves by cert.pem with key.pem.

    https://docs.docker.com/engine/security/protect-access/
    """
    from docker.tls import TLSConfig

    ca, cert, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    if lacking := [each.name for each in (ca, cert, key) if not each.is_file()]:
        raise SwarmUnreachable(f"{plain(str(folder), 200)} lacks {', '.join(lacking)}")
    if key.stat().st_mode & 0o077:
        path = plain(str(key), 200)
        raise SwarmUnreachable(f"{path} may be read or written by others: chmod 600 {path}")
    config = TLSConfig(client_cert=(str(cert), str(key)), ca_cert=str(ca), verify=True)

    def configure(client: Any) -> None:
        """Trust that authority alone: REQUESTS_CA_BUNDLE would take its place, and a proxy stand between."""
        TLSConfig.configure_client(config, client)
        client.trust_env = False

    config.configure_client = configure
    return config


def _swarm(nodes: Sequence[Any], services: Sequence[Any], tasks: Sequence[Any]) -> Swarm:
    """The engine's JSON as our own types (https://docs.docker.com/reference/api/engine/)."""
    names = {each["ID"]: str(each["Spec"]["Name"]) for each in services}
    runs: dict[str, dict[str, None]] = {}
    for task in tasks:
        runs.setdefault(task.get("NodeID", ""), {})[names.get(task.get("ServiceID"), "a service")] = None
    return Swarm(
        tuple(_node(each, tuple(runs.get(each["ID"], ()))) for each in nodes),
        {
            str(each["Spec"]["Name"]): tuple(constraints)
            for each in services
            if (constraints := each["Spec"].get("TaskTemplate", {}).get("Placement", {}).get("Constraints"))
        },
    )


def _node(raw: Any, runs: tuple[str, ...]) -> Node:
    spec, description = raw["Spec"], raw.get("Description", {})
    resources = description.get("Resources", {})
    return Node(
        str(raw["ID"]),
        str(description.get("Hostname", "")),
        str(spec.get("Role", "")),
        raw.get("Status", {}).get("State") == "ready",
        str(spec.get("Availability", "")),
        resources.get("NanoCPUs", 0) / 1e9,
        resources.get("MemoryBytes", 0) / 1e9,
        {str(key): str(value) for key, value in (spec.get("Labels") or {}).items()},
        runs,
    )
