"""What ``docker stack deploy`` takes, where it is stricter than Compose: fewer keys, and values of one type.

Source: docker/cli, ``cli/compose/schema`` (3.13) and ``loader``; a value out of a variable is turned into the type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from switchover.readiness.compose.node import Node, Path

    Problem = tuple[Path, str]


@dataclass(frozen=True, slots=True)
class _Scalar:
    wanted: str
    types: tuple[type, ...]
    form: str = ".*"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What may stand in one place; a shape without anything is not looked at."""

    scalar: _Scalar | None = None
    keys: Mapping[str, _Shape] = field(default_factory=dict)
    """The keys of a table; no others are known, unless ``values`` says what they hold."""
    values: _Shape | None = None
    items: _Shape | None = None


_ANY = _Shape()
_TEXT = _Shape(_Scalar("text", (str,)))
_TIME = _Shape(_Scalar("a duration in hours, minutes and seconds", (str,), r"0|(?:[\d.]+(?:ns|us|µs|ms|s|m|h))+"))
_WHOLE = _Shape(_Scalar("a whole number", (int,)))
_NUMBER = _Shape(_Scalar("a number", (int, float)))
_SWITCH = _Shape(_Scalar("true or false", (bool,)))
_TEXTS = _Shape(items=_TEXT)
_TEXT_OR_TEXTS = _Shape(_TEXT.scalar, items=_TEXT)
_PAIRS = _Shape(values=_Shape(_Scalar("text or a number", (str, int, float))), items=_TEXT)


def _table(**keys: _Shape) -> _Shape:
    return _Shape(keys=keys)


def _texts(*names: str) -> dict[str, _Shape]:
    return dict.fromkeys(names, _TEXT)


_MOUNTED = _Shape(
    _TEXT.scalar, keys={"source": _TEXT, "target": _TEXT, "uid": _TEXT, "gid": _TEXT, "mode": _NUMBER}, values=_ANY
)
_UPDATE = _table(
    parallelism=_WHOLE, delay=_TIME, failure_action=_TEXT, monitor=_TIME, max_failure_ratio=_NUMBER, order=_TEXT
)
_DEPLOY = _table(
    mode=_TEXT,
    endpoint_mode=_TEXT,
    replicas=_WHOLE,
    labels=_PAIRS,
    update_config=_UPDATE,
    rollback_config=_UPDATE,
    resources=_table(
        limits=_table(cpus=_TEXT, memory=_TEXT, pids=_WHOLE),
        reservations=_table(cpus=_TEXT, memory=_TEXT, generic_resources=_ANY),
    ),
    restart_policy=_table(condition=_TEXT, delay=_TIME, max_attempts=_WHOLE, window=_TIME),
    placement=_table(constraints=_TEXTS, preferences=_Shape(items=_table(spread=_TEXT)), max_replicas_per_node=_WHOLE),
)
_SERVICE = _table(
    **dict.fromkeys(("build", "credential_spec", "group_add", "ulimits"), _ANY),
    **dict.fromkeys(("privileged", "read_only", "init", "stdin_open", "tty"), _SWITCH),
    **dict.fromkeys(
        ("cap_add", "cap_drop", "depends_on", "devices", "external_links", "links", "security_opt"), _TEXTS
    ),
    **dict.fromkeys(("command", "dns", "dns_search", "entrypoint", "env_file", "tmpfs"), _TEXT_OR_TEXTS),
    **dict.fromkeys(("environment", "extra_hosts", "labels", "sysctls"), _PAIRS),
    **_texts("cgroup_parent", "cgroupns_mode", "container_name", "domainname", "hostname", "image", "ipc", "isolation"),
    **_texts("mac_address", "network_mode", "pid", "restart", "stop_signal", "user", "userns_mode", "working_dir"),
    configs=_Shape(items=_MOUNTED),
    secrets=_Shape(items=_MOUNTED),
    deploy=_DEPLOY,
    expose=_Shape(items=_ANY),
    healthcheck=_table(
        disable=_SWITCH,
        retries=_NUMBER,
        test=_TEXT_OR_TEXTS,
        **dict.fromkeys(("interval", "timeout", "start_period", "start_interval"), _TIME),
    ),
    logging=_table(driver=_TEXT, options=_Shape(values=_Shape(_Scalar("text or a number", (str, int, float))))),
    networks=_Shape(
        items=_TEXT, values=_table(aliases=_TEXTS, driver_opts=_ANY, ipv4_address=_TEXT, ipv6_address=_TEXT)
    ),
    oom_score_adj=_WHOLE,
    ports=_Shape(items=_table(mode=_TEXT, target=_WHOLE, published=_WHOLE, protocol=_TEXT)),
    shm_size=_ANY,
    stop_grace_period=_TIME,
    volumes=_Shape(
        items=_table(
            **_texts("type", "source", "target", "consistency"),
            **dict.fromkeys(("bind", "volume", "tmpfs", "cluster"), _ANY),
            read_only=_SWITCH,
        )
    ),
)
_NAMED = {"name": _TEXT, "external": _ANY, "labels": _PAIRS}
_KEPT = {**_NAMED, "driver": _TEXT, "driver_opts": _ANY}
_FILE = _table(
    version=_TEXT,
    services=_Shape(values=_SERVICE),
    networks=_Shape(
        values=_table(
            **_KEPT,
            ipam=_table(driver=_TEXT, config=_Shape(items=_table(subnet=_TEXT))),
            internal=_SWITCH,
            attachable=_SWITCH,
        )
    ),
    volumes=_Shape(values=_table(**_KEPT)),
    secrets=_Shape(values=_table(**_KEPT, file=_TEXT, template_driver=_TEXT)),
    configs=_Shape(values=_table(**_NAMED, file=_TEXT, template_driver=_TEXT)),
)

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
    "host_ip": "nothing, for a stack publishes on every address",
    "content": "file, or external: true",
    "devices": "generic_resources",
}


def refused(document: Node) -> Iterator[Problem]:
    """Where a file is not what a stack file may be, and what is wanted there."""
    yield from _refused(document, _FILE, ())


def _refused(node: Node, shape: _Shape, path: Path) -> Iterator[Problem]:
    value = node.value
    if isinstance(value, dict):
        yield from _of_table(value, shape, path)
    elif isinstance(value, list):
        if shape.items is not None:
            for number, each in enumerate(value):
                yield from _refused(each, shape.items, (*path, number))
    elif shape.scalar is not None and value is not None and not node.source:
        scalar = shape.scalar
        if type(value) not in scalar.types:
            shown = "" if isinstance(value, str) else f", in quotes: '{node.text()}'" if str in scalar.types else ""
            quoted = ", without quotes" if isinstance(value, str) and bool not in scalar.types else ""
            yield path, f"{_name(path)} is {scalar.wanted} in a stack file{shown}{quoted}"
        elif scalar.form != ".*" and not re.fullmatch(scalar.form, value):
            yield path, f"{_name(path)} is {scalar.wanted} in a stack file"


def _of_table(table: Mapping[str, Node], shape: _Shape, path: Path) -> Iterator[Problem]:
    for key, each in table.items():
        inner = shape.keys.get(key, shape.values)
        if inner is not None:
            yield from _refused(each, inner, (*path, key))
        elif shape.keys and not key.startswith("x-"):
            yield (*path, key), f"{plain(key, 60)} is no key of {_owner(path)}a stack file{_instead(key)}"
        elif shape.items is not None:
            yield path, f"{_name(path)} is a list in a stack file"
            return
        elif shape.scalar is not None:
            yield path, f"{_name(path)} is {shape.scalar.wanted} in a stack file"
            return


def _instead(key: str) -> str:
    return f"; instead: {_INSTEAD[key]}" if key in _INSTEAD else ""


def _name(path: Path) -> str:
    """The last name in the path, with the items of a list by the list's."""
    return plain(str(next(step for step in reversed(path) if isinstance(step, str))), 60)


def _owner(path: Path) -> str:
    if not path:
        return ""
    return f"{_name(path)} in " if len(path) > 2 else f"a {str(path[0]).removesuffix('s')} in "
