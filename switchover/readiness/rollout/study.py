"""All there is to say of the rolling update of one service, as one value and as one JSON document."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING

from switchover.readiness.rollout.advice import Change, better_informed, changes, lossless, mended, shortest
from switchover.readiness.rollout.balancer import Requests, requests
from switchover.readiness.rollout.settings import Image, Rollout, Update
from switchover.readiness.rollout.swarm import simulate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from switchover.plan.journal import Json
    from switchover.readiness.rollout.timeline import Timeline

FAILING = (Image.EXITS, Image.REFUSES, Image.HANGS)


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings, and how an update to an image that works goes with them."""

    settings: Rollout
    timeline: Timeline
    requests: Requests

    @property
    def lossless(self) -> bool:
        """Whether no capacity is lost."""
        return lossless(self.timeline)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Other settings, and what to change for them."""

    changes: tuple[Change, ...]
    trial: Trial


@dataclass(frozen=True, slots=True)
class Study:
    """One service's update: as it is, with Docker's defaults, with images that fail, and as it could be."""

    service: str
    now: Trial
    defaults: Trial
    failing: Mapping[Image, Timeline]
    mended: Proposal | None
    """The fewest changes after which no capacity is lost."""
    shortest: Proposal | None
    """The shortest update that loses none and in which the balancer sees each batch before the next."""
    informed: Mapping[str, Trial]
    """The shortest one, or the present one where there is none, with a balancer that learns sooner."""

    @property
    def worse_than_defaults(self) -> bool:
        """Whether more requests fail than with Docker's own settings, worked out over every phase of the balancer."""
        return self.now.requests.mean_s > self.defaults.requests.mean_s


def study(service: str, settings: Rollout) -> Study:
    """Simulate all of it."""
    best = shortest(settings)
    return Study(
        service,
        now=_trial(settings),
        defaults=_trial(replace(settings, update=Update())),
        failing={image: simulate(settings, image) for image in FAILING},
        mended=_proposal(settings, mended(settings)),
        shortest=_proposal(settings, best),
        informed={says: _trial(better) for says, better in better_informed(best or settings)},
    )


def _trial(settings: Rollout) -> Trial:
    timeline = simulate(settings)
    return Trial(settings, timeline, requests(timeline, settings.balancer))


def _proposal(settings: Rollout, other: Rollout | None) -> Proposal | None:
    return Proposal(changes(settings, other), _trial(other)) if other is not None else None


def to_json(found: Study) -> dict[str, Json]:
    """The document of ``switchover rollout --json``; times in seconds from the start, null for never."""
    return {
        "service": found.service,
        "replicas": found.now.settings.replicas,
        "startup_s": found.now.settings.startup_s,
        **_numbers(found.now),
        "worse_than_defaults": found.worse_than_defaults,
        "defaults": _numbers(found.defaults),
        "capacity": [[at_s, serving] for at_s, serving in found.now.timeline.capacity],
        "events": [
            {"at_s": event.at_s, "slot": event.slot, "version": str(event.version), "what": str(event.what)}
            for event in found.now.timeline.events
        ],
        "failing_image": {str(image): _failing(timeline) for image, timeline in found.failing.items()},
        "mended": _proposed(found.mended),
        "shortest": _proposed(found.shortest),
        "balancer_learns_sooner": {says: _numbers(trial) for says, trial in found.informed.items()},
    }


def _numbers(trial: Trial) -> dict[str, Json]:
    timeline = trial.timeline
    return {
        "lossless": trial.lossless,
        "outcome": str(timeline.outcome),
        "decided_s": timeline.decided_s,
        "all_serve_s": _finite(timeline.all_serve_s),
        "fewest_serving": timeline.fewest,
        "lost_replica_s": timeline.lost_s,
        "dips": timeline.dips,
        "most_containers": timeline.most,
        "requests_failing_s": {
            "mean": round(trial.requests.mean_s, 3),
            "worst": round(trial.requests.worst_s, 3),
            "longest_outage": round(trial.requests.outage_s, 3),
        },
    }


def _failing(timeline: Timeline) -> Json:
    return {
        "outcome": str(timeline.outcome),
        "decided_s": timeline.decided_s,
        "stopped_s": _finite(timeline.stopped_s),
        "fewest_serving": timeline.fewest,
        "serving_after": timeline.capacity[-1][1],
        "lost_replica_s": timeline.lost_s,
    }


def _proposed(proposal: Proposal | None) -> Json:
    if proposal is None:
        return None
    changed: list[Json] = [{"key": each.key, "now": each.now, "to": each.to} for each in proposal.changes]
    return {"changes": changed, **_numbers(proposal.trial)}


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
