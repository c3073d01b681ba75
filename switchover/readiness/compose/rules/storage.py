"""Where data lies, and whether what is named exists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Found, Rule, each
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Project, Service
    from switchover.readiness.compose.values import Mount

_OF_THE_HOST = ("/var/run/", "/run/", "/proc", "/sys", "/dev/", "/etc/localtime", "/etc/timezone", "/lib/modules")
"""What is of the machine and not of the project: an agent's business, not data."""


_OFFICIAL = ("postgres", "library/postgres")


def _is_of_the_host(mount: Mount) -> bool:
    return mount.source == "/" or mount.source.startswith(_OF_THE_HOST) or mount.is_docker


def _bind(service: Service) -> Iterator[Hit]:
    for number, mount in enumerate(service.mounts):
        if mount.kind == "bind" and not _is_of_the_host(mount):
            yield ("volumes", number), f"a bind mount of {mount.source or 'a folder'}"


def _bind_in_disguise(project: Project) -> Iterator[Found]:
    for name, volume in project.tree.table("volumes").items():
        options = volume.get("driver_opts")
        if options is not None and "bind" in (options.text("o") or "").split(","):
            yield Found("", ("volumes", name, "driver_opts", "o"), f"the volume {name} is a bind mount of the host")


def _unpersisted(service: Service) -> Iterator[Hit]:
    database = service.database
    if database is None or (database.is_cache and not service.mounts):
        return
    named = _folders(service) if database.program == "minio" else ()
    for data_at in named or (database.data_at,):
        if not any(_covers(mount.target, data_at) for mount in service.mounts):
            yield ("volumes",), f"a database whose data, at {plain(data_at, 100)}, is on no volume"
            return


def _folders(service: Service) -> tuple[str, ...]:
    """What the command of an object store names: it keeps data where its caller says."""
    words = " ".join(node.text() or "" for node in service.items("command")).replace('"', " ").split()
    paths = (f"/{word.split('://', 1)[1].partition('/')[2]}" if "://" in word else word for word in words)
    return tuple(path for path in paths if path.startswith("/") and path != "/" and "{" not in path)


def _moved(service: Service) -> Iterator[Hit]:
    version = re.match(r"\d+", service.image.tag) if service.image and service.image.name in _OFFICIAL else None
    if version is None or int(version[0]) < 18 or service.get("environment", "PGDATA") is not None:
        return
    for number, mount in enumerate(service.mounts):
        if mount.target.rstrip("/") == "/var/lib/postgresql/data":
            yield (
                ("volumes", number),
                f"PostgreSQL {version[0]} keeps its data beside this volume",
            )


def _covers(target: str, kept: str) -> bool:
    target = target.rstrip("/") or "/"
    return kept.startswith(target) or target.startswith(kept)


def _anonymous(service: Service) -> Iterator[Hit]:
    for number, mount in enumerate(service.mounts):
        is_variable = bool(service.items("volumes")[number].source)
        if mount.kind == "volume" and not mount.source and mount.target and not is_variable:
            yield ("volumes", number), f"{mount.target} is on a volume without a name"


def _shared(service: Service) -> Iterator[Hit]:
    if service.replicas < 2 or service.database is None:
        return
    for number, mount in enumerate(service.mounts):
        if _covers(mount.target, service.database.data_at):
            yield ("volumes", number), f"{service.replicas} replicas of a database on one volume"


def _undefined(project: Project) -> Iterator[Found]:
    for service in project.services:
        at = ("services", service.name)
        for number, mount in enumerate(service.mounts):
            if mount.kind == "volume" and mount.source and mount.source not in project.tree.table("volumes"):
                yield Found(service.name, (*at, "volumes", number), f"the volume {mount.source} is not defined")
        for name in service.table("networks"):
            if name != "default" and name not in project.tree.table("networks"):
                yield Found(service.name, (*at, "networks", name), f"the network {name} is not defined")
        for kind in ("secrets", "configs"):
            for number, node in enumerate(service.items(kind)):
                named = node.text("source") if isinstance(node.value, dict) else node.text()
                if named and named not in project.tree.table(kind):
                    yield Found(service.name, (*at, kind, number), f"the {kind[:-1]} {named} is not defined")
        for name, how in service.table("depends_on").items():
            known = name in project.by_name or name in project.inactive or how.text("required") == "false"
            if not known:
                yield Found(service.name, (*at, "depends_on", name), f"there is no service {name}")


RULES = (
    Rule(
        "bind-mount",
        "error",
        "warn",
        "000-17",
        "A folder of the host is there on one machine and not on the next: in production the service starts without "
        "its files, or not at all.",
        "A named volume for data, configs for files, the image for code.",
        each(_bind),
    ),
    Rule(
        "bind-mount-disguised",
        "error",
        "warn",
        "000-17",
        "By another name it is a bind mount all the same.",
        "A volume without driver_opts, or a driver for shared storage.",
        _bind_in_disguise,
    ),
    Rule(
        "data-unpersisted",
        "error",
        "error",
        "004-15",
        "The data is gone with the container, at the next update at the latest.",
        "volumes: [data:/var/lib/postgresql/data], and data under the top-level volumes",
        each(_unpersisted),
    ),
    Rule(
        "data-moved",
        "error",
        "error",
        "004-15",
        "From version 18 on the image's data folder is /var/lib/postgresql/18/docker: the volume at the old place is "
        "left empty, and the container does not start or its data goes with it.",
        "volumes: [data:/var/lib/postgresql]; a PGDATA of your own settles it too",
        each(_moved),
    ),
    Rule(
        "volume-anonymous",
        "warn",
        "warn",
        "004-15",
        "The next container gets a new, empty one, and the old one is never found again.",
        "Give the volume a name.",
        each(_anonymous),
    ),
    Rule(
        "volume-shared",
        "error",
        "error",
        "004-15, 004-03",
        "Two database servers on the same files damage them.",
        "replicas: 1, and replication of the database's own",
        each(_shared),
    ),
    Rule(
        "undefined",
        "error",
        "error",
        "004-12, 004-15",
        "Docker refuses the whole file.",
        "Define it at the top level, or correct its name.",
        _undefined,
    ),
)
