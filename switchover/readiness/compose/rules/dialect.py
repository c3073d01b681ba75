"""What one of the two deployers does not know: refused, or there and without effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Found, Rule, each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.node import Node, Path
    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service

_NO_STACK = frozenset(
    {
        "annotations",
        "attach",
        "blkio_config",
        "cgroup",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpus",
        "cpuset",
        "develop",
        "device_cgroup_rules",
        "dns_opt",
        "extends",
        "gpus",
        "label_file",
        "mem_limit",
        "mem_reservation",
        "mem_swappiness",
        "memswap_limit",
        "models",
        "oom_kill_disable",
        "pids_limit",
        "platform",
        "post_start",
        "pre_start",
        "pre_stop",
        "profiles",
        "provider",
        "pull_policy",
        "pull_refresh_after",
        "runtime",
        "scale",
        "storage_opt",
        "umask",
        "use_api_socket",
        "uts",
        "volumes_from",
    }
)
"""The keys of Compose that docker/cli's config_schema_v3.13.json does not know: the whole file is refused."""

_INSTEAD = {
    "extends": "write the settings out, or merge with docker compose config",
    "mem_limit": "deploy.resources.limits.memory",
    "memswap_limit": "deploy.resources.limits.memory",
    "mem_reservation": "deploy.resources.reservations.memory",
    "cpus": "deploy.resources.limits.cpus",
    "cpu_quota": "deploy.resources.limits.cpus",
    "cpu_shares": "deploy.resources.limits.cpus",
    "cpuset": "deploy.resources.limits.cpus",
    "pids_limit": "deploy.resources.limits.pids",
    "scale": "deploy.replicas",
    "volumes_from": "a named volume in both services",
    "gpus": "deploy.resources.reservations.generic_resources",
}

STACK_IGNORES: dict[Path, str] = {
    ("build",): "a stack builds nothing; push the image",
    ("container_name",): "a swarm names its containers itself",
    ("depends_on",): "a swarm starts everything at once; the service has to wait and try again by itself",
    ("restart",): "deploy.restart_policy",
    ("network_mode",): "networks",
    ("privileged",): "cap_add, for the one thing that is needed",
    ("security_opt",): "set it in the daemon's configuration",
    ("devices",): "generic resources of the node",
    ("shm_size",): "a tmpfs mount at /dev/shm",
    ("cgroup_parent",): "",
    ("cgroupns_mode",): "",
    ("domainname",): "hostname",
    ("external_links",): "networks",
    ("links",): "networks; services find one another by name",
    ("expose",): "services on one network reach every port",
    ("ipc",): "",
    ("mac_address",): "",
    ("pid",): "",
    ("userns_mode",): "set it in the daemon's configuration",
}
"""What docker/cli's UnsupportedProperties and DeprecatedProperties name, and what a swarm never sees."""

COMPOSE_IGNORES: dict[Path, str] = {
    ("deploy", "placement"): "there is one node",
    ("deploy", "update_config"): "Compose replaces every container at once",
    ("deploy", "rollback_config"): "Compose does not roll back",
    ("deploy", "endpoint_mode"): "",
    ("deploy", "labels"): "labels, for the container's",
    ("credential_spec", "config"): "",
}


def _without_effect(service: Service) -> Iterator[Hit]:
    ignored = STACK_IGNORES if service.dialect == "stack" else COMPOSE_IGNORES
    for path, instead in ignored.items():
        if service.get(*path) is not None:
            yield path, f"{'.'.join(map(str, path))} has no effect here" + (f": {instead}" if instead else "")
    for number, port in enumerate(service.ports):
        if service.dialect == "stack" and port.ip:
            yield ("ports", number), f"the address {port.ip} has no effect here: a stack publishes on every node"


def _refused(project: Project) -> Iterator[Found]:
    for document in project.loaded.documents:
        for key in document.value:
            if key in ("name", "include", "models", "jobs"):
                yield Found("", (key,), f"{key} is no key of a stack file", document.mark(key))
        for name, service in document.table("services").items():
            for path, said in (*_refused_keys(service), *_refused_shapes(service)):
                yield Found(name, ("services", name, *path), said, service.mark(*path))


def _refused_keys(service: Node) -> Iterator[Hit]:
    for key in service.table():
        if key in _NO_STACK:
            instead = f"; instead: {_INSTEAD[key]}" if key in _INSTEAD else ""
            yield (key,), f"{key} is no key of a service in a stack file{instead}"


def _refused_shapes(service: Node) -> Iterator[Hit]:
    """Shapes that Compose takes and the stack's schema does not."""
    if service.table("depends_on"):
        yield ("depends_on",), "depends_on is a list in a stack file; conditions are not known"
    for number, node in enumerate(service.items("ports")):
        published = node.get("published")
        if published is not None and isinstance(published.value, str) and not published.source:
            yield ("ports", number, "published"), "published is a number in a stack file, without quotes"
    for where in ("limits", "reservations"):
        path = ("deploy", "resources", where, "cpus")
        cpus = service.get(*path)
        if cpus is not None and not isinstance(cpus.value, str):
            yield path, f"cpus is text in a stack file: '{cpus.text()}'"


def _version(project: Project) -> Iterator[Found]:
    for document in project.loaded.documents:
        version = document.get("version")
        if version is None:
            continue
        if project.dialect == "compose":
            yield Found("", ("version",), "version has no effect: Compose takes no notice of it", version.at)
        elif not (version.text() or "").startswith("3"):
            yield Found("", ("version",), f"a stack file of version {version.text()} is refused", version.at)


RULES = (
    Rule(
        "no-effect",
        "warn",
        "warn",
        "000-10, 004-01",
        "Somebody relies on a setting that does nothing.",
        "Take it out, or write what has the effect.",
        each(_without_effect),
    ),
    Rule(
        "stack-refuses",
        "error",
        None,
        "004-14",
        "docker stack deploy refuses the whole file.",
        "What the finding says; docker compose config writes extends and includes out.",
        _refused,
    ),
    Rule(
        "version",
        "error",
        "info",
        "004-14",
        "For a stack it decides what is understood; Compose warns of it at every call.",
        "stack: version: '3.8'; Compose: no version",
        _version,
    ),
)
