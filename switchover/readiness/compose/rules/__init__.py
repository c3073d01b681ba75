"""All rules, theme by theme."""

from __future__ import annotations

from switchover.readiness.compose.rules import (
    balancer,
    dialect,
    form,
    hardening,
    health,
    images,
    networks,
    placement,
    running,
    secrets,
    storage,
    surroundings,
    updates,
)

RULES = (
    *form.RULES,
    *dialect.RULES,
    *images.RULES,
    *health.RULES,
    *balancer.RULES,
    *updates.RULES,
    *placement.RULES,
    *running.RULES,
    *storage.RULES,
    *secrets.RULES,
    *networks.RULES,
    *hardening.RULES,
    *surroundings.RULES,
)
