"""A project and its services as the rules see them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from switchover.readiness.compose.databases import NAMES, Database, database_of
from switchover.readiness.compose.schema import problems
from switchover.readiness.compose.values import Image, Mount, Port, number, seconds
from switchover.readiness.constraint import Constraint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.readiness.compose.load import Loaded
    from switchover.readiness.compose.node import Node, Path, Step
    from switchover.readiness.compose.schema import Problem

Dialect: TypeAlias = Literal["stack", "compose"]

_BALANCERS = frozenset({"traefik", "nginx-proxy", "haproxy", "caddy-docker-proxy", "docker-flow-proxy"})


class Check(NamedTuple):
    """A container's health check, with Docker's defaults where the file says nothing."""

    interval: float
    timeout: float
    retries: float
    start_period: float


@dataclass(frozen=True)
class Service:
    """One service, with everything it extends and every file merged."""

    name: str
    node: Node
    dialect: Dialect
    startup_s: float | None = None
    """How long it takes to start, where the plan says so."""
    is_awaited: bool = False
    """Another service waits until it has completed: it is a job."""
    shared: frozenset[str] = frozenset()
    """The project's volumes that every node has."""

    @cached_property
    def _at(self) -> Mapping[Path, Node]:
        """All its tables at once: the rules ask for the same places again and again."""
        found: dict[Path, Node] = {(): self.node}
        waiting: list[tuple[Path, Node]] = [((), self.node)]
        for path, table in waiting:
            for key, node in table.value.items():
                inner = (*path, key)
                found[inner] = node
                if type(node.value) is dict:
                    waiting.append((inner, node))
        return found

    def get(self, *path: Step) -> Node | None:
        """What stands at this path of tables."""
        return self._at.get(path)

    def text(self, *path: Step) -> str | None:
        """The scalar at this path, as text."""
        node = self._at.get(path)
        return node.text() if node is not None else None

    def table(self, *path: Step) -> dict[str, Node]:
        """The table at this path; an empty one where there is none."""
        node = self._at.get(path)
        return node.value if node is not None and type(node.value) is dict else {}

    def items(self, *path: Step) -> list[Node]:
        """The list at this path; a scalar counts as a list of one."""
        node = self._at.get(path)
        return node.items() if node is not None else []

    def is_true(self, *path: Step) -> bool:
        """Whether it is switched on."""
        node = self._at.get(path)
        return node is not None and node.is_true()

    def seconds(self, path: Path, default: float) -> float:
        """A duration; nothing, 0 and what is none give the default, as in the engine."""
        return seconds(self.text(*path)) or default

    def number(self, path: Path, default: float) -> float:
        """A number, or the default."""
        value = number(self.text(*path))
        return default if value is None else value

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """Published or not, in the file's order."""
        return tuple(Port.parse(node) for node in self.items("ports"))

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """In the file's order."""
        return tuple(Mount.parse(node) for node in self.items("volumes"))

    @cached_property
    def image(self) -> Image | None:
        """Its image's name, where it has one."""
        text = self.text("image")
        return Image.parse(text) if text else None

    @cached_property
    def database(self) -> Database | None:
        """The database that it is; None when it is none we know."""
        return database_of(self.image) if self.image else None

    @cached_property
    def is_stateful(self) -> bool:
        """A database, or a service that writes to a volume of its own."""
        return (
            self.database is not None
            or re.split(r"[-_.]", self.name.lower())[-1] in NAMES
            or any(self.is_own(mount) for mount in self.mounts)
        )

    def is_own(self, mount: Mount) -> bool:
        """Whether it is a volume of one node that the service writes to."""
        return mount.kind == "volume" and bool(mount.source) and not mount.read_only and mount.source not in self.shared

    @cached_property
    def is_job(self) -> bool:
        """Runs to its end and is done, so that nothing has to keep it up."""
        return (
            self.is_awaited
            or (self.text("deploy", "mode") or "").endswith("-job")
            or self.text("deploy", "restart_policy", "condition") == "none"
            or (
                self.dialect == "compose" and self.text("restart") in ("no", "false")
            )  # a stack restarts it all the same
        )

    @cached_property
    def is_global(self) -> bool:
        """One on every node."""
        return self.text("deploy", "mode") == "global"

    @cached_property
    def is_balancer(self) -> bool:
        """The load balancer itself."""
        return self.image is not None and self.image.program in _BALANCERS

    @cached_property
    def speaks_to_docker(self) -> bool:
        """It has Docker's socket."""
        return any(mount.is_docker for mount in self.mounts)

    @cached_property
    def constraints(self) -> tuple[Constraint, ...]:
        """Those of its placement that can be read."""
        found = [Constraint.parse(node.text() or "") for node in self.items("deploy", "placement", "constraints")]
        return tuple(each for each in found if each)

    @cached_property
    def is_on_managers(self) -> bool:
        """Told to run on managers, as what speaks to Docker must."""
        return any(constraint.is_for_managers for constraint in self.constraints)

    @cached_property
    def replicas(self) -> int:
        """How many; a job and a global service count as one."""
        return int(self.number(("deploy", "replicas"), self.number(("scale",), 1)))

    @cached_property
    def check(self) -> Check | None:
        """The container's health check in numbers; None where there is none."""
        node = self.get("healthcheck")
        if node is None or node.is_true("disable") or (node.items("test") or [node])[0].text() == "NONE":
            return None
        return Check(
            self.seconds(("healthcheck", "interval"), 30),
            self.seconds(("healthcheck", "timeout"), 30),
            self.number(("healthcheck", "retries"), 3) or 3,
            self.seconds(("healthcheck", "start_period"), 0),
        )

    @cached_property
    def labels_at(self) -> Path:
        """Where the load balancer reads labels: a swarm's under ``deploy``, the container's otherwise."""
        return ("deploy", "labels") if self.dialect == "stack" else ("labels",)

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """The networks that it joins."""
        if self.get("network_mode") is not None and self.dialect == "compose":
            return ()
        return tuple(self.table("networks")) or ("default",)


@dataclass(frozen=True)
class Project:
    """Everything the rules look at."""

    loaded: Loaded
    dialect: Dialect
    services: tuple[Service, ...]
    inactive: tuple[str, ...] = ()
    """Services that no active profile asks for."""

    @property
    def tree(self) -> Node:
        """All files merged."""
        return self.loaded.tree

    @cached_property
    def by_name(self) -> Mapping[str, Service]:
        """The services by name."""
        return {service.name: service for service in self.services}

    @cached_property
    def _problems(self) -> Mapping[Node, tuple[Problem, ...]]:
        return {document: tuple(problems(document)) for document in self.loaded.documents}

    def problems(self, document: Node) -> tuple[Problem, ...]:
        """What Compose's schema says of one of the documents."""
        return self._problems[document]


def project_of(loaded: Loaded, dialect: Dialect, startup: Mapping[str, float]) -> Project:
    """The project that was read; services behind an inactive profile are left out, as Compose does."""
    tree = loaded.tree
    profiles = {name.strip() for name in loaded.variables.values.get("COMPOSE_PROFILES", "").split(",")}
    tables = {name: node for name, node in tree.table("services").items() if isinstance(node.value, dict)}
    active = {
        name: node
        for name, node in tables.items()
        if not node.items("profiles") or "*" in profiles or profiles & {each.text() for each in node.items("profiles")}
    }
    awaited = {
        name
        for node in active.values()
        for name, how in node.table("depends_on").items()
        if how.text("condition") == "service_completed_successfully"
    }
    shared = frozenset(
        name
        for name, volume in tree.table("volumes").items()
        if volume.text("driver") not in (None, "local") or volume.table("driver_opts")
    )
    services = tuple(
        Service(name, node, dialect, startup.get(name, startup.get("")), name in awaited, shared)
        for name, node in active.items()
    )
    inactive = tuple(sorted(set(tables) - set(active)))
    return Project(loaded, dialect, services, inactive)


_OF_A_SWARM = ("update_config", "rollback_config", "placement", "endpoint_mode", "mode", "labels", "restart_policy")


def guessed(tree: Node) -> tuple[Dialect, str]:
    """Which of the two the file was written for, and what says so."""
    name = PurePath(tree.at.file).name
    if "stack" in name or "swarm" in name:
        return "stack", f"the name {name}"
    for service, node in tree.table("services").items():
        found = next((key for key in _OF_A_SWARM if node.get("deploy", key) is not None), None)
        if found is not None:
            return "stack", f"{service} has deploy.{found}"
    for network, node in tree.table("networks").items():
        if node.text("driver") == "overlay":
            return "stack", f"the network {network} is an overlay"
    return "compose", "nothing in it is for a swarm alone"
