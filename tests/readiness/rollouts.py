"""Settings to try: the worked example, its variations, and any settings there may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from switchover.readiness.rollout.settings import (
    Balancer,
    BalancerCheck,
    FirstCheck,
    HealthCheck,
    OnFailure,
    Order,
    Rollout,
    Update,
)

EXAMPLE = Path(__file__).parents[2] / "plans" / "rollout-example.yaml"
some = hypothesis_settings(max_examples=60, deadline=None, database=None)
"""So many settings a property: all of them in some seconds."""
START, STOP = Order.START_FIRST, Order.STOP_FIRST
CHECK = BalancerCheck("/healthcheck", 10, 5)
SEED = Rollout(4, 20, Update(2, 40, START), balancer=Balancer(CHECK))
PROBED = HealthCheck(10, 5, 3)


def seed(healthcheck: HealthCheck | None = None, **update: object) -> Rollout:
    """The worked example, with other values in its update."""
    return replace(SEED, update=replace(SEED.update, **update), healthcheck=healthcheck)  # type: ignore[arg-type]


def lengths(least: int, most: int) -> st.SearchStrategy[float]:
    """Whole and quarter seconds, so that sums are exact."""
    return st.integers(4 * least, 4 * most).map(lambda quarters: quarters / 4)


updates = st.builds(
    Update,
    parallelism=st.integers(0, 6),
    delay_s=lengths(0, 60),
    order=st.sampled_from(Order),
    monitor_s=lengths(1, 60),
    on_failure=st.sampled_from(OnFailure),
    max_failure_ratio=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
healthchecks = st.builds(
    HealthCheck,
    interval_s=lengths(1, 40),
    timeout_s=lengths(1, 10),
    retries=st.integers(1, 5),
    start_period_s=lengths(0, 90),
    start_interval_s=lengths(1, 10),
)
balancers = st.builds(
    Balancer,
    check=st.none() | st.builds(BalancerCheck, path=st.just("/"), interval_s=lengths(1, 40)),
    poll_s=lengths(1, 30),
    first_check=st.sampled_from(FirstCheck),
    by_vip=st.booleans(),
)
rollouts = st.builds(
    Rollout,
    replicas=st.integers(1, 12),
    startup_s=lengths(0, 60),
    update=updates,
    rollback=updates,
    healthcheck=st.none() | healthchecks,
    balancer=balancers,
    stop_s=lengths(1, 15),
)
