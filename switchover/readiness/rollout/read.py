"""The settings of one service's rolling update, as a Compose file for ``docker stack deploy`` gives them.

Durations are those of Compose (Go's ``time.ParseDuration``): "1m30s", "500ms". Traefik's labels may be bare seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from switchover.readiness.rollout.settings import (
    Balancer,
    BalancerCheck,
    HealthCheck,
    OnFailure,
    Order,
    Rollout,
    Update,
)
from switchover.words import plain

if TYPE_CHECKING:
    from pathlib import Path

_Choice = TypeVar("_Choice", bound=StrEnum)

LARGEST = 1 << 20
"""Bytes of a Compose file; what is larger is none."""
MOST_REPLICAS = 1000
SHORTEST_S, LONGEST_S = 0.1, 86400.0
"""What a duration may be, so that the simulation stays small."""
ASSUMED_STARTUP_S = 20.0
"""Where nobody says how long a container takes to start; the views say that it is assumed."""

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")
_REFRESH = re.compile(
    r"--providers\.(?:swarm\.refreshseconds|docker\.swarmmoderefreshseconds)[= ]\s*(\S+)", re.IGNORECASE
)
_CHECK = re.compile(
    r"traefik\.http\.services\.[^.]+\.loadbalancer\.healthcheck\.(path|interval|timeout)", re.IGNORECASE
)
_VIP = frozenset({"traefik.swarm.lbswarm", "traefik.docker.lbswarm"})


class SettingsUnreadable(Exception):
    """The service's settings cannot be used: the place, the value and the way out of each, one a line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def read_service(path: Path, service: str) -> Rollout:
    """Read the service's settings; Docker's and Traefik's defaults stand where the file says nothing.

    The start-up time is in no Compose file: the health check's start period where it has one, else the assumed one.
    Raises SettingsUnreadable with every problem at once.
    """
    services = _services(path)
    if service not in services:
        names = ", ".join(plain(str(name)) for name in services) or "none"
        raise SettingsUnreadable([f"{path.name}: services: there is no {plain(service)!r}; there is: {names}"])
    problems: list[str] = []
    at = _Place(f"{path.name}: services.{plain(service)}", services[service], problems)
    settings = _rollout(at, services)
    if problems:
        raise SettingsUnreadable(problems)
    return settings


def seconds_of(text: str, *, bare: bool = False) -> float | None:
    """The seconds of a duration as Go reads it; None when it is none. ``bare`` takes a number alone as seconds."""
    if text == "0" or (bare and re.fullmatch(r"\d+", text)):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of the file and where it stands; what is wrong with its values goes to ``problems``."""

    where: str
    value: object
    problems: list[str]

    def table(self, key: str) -> _Place:
        """The table under this key; an empty one where there is none."""
        found = self.get(key)
        if found is not None and not isinstance(found, Mapping):
            self.wrong(key, found, "is no table")
            found = None
        return _Place(f"{self.where}.{key}", found or {}, self.problems)

    def get(self, key: str) -> object:
        return self.value.get(key) if isinstance(self.value, Mapping) else None

    def wrong(self, key: str, value: object, way_out: str) -> None:
        self.problems.append(f"{self.where}.{key}: {_shown(value)} {way_out}")

    def seconds(self, key: str, default: float, *, bare: bool = False) -> float:
        """A duration; nothing and 0 give the default, as in the engine."""
        found = self.get(key)
        if found is None:
            return default
        text = _text(found)
        value = seconds_of(text, bare=bare)
        if value is None:
            unitless = re.fullmatch(r"\d+", text)
            self.wrong(key, found, f"has no unit; write {text}s" if unitless else "is no duration; as in 1m30s, 500ms")
        elif value and not SHORTEST_S <= value <= LONGEST_S:
            self.wrong(key, found, "cannot be simulated; from 100ms to 24h")
            return default
        return value or default

    def number(self, key: str, default: int, least: int, most: int | None = None) -> int:
        found = self.get(key)
        if found is None:
            return default
        text = "" if isinstance(found, bool) else _text(found)
        if not re.fullmatch(r"\d{1,9}", text) or not least <= int(text) <= (most or int(text)):
            upto = f"to {most}" if most else "on"
            self.wrong(key, found, f"is not a value; a whole number from {least} {upto}")
            return default
        return int(text)

    def ratio(self, key: str) -> float:
        found = self.get(key)
        if found is None:
            return 0.0
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
            self.wrong(key, found, "is not a value; from 0 to 1")
            return 0.0
        return float(found)

    def one_of(self, key: str, values: type[_Choice], default: _Choice) -> _Choice:
        found = self.get(key)
        if found is None:
            return default
        if not isinstance(found, str) or found not in list(values):
            self.wrong(key, found, f"is not a value; {_either([str(value) for value in values])}")
            return default
        return values(found)


def _services(path: Path) -> Mapping[object, object]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise SettingsUnreadable([f"{path.name}: is larger than a Compose file; at most 1 MiB is read"])
    try:
        document = YAML(typ="safe", pure=True).load(content)
    except (YAMLError, UnicodeError) as error:
        raise SettingsUnreadable([f"{path.name}: no YAML: {plain(str(error), 300)}"]) from error
    except RecursionError:
        raise SettingsUnreadable([f"{path.name}: no Compose file: nested too deeply"]) from None
    services = document.get("services") if isinstance(document, Mapping) else None
    if not isinstance(services, Mapping):
        raise SettingsUnreadable([f"{path.name}: services: is missing; a Compose file has a table of services"])
    return services


def _rollout(at: _Place, services: Mapping[object, object]) -> Rollout:
    deploy = at.table("deploy")
    if deploy.get("mode") not in (None, "replicated"):
        deploy.wrong("mode", deploy.get("mode"), "has no replicas to count; replicated can be simulated")
    check = _healthcheck(at)
    rollout = Rollout(
        replicas=deploy.number("replicas", 1, 1, MOST_REPLICAS),
        startup_s=check.start_period_s if check and check.start_period_s else ASSUMED_STARTUP_S,
        update=_update(deploy.table("update_config")),
        rollback=_update(deploy.table("rollback_config")),
        healthcheck=check,
        balancer=_balancer(deploy, services),
    )
    return replace(rollout, stop_s=min(rollout.stop_s, at.seconds("stop_grace_period", 10)))


def _update(at: _Place) -> Update:
    usual = Update()
    return Update(
        parallelism=at.number("parallelism", usual.parallelism, 0),
        delay_s=at.seconds("delay", usual.delay_s),
        order=at.one_of("order", Order, usual.order),
        monitor_s=at.seconds("monitor", usual.monitor_s),
        on_failure=at.one_of("failure_action", OnFailure, usual.on_failure),
        max_failure_ratio=at.ratio("max_failure_ratio"),
    )


def _healthcheck(at: _Place) -> HealthCheck | None:
    check, usual = at.table("healthcheck"), HealthCheck()
    test = check.get("test")
    first = test[0] if isinstance(test, list) and test else test
    if not check.value or first == "NONE" or check.get("disable") is True:
        return None
    return HealthCheck(
        interval_s=check.seconds("interval", usual.interval_s),
        timeout_s=check.seconds("timeout", usual.timeout_s),
        retries=check.number("retries", usual.retries, 0) or usual.retries,
        start_period_s=check.seconds("start_period", usual.start_period_s),
        start_interval_s=check.seconds("start_interval", usual.start_interval_s),
    )


def _balancer(deploy: _Place, services: Mapping[object, object]) -> Balancer:
    """Traefik's view of the service: in a swarm it reads the labels under ``deploy`` alone (pswarm.go)."""
    labels = _labels(deploy)
    if not any(name.startswith("traefik.") for name in labels):
        return Balancer(by_vip=True)
    found = {match[1].lower(): name for name in labels if (match := _CHECK.fullmatch(name))}
    at = _Place(f"{deploy.where}.labels", labels, deploy.problems)
    usual = BalancerCheck("")
    check = BalancerCheck(
        path=labels.get(found.get("path", ""), ""),
        interval_s=at.seconds(found.get("interval", ""), usual.interval_s, bare=True),
        timeout_s=at.seconds(found.get("timeout", ""), usual.timeout_s, bare=True),
    )
    by_vip = any(labels.get(name, "").lower() == "true" for name in _VIP)
    return Balancer(check if check.path else None, _poll_s(services), by_vip=by_vip)


def _labels(deploy: _Place) -> dict[str, str]:
    found = deploy.get("labels")
    if isinstance(found, list):
        pairs = [_text(label).partition("=")[::2] for label in found]
        return {name.lower(): value for name, value in pairs}
    table = deploy.table("labels").value
    return {_text(name).lower(): _text(value) for name, value in table.items()} if isinstance(table, Mapping) else {}


def _poll_s(services: Mapping[object, object]) -> float:
    """Traefik's own setting, where Traefik is a service of the same file."""
    for service in services.values():
        command = service.get("command") if isinstance(service, Mapping) else None
        words = " ".join(map(_text, command)) if isinstance(command, list) else _text(command)
        given = _REFRESH.search(words)
        if given and (value := seconds_of(given[1], bare=True)):
            return value
    return Balancer().poll_s


def _text(value: object) -> str:
    """A scalar as it is written; a list or a table, which may be without end behind aliases, as nothing."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ""


def _shown(value: object) -> str:
    return repr(plain(_text(value), 80)) if isinstance(value, str | int | float) else "this"


def _either(values: list[str]) -> str:
    return ", ".join(sorted(values)[:-1]) + f" or {sorted(values)[-1]}"
