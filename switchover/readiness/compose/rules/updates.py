"""Replicas and how they are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.rule import Rule, each
from switchover.readiness.compose.traefik import POLL_S, interval_of, is_by_vip, timeout_of
from switchover.words import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchover.readiness.compose.rule import Hit
    from switchover.readiness.compose.service import Service

_UPDATE = ("deploy", "update_config")


def is_replicated(service: Service) -> bool:
    """A service whose containers stand in for one another."""
    return not (service.is_stateful or service.is_job or service.is_global or service.is_balancer)


def _is_rolling(service: Service) -> bool:
    return is_replicated(service) and service.replicas >= 2


def _has_batches(service: Service) -> bool:
    parallelism = service.number((*_UPDATE, "parallelism"), 1)
    return _is_rolling(service) and service.get(*_UPDATE) is not None and 0 < parallelism < service.replicas


def _single(service: Service) -> Iterator[Hit]:
    has_one_port = service.dialect == "compose" and any(port.published for port in service.ports)
    if is_replicated(service) and service.replicas == 1 and not service.is_on_managers and not has_one_port:
        said = "is 1" if service.get("deploy", "replicas") else "is not set, and so 1"
        yield ("deploy", "replicas"), f"the number of replicas {said}: a single point of failure"


def _none(service: Service) -> Iterator[Hit]:
    if service.replicas == 0:
        yield ("deploy", "replicas"), "no replicas: the service does not run"


def _missing(service: Service) -> Iterator[Hit]:
    if service.get(*_UPDATE) is None and not service.is_job and not service.is_stateful:
        yield ("deploy",), "no update_config: stop-first, one at a time, no delay, paused at a failure"


def _stop_first(service: Service) -> Iterator[Hit]:
    if _is_rolling(service) and service.get(*_UPDATE) and service.text(*_UPDATE, "order") in (None, "stop-first"):
        yield (*_UPDATE, "order"), "each container is stopped before its successor has started"


def _start_first(service: Service) -> Iterator[Hit]:
    if service.text(*_UPDATE, "order") != "start-first":
        return
    if service.is_stateful:
        yield (*_UPDATE, "order"), "start-first on a service with data: two containers write to it at once"
    elif any(port.mode == "host" and port.published for port in service.ports):
        yield (*_UPDATE, "order"), "start-first with a port in host mode: the successor finds the port taken"


def _all_at_once(service: Service) -> Iterator[Hit]:
    parallelism = service.number((*_UPDATE, "parallelism"), 1)
    if _is_rolling(service) and not 0 < parallelism < service.replicas:
        said = "0 is all at once" if parallelism == 0 else f"{parallelism:.0f} of {service.replicas}"
        yield (*_UPDATE, "parallelism"), f"every replica is replaced at the same time: {said}"


def _most_at_once(service: Service) -> Iterator[Hit]:
    parallelism = service.number((*_UPDATE, "parallelism"), 1)
    if _is_rolling(service) and service.replicas / 2 < parallelism < service.replicas:
        yield (*_UPDATE, "parallelism"), f"{parallelism:.0f} of {service.replicas} replicas are replaced at once"


def _delay(service: Service) -> Iterator[Hit]:
    """RUNNING means healthy where there is a health check, and merely begun where there is none."""
    if not _has_batches(service):
        return
    delay, at = service.seconds((*_UPDATE, "delay"), 0), (*_UPDATE, "delay")
    interval = interval_of(service) or 0.0
    asked = interval + timeout_of(service) if interval else 0.0
    if service.check is None and service.startup_s is not None and delay < service.startup_s + asked:
        needed = f"{duration(service.startup_s)} to start" + (f" and {duration(asked)} to be asked" if asked else "")
        yield at, f"{duration(delay)}; without a health check the next batch goes after {needed}"
    elif service.check is None and delay == 0:
        yield at, "no delay and no health check: the next batch goes before this one serves"


def _delay_of_balancer(service: Service) -> Iterator[Hit]:
    interval, delay = interval_of(service), service.seconds((*_UPDATE, "delay"), 0)
    if not (interval and service.check and _has_batches(service)) or is_by_vip(service):
        return
    if delay < POLL_S + interval:
        needed = duration(POLL_S + interval)
        yield (*_UPDATE, "delay"), f"{duration(delay)}; Traefik learns of a new container, and asks it, within {needed}"


def _failure_action(service: Service) -> Iterator[Hit]:
    if service.get(*_UPDATE) is None or service.is_job:
        return
    action = service.text(*_UPDATE, "failure_action") or "pause"
    if action in ("pause", "continue"):
        left = "stays half done" if action == "pause" else "goes on through every replica"
        yield (*_UPDATE, "failure_action"), f"{action}: an update that fails {left}"


def _monitor(service: Service) -> Iterator[Hit]:
    if service.get(*_UPDATE) is None or service.is_job or service.check is not None:
        return
    monitor, startup = service.seconds((*_UPDATE, "monitor"), 5), service.startup_s
    if startup is not None and monitor < startup:
        yield (*_UPDATE, "monitor"), f"watched for {duration(monitor)}; it takes {duration(startup)} to start"


def _rollback(service: Service) -> Iterator[Hit]:
    update = service.get(*_UPDATE)
    if update is not None and update.text("failure_action") == "rollback":
        order = update.text("order")
        if service.get("deploy", "rollback_config") is None and (order == "start-first" or service.replicas > 1):
            yield ("deploy",), "rolls back, and has no rollback_config: stop-first, one at a time"
        elif order == "start-first" != service.text("deploy", "rollback_config", "order"):
            yield ("deploy", "rollback_config"), "updates start-first and rolls back stop-first"


RULES = (
    Rule(
        "replicas-single",
        "error",
        "info",
        "001-09, 004-03",
        "While the one container is replaced, or its node is down, nobody serves.",
        "deploy.replicas: 2 or more; 3 where a node may fail during an update",
        each(_single),
    ),
    Rule(
        "replicas-none",
        "warn",
        "warn",
        "004-03",
        "What does not run serves nobody.",
        "deploy.replicas: 2, or take the service out.",
        each(_none),
    ),
    Rule(
        "update-config-missing",
        "warn",
        None,
        "001-13, 004-04",
        "Docker's defaults exist for changes that break things: every update takes capacity away, and a failed one "
        "stops in the middle.",
        "update_config: {order: start-first, parallelism: 1, delay: 40s, failure_action: rollback, monitor: 60s}",
        each(_missing),
    ),
    Rule(
        "update-stop-first",
        "info",
        None,
        "001-10",
        "During the update there is one container less; for a stateless service whose two versions get along that need "
        "not be.",
        "order: start-first, with a health check",
        each(_stop_first),
    ),
    Rule(
        "update-start-first-stateful",
        "error",
        None,
        "001-10",
        "Old and new run at the same time; what they share is damaged, or the update waits for ever.",
        "order: stop-first",
        each(_start_first),
    ),
    Rule(
        "update-all-at-once",
        "error",
        None,
        "001-11",
        "With every replica in one batch an update is an outage, and a bad version is everywhere at once.",
        "parallelism: 1, at most half of the replicas",
        each(_all_at_once),
    ),
    Rule(
        "update-batch-large",
        "warn",
        None,
        "001-11",
        "Less than half of the capacity is left while a batch is replaced.",
        "parallelism: at most half of the replicas",
        each(_most_at_once),
    ),
    Rule(
        "update-delay-short",
        "error",
        None,
        "001-12",
        "The next batch is taken away before this one gets requests: for that time there are fewer containers than "
        "the update was meant to leave, or none.",
        "delay: start-up + interval + timeout of the balancer's check; and a health check",
        each(_delay),
    ),
    Rule(
        "update-delay-balancer",
        "warn",
        None,
        "001-12",
        "Docker sees a container become healthy at once, the load balancer only at its next look at the swarm: for "
        "seconds requests go to containers that are gone.",
        "delay: 15 s + the interval; or --providers.swarm.refreshseconds=1; or traefik.swarm.lbswarm=true",
        each(_delay_of_balancer),
    ),
    Rule(
        "update-failure-action",
        "warn",
        None,
        "004-04",
        "A broken version then stays until a person acts.",
        "failure_action: rollback, with a rollback_config",
        each(_failure_action),
    ),
    Rule(
        "update-monitor-short",
        "warn",
        None,
        "004-04",
        "A container that fails later than that is restarted, and the update goes on with the bad version.",
        "monitor: longer than the start; or a health check",
        each(_monitor),
    ),
    Rule(
        "rollback-config-missing",
        "warn",
        None,
        "004-04",
        "The way back is slower than the way there, and takes capacity away.",
        "rollback_config: {order: start-first, parallelism: 0 or as the update}",
        each(_rollback),
    ),
)
