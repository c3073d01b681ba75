"""What a plan says of the new host as a place for production: readiness, topology, and what is deployed there."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from switchover.plan.values import Address, Duration, ItemId, Reason, Table, key_path

BUILT_IN = "production"
"""The pack of checklist items that comes with the program."""


def _docker(text: str) -> str:
    parts = urlsplit(text)
    needs = {"unix": parts.path, "ssh": parts.hostname, "tcp": parts.hostname and parts.port}
    if parts.password or not needs.get(parts.scheme):
        raise ValueError('"unix:///var/run/docker.sock", "ssh://user@host" or "tcp://host:2376"; no password')
    return text


def _pack_name(text: str) -> str:
    if text == BUILT_IN or (text.endswith(".toml") and not text.startswith("/") and ".." not in text.split("/")):
        return text
    raise ValueError(f'"{BUILT_IN}", or a .toml file in the plan\'s folder or below it')


class WaiverSpec(Table):
    """A required item that is not there, and why that is accepted."""

    reason: Reason
    until: date | None = Field(None, description="the last day on which it is accepted")
    owner: str | None = Field(None, description="who accepts it")


class ReadinessSpec(Table):
    """What is asked of production before anyone is sent there."""

    availability: float = Field(gt=0, lt=100, description="percent of a year in which users have service, such as 99.9")
    recovery_time: Duration | None = Field(
        None, description="how long a recovery may take (RTO); the rehearsal's copy is held against it"
    )
    packs: Annotated[tuple[Annotated[str, AfterValidator(_pack_name)], ...], Field(strict=False)] = Field(
        (BUILT_IN,), description=f'files with more [[checklist]] items; "{BUILT_IN}" is the built-in one'
    )
    required: Annotated[tuple[ItemId, ...], Field(strict=False)] = Field(
        (), description="recommended items that are required here"
    )
    owners: dict[ItemId, str] = Field({}, description="who has to see to an item")
    not_applicable: dict[ItemId, Reason] = Field({}, description="items that make no sense here, each with the reason")
    waived: dict[ItemId, WaiverSpec] = Field({}, description="items that are missing, and accepted as missing")


class NodeSpec(Table):
    """One node of the new host's cluster, as it was ordered."""

    name: str
    role: Literal["manager", "worker"]
    cpu: float = Field(gt=0, description="virtual CPUs")
    memory_gb: float = Field(gt=0)
    address: Address | None = Field(None, description="where users reach it; the manager's takes the traffic in")
    runs: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="services that are pinned to this node, or may be placed on it"
    )


class DatabaseSizeSpec(Table):
    """The new database server, as it was ordered."""

    cpu: float = Field(gt=0, description="virtual CPUs")
    memory_gb: float = Field(gt=0)
    tier: str | None = Field(None, description='such as "general purpose" or "burstable"')


class TopologySpec(Table):
    """What the new host consists of."""

    nodes: Annotated[tuple[NodeSpec, ...], Field(min_length=1, strict=False)]
    database: DatabaseSizeSpec | None = None
    on_managers: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        ("traefik",), description="services that belong on managers: the load balancer"
    )
    docker: Annotated[str, AfterValidator(_docker)] | None = Field(
        None,
        description="a manager's Docker endpoint: unix://, ssh:// or tcp://; only looked at, to prove what is declared",
    )
    docker_certificates: Annotated[str, AfterValidator(key_path)] | None = Field(
        None, description="for tcp://: folder with ca.pem, cert.pem and key.pem (0600), relative to the plan"
    )

    @model_validator(mode="after")
    def _named_once(self) -> TopologySpec:
        if len({node.name for node in self.nodes}) != len(self.nodes):
            raise ValueError("two nodes have the same name")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> TopologySpec:
        over_tcp = (self.docker or "").startswith("tcp://")
        if over_tcp and self.docker_certificates is None:
            raise ValueError(
                "docker over tcp:// needs docker_certificates, the folder with ca.pem, cert.pem and key.pem: "
                "without them anybody may ask it, and anybody may answer"
            )
        if self.docker_certificates is not None and not over_tcp:
            raise ValueError("docker_certificates are for docker over tcp:// alone")
        return self


class ServiceSpec(Table):
    """What no Compose file says of a service."""

    startup: Duration | None = Field(
        None, description="from a container's start to its first answer; health checks and updates have to fit"
    )
    stateless: bool | None = Field(None, description="whether two versions of it may run side by side")

    @model_validator(mode="after")
    def _simulable(self) -> ServiceSpec:
        if self.startup is not None and not timedelta(seconds=1) <= self.startup <= timedelta(days=1):
            raise ValueError("startup must be 1s to 24h")
        return self


class SuppressSpec(Table):
    """A finding in the Compose files that is fine as it is."""

    rule: ItemId = Field(description="the rule's id, as `switchover lint` says it")
    service: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the one service it is said of; default: every service, and the file as a whole"
    )
    reason: Reason
    until: date | None = Field(None, description="the last day on which it is accepted")

    @property
    def names(self) -> str:
        return f"{self.rule} of {self.service}" if self.service is not None else self.rule


class ComposeSpec(Table):
    """The files that the new host is deployed from."""

    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, strict=False)] = Field(
        description="relative to the plan; several are merged, as Compose does it"
    )
    dialect: Literal["stack", "compose"] = Field(description="docker stack deploy, or docker compose up")
    env_file: str | None = Field(
        None, description="variables, relative to the plan; default: .env beside the first file, which a stack ignores"
    )
    services: dict[str, ServiceSpec] = Field({}, description="what no file says, by service")
    suppress: Annotated[tuple[SuppressSpec, ...], Field(strict=False)] = Field(
        (), description="findings that are fine as they are; repeated in the report"
    )
