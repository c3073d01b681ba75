"""What one of the two deployers does not know: refused, or there and without effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Found, Rule, each
from switchover.readiness.compose.stack import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.node import Path
    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service

STACK_IGNORES: dict[Path, str] = {
    ("build",): "a stack builds nothing; push the image",
    ("container_name",): "a swarm names its containers itself",
    ("depends_on",): "a swarm starts everything at once; the service has to wait and try again by itself",
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
    if service.dialect == "compose":
        return
    if service.get("restart") is not None and service.get("deploy", "restart_policy") is not None:
        yield ("restart",), "restart has no effect beside deploy.restart_policy"
    for number, port in enumerate(service.ports):
        if port.ip and service.node.get("ports", number, "host_ip") is None:
            yield ("ports", number), f"the address {port.ip} has no effect here: a stack publishes on every node"


def _refused(project: Project) -> Iterator[Found]:
    """What Compose's schema refuses too is said by that rule."""
    for document in project.loaded.documents:
        known = {path for path, _ in project.problems(document)}
        for path, says in refused(document):
            if path not in known:
                service = str(path[1]) if path[:1] == ("services",) and len(path) > 1 else ""
                yield Found(service, path, says, document.mark(*path))


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
        "",
        "docker stack deploy refuses the whole file.",
        "What the finding says; docker compose config writes extends and includes out.",
        _refused,
    ),
    Rule(
        "version",
        "error",
        "info",
        "",
        "For a stack it decides what is understood; Compose warns of it at every call.",
        "stack: version: '3.8'; Compose: no version",
        _version,
    ),
)
