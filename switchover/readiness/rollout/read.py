"""The settings of one service's rolling update, as a Compose file for ``docker stack deploy`` gives them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from switchover.readiness.compose.load import load
from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.compose.service import project_of
from switchover.readiness.compose.traefik import check_of, is_by_vip, is_routed
from switchover.readiness.compose.values import number, seconds
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
    from collections.abc import Iterable, Mapping
    from enum import StrEnum
    from pathlib import Path as FilePath

    from switchover.readiness.compose.node import Path
    from switchover.readiness.compose.service import Project, Service

    _Choice = TypeVar("_Choice", bound=StrEnum)

MOST_REPLICAS = 1000
SHORTEST_S, LONGEST_S = 0.1, 86400.0
"""What a duration may be, so that the simulation stays small."""
ASSUMED_STARTUP_S = 20.0
"""Where nobody says how long a container takes to start; the views say that it is assumed."""

_REFRESH = re.compile(
    r"--providers\.(?:swarm\.refreshseconds|docker\.swarmmoderefreshseconds)[= ]\s*(\S+)", re.IGNORECASE
)


def read_service(path: FilePath, name: str, env: Mapping[str, str] | None = None) -> Rollout:
    """Read the service's settings; Docker's and Traefik's defaults stand where the file says nothing.

    The start-up time is in no Compose file: the health check's start period where it has one, else the assumed one.
    Raises ComposeUnreadable with every problem at once.
    """
    loaded = load([path], os.environ if env is None else env, dotenv=False)  # docker stack deploy knows no .env
    project = project_of(loaded, "stack", {})
    if name not in project.by_name:
        names = ", ".join(plain(each, 80) for each in project.by_name) or "none"
        raise ComposeUnreadable(f"{path}: services: there is no {plain(name, 80)!r}; there is: {plain(names)}")
    return rollout_of(project, project.by_name[name])


def rollout_of(project: Project, service: Service) -> Rollout:
    """The settings of a service of this project, with its start-up time where it is known; raises ComposeUnreadable."""
    values = _Values(service)
    settings = _rollout(values, project)
    if values.problems:
        raise ComposeUnreadable(*values.problems)
    return settings if service.startup_s is None else replace(settings, startup_s=service.startup_s)


@dataclass(frozen=True, slots=True)
class _Values:
    """A service's values; what is wrong with them goes to ``problems``, one line each with its place."""

    service: Service
    problems: list[str] = field(default_factory=list)

    def wrong(self, path: Path, way_out: str) -> None:
        node = self.service.get(*path)
        text = self.service.text(*path)
        shown = "this" if text is None else repr(plain(text, 80))
        at = node.at if node is not None else self.service.node.mark(*path)
        where = ".".join(map(str, ("services", self.service.name, *path)))
        self.problems.append(f"{at}: {plain(where, 200)}: {shown} {way_out}")

    def given(self, path: Path) -> str | None:
        """The text of a value; "" for a table or a list, where a value should be."""
        node = self.service.get(*path)
        return None if node is None or node.value is None else self.service.text(*path) or ""

    def seconds(self, path: Path, default: float, *, bare: bool = False) -> float:
        """A duration; nothing and 0 give the default, as in the engine."""
        text = self.given(path)
        if text is None:
            return default
        value = seconds(text, bare=bare)
        if value is None:
            self.wrong(path, f"has no unit; write {text}s" if text.isdigit() else "is no duration; as in 1m30s, 500ms")
        elif value and not SHORTEST_S <= value <= LONGEST_S:
            self.wrong(path, "cannot be simulated; from 100ms to 24h")
            return default
        return value or default

    def count(self, path: Path, default: int, least: int, most: int) -> int:
        text = self.given(path)
        if text is None:
            return default
        value = number(text)
        if value is None or value % 1 or not least <= value <= most:
            self.wrong(path, f"is not a value; a whole number from {least} to {most}")
            return default
        return int(value)

    def ratio(self, path: Path) -> float:
        text = self.given(path)
        value = number(text) if text is not None else 0.0
        if value is None or not 0 <= value <= 1:
            self.wrong(path, "is not a value; from 0 to 1")
            return 0.0
        return value

    def one_of(self, path: Path, choices: Iterable[_Choice], default: _Choice) -> _Choice:
        text = self.given(path)
        if text is None:
            return default
        found = next((choice for choice in choices if choice == text), None)
        if found is None:
            self.wrong(path, f"is not a value; {_either(sorted(choices))}")
        return found or default


def _rollout(values: _Values, project: Project) -> Rollout:
    if values.given(("deploy", "mode")) not in (None, "replicated"):
        values.wrong(("deploy", "mode"), "has no replicas to count; replicated can be simulated")
    check = _healthcheck(values)
    rollout = Rollout(
        replicas=values.count(("deploy", "replicas"), 1, 1, MOST_REPLICAS),
        startup_s=check.start_period_s if check and check.start_period_s else ASSUMED_STARTUP_S,
        update=_update(values, "update_config", OnFailure),
        rollback=_update(values, "rollback_config", (OnFailure.PAUSE, OnFailure.CONTINUE)),
        healthcheck=check,
        balancer=_balancer(values, project),
    )
    return replace(rollout, stop_s=min(rollout.stop_s, values.seconds(("stop_grace_period",), 10)))


def _update(values: _Values, key: str, actions: Iterable[OnFailure]) -> Update:
    usual = Update()
    return Update(
        parallelism=values.count(("deploy", key, "parallelism"), usual.parallelism, 0, MOST_REPLICAS),
        delay_s=values.seconds(("deploy", key, "delay"), usual.delay_s),
        order=values.one_of(("deploy", key, "order"), Order, usual.order),
        monitor_s=values.seconds(("deploy", key, "monitor"), usual.monitor_s),
        on_failure=values.one_of(("deploy", key, "failure_action"), actions, usual.on_failure),
        max_failure_ratio=values.ratio(("deploy", key, "max_failure_ratio")),
    )


def _healthcheck(values: _Values) -> HealthCheck | None:
    if values.service.check is None or values.service.get("healthcheck", "test") is None:
        return None
    usual = HealthCheck()
    return HealthCheck(
        interval_s=values.seconds(("healthcheck", "interval"), usual.interval_s),
        timeout_s=values.seconds(("healthcheck", "timeout"), usual.timeout_s),
        retries=values.count(("healthcheck", "retries"), usual.retries, 0, 1000) or usual.retries,
        start_period_s=values.seconds(("healthcheck", "start_period"), usual.start_period_s),
        start_interval_s=values.seconds(("healthcheck", "start_interval"), usual.start_interval_s),
    )


def _balancer(values: _Values, project: Project) -> Balancer:
    if not is_routed(values.service):
        return Balancer(by_vip=True)
    return Balancer(_check(values), _poll_s(project), by_vip=is_by_vip(values.service))


def _check(values: _Values) -> BalancerCheck | None:
    at = check_of(values.service)
    if "path" not in at:
        return None
    usual = BalancerCheck(values.service.text(*at["path"]) or "/")
    return replace(
        usual,
        interval_s=values.seconds(at["interval"], usual.interval_s, bare=True)
        if "interval" in at
        else usual.interval_s,
        timeout_s=values.seconds(at["timeout"], usual.timeout_s, bare=True) if "timeout" in at else usual.timeout_s,
    )


def _poll_s(project: Project) -> float:
    """Traefik's own setting, where Traefik is a service of the same file."""
    for service in project.services:
        words = " ".join(node.text() or "" for node in service.items("command"))
        given = _REFRESH.search(words)
        value = seconds(given[1], bare=True) if given else None
        if value and SHORTEST_S <= value <= LONGEST_S:
            return value
    return Balancer().poll_s


def _either(values: list[_Choice]) -> str:
    return ", ".join(values[:-1]) + f" or {values[-1]}"
