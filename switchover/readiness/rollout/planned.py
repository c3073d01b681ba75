"""The rolling updates of the services whose start-up time a plan gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.readiness.compose.node import ComposeUnreadable
from switchover.readiness.rollout.read import rollout_of
from switchover.readiness.rollout.study import study

if TYPE_CHECKING:
    from switchover.readiness.compose.service import Project
    from switchover.readiness.rollout.study import Study


def studies(project: Project) -> dict[str, Study | ComposeUnreadable]:
    """One of each service in the files' order, or why it cannot be simulated; none outside a swarm."""
    if project.dialect != "stack":
        return {}
    found: dict[str, Study | ComposeUnreadable] = {}
    for service in project.services:
        if service.startup_s is None:
            continue
        try:
            found[service.name] = study(service.name, rollout_of(project, service))
        except ComposeUnreadable as error:
            found[service.name] = error
    return found
