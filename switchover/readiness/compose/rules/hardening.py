"""What a program that was broken into can do next: its user, its files, its capabilities, the Docker socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Rule, each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Service

_STRONG = frozenset(
    {"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "NET_ADMIN", "DAC_READ_SEARCH", "SYS_BOOT", "BPF"}
)


def _user(service: Service) -> Iterator[Hit]:
    user = service.text("user")
    if user is None and service.database is None:
        yield (), "no user: the one of the image, which is root in most"
    elif user and user.partition(":")[0] in ("0", "root"):
        yield ("user",), "runs as root"


def _writable(service: Service) -> Iterator[Hit]:
    if not service.is_true("read_only"):
        yield ("read_only",), "its own files can be written"


def _no_tmpfs(service: Service) -> Iterator[Hit]:
    is_kept = service.get("tmpfs") is not None or any(not mount.read_only for mount in service.mounts)
    if service.is_true("read_only") and not is_kept:
        yield ("read_only",), "read-only, and no place to write to, not even /tmp"


def _capabilities(service: Service) -> Iterator[Hit]:
    dropped = {(node.text() or "").upper() for node in service.items("cap_drop")}
    if "ALL" not in dropped:
        yield ("cap_drop",), "keeps Docker's capabilities"


def _strong(service: Service) -> Iterator[Hit]:
    for number, node in enumerate(service.items("cap_add")):
        name = (node.text() or "").upper().removeprefix("CAP_")
        if name in _STRONG:
            yield ("cap_add", number), f"{name} is nearly as good as root on the host"


def _privileged(service: Service) -> Iterator[Hit]:
    if service.is_true("privileged"):
        yield ("privileged",), "privileged: the container is the host"


def _new_privileges(service: Service) -> Iterator[Hit]:
    options = [node.text() or "" for node in service.items("security_opt")]
    if not any(option.replace("=", ":") in ("no-new-privileges", "no-new-privileges:true") for option in options):
        yield ("security_opt",), "a setuid program inside may become root"


def _namespaces(service: Service) -> Iterator[Hit]:
    for key in ("network_mode", "pid", "ipc", "userns_mode", "uts", "cgroup"):
        if service.text(key) == "host":
            yield (key,), f"{key}: host, not parted from the host"


def _socket(service: Service) -> Iterator[Hit]:
    for number, mount in enumerate(service.mounts):
        if mount.is_docker:
            only = ", read-only, which does not bound what it may ask Docker" if mount.read_only else ""
            yield ("volumes", number), f"it has Docker's socket{only}"


RULES = (
    Rule(
        "user-root",
        "warn",
        "warn",
        "004-10",
        "Root in the container is root on the host once it gets out.",
        "user: '1001:1001', and the files it needs belonging to it",
        each(_user),
    ),
    Rule(
        "filesystem-writable",
        "warn",
        "warn",
        "004-11",
        "Whoever breaks in can leave programs behind; and what the service writes there is gone at the next update.",
        "read_only: true, with tmpfs: [/tmp]",
        each(_writable),
    ),
    Rule(
        "read-only-without-tmpfs",
        "info",
        "info",
        "004-11",
        "Most programs need a place for temporary files and stop without one.",
        "tmpfs: [/tmp]",
        each(_no_tmpfs),
    ),
    Rule(
        "capabilities-kept",
        "info",
        "info",
        "004-14",
        "A web application needs none of them.",
        "cap_drop: [ALL], and cap_add for what it does need",
        each(_capabilities),
    ),
    Rule(
        "capability-strong",
        "error",
        "error",
        "004-14",
        "With it a break-in reaches every other container and the data of all.",
        "Take it out; ask what it is needed for.",
        each(_strong),
    ),
    Rule(
        "privileged",
        None,
        "error",
        "004-14",
        "A break-in reaches every other container and the data of all.",
        "Take it out; cap_add for the one thing that is needed.",
        each(_privileged),
    ),
    Rule(
        "new-privileges",
        None,
        "info",
        "004-14",
        "It closes the usual way from an ordinary user to root.",
        "security_opt: [no-new-privileges:true]",
        each(_new_privileges),
    ),
    Rule(
        "host-namespace",
        None,
        "error",
        "004-13",
        "It sees the other programs of the host, or is seen by all of them, and is parted from nobody.",
        "Take it out; publish the port that is needed.",
        each(_namespaces),
    ),
    Rule(
        "docker-socket",
        "error",
        "error",
        "004-14, 000-08",
        "Whoever breaks into this service commands Docker, and so the node; on a manager the whole swarm.",
        "A socket proxy that answers only what is needed (GET of containers, services, tasks) on an internal network.",
        each(_socket),
    ),
)
