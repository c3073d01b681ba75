"""The settings that decide how a rolling update of a Swarm service goes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from switchover.readiness.compose.traefik import INTERVAL_S, POLL_S, TIMEOUT_S


class Order(StrEnum):
    """``update_config.order``."""

    STOP_FIRST = "stop-first"
    START_FIRST = "start-first"


class OnFailure(StrEnum):
    """``update_config.failure_action``."""

    PAUSE = "pause"
    CONTINUE = "continue"
    ROLLBACK = "rollback"


class FirstCheck(StrEnum):
    """When Traefik first checks a server it has just seen; until then the server is up."""

    AT_ONCE = "at-once"
    """v2.11 (pkg/healthcheck)."""
    AFTER_INTERVAL = "after-interval"
    """v3: the first tick comes one whole interval later (pkg/healthcheck)."""


@dataclass(frozen=True, slots=True)
class Update:
    """``update_config`` or ``rollback_config``, with the engine's defaults (swarmkit api/defaults/service.go)."""

    parallelism: int = 1
    """0 is all at once."""
    delay_s: float = 0
    order: Order = Order.STOP_FIRST
    monitor_s: float = 5
    on_failure: OnFailure = OnFailure.PAUSE
    max_failure_ratio: float = 0

    @property
    def monitoring_s(self) -> float:
        """How long a failure counts after RUNNING, and how long the updater watches at the end."""
        return self.monitor_s if self.delay_s < self.monitor_s else self.delay_s + 1


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The container's own ``healthcheck``, with Docker's defaults (moby daemon/health.go)."""

    interval_s: float = 30
    timeout_s: float = 30
    retries: int = 3
    start_period_s: float = 0
    start_interval_s: float = 5


@dataclass(frozen=True, slots=True)
class BalancerCheck:
    """The load balancer's check of a server, with Traefik's defaults (pkg/config/dynamic)."""

    path: str
    interval_s: float = INTERVAL_S
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Balancer:
    """Who sends the requests, and how it learns of the containers."""

    check: BalancerCheck | None = None
    poll_s: float = POLL_S
    """Traefik's Swarm provider polls and knows nothing of health (pswarm.go, refreshSeconds)."""
    first_check: FirstCheck = FirstCheck.AFTER_INTERVAL
    by_vip: bool = False
    """Docker's virtual address (lbswarm, or no Traefik at all): told of each container by the engine itself."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """All that decides how an update of one service goes."""

    replicas: int
    startup_s: float
    """From the start of the process to the first request it can answer."""
    update: Update = Update()
    rollback: Update = Update()
    healthcheck: HealthCheck | None = None
    balancer: Balancer = Balancer()
    create_s: float = 1
    """To create a container whose image is on the node."""
    stop_s: float = 1
    """From the signal to the end of the process; ``stop_grace_period`` at most."""


class Image(StrEnum):
    """What the new image does."""

    WORKS = "works"
    EXITS = "exits"
    """Ends when it should be ready."""
    REFUSES = "refuses"
    """Runs and answers nobody; probes fail at once."""
    HANGS = "hangs"
    """Runs, takes connections and says nothing; probes run into their timeout."""
