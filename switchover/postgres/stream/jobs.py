"""Jobs that wait for each other and exclude each other, so many at a time, the longest first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work."""

    name: str
    cost: float
    """How long it will take against others; the unit does not matter."""
    work: Callable[[], Awaitable[None]]
    needs: frozenset[str] = frozenset()
    """Names of the jobs that must have ended."""
    shares: frozenset[int] = frozenset()
    """Tables that others may share meanwhile, but not take."""
    takes: frozenset[int] = frozenset()
    """Tables that nobody else may touch meanwhile."""

    def excludes(self, other: Job) -> bool:
        return bool(self.takes & (other.takes | other.shares) or self.shares & other.takes)


@dataclass(slots=True)
class _Run:
    waiting: list[Job]
    at_once: int
    ended: set[str] = field(default_factory=set)
    running: dict[asyncio.Task[None], Job] = field(default_factory=dict)

    def begin_what_may(self) -> None:
        for job in list(self.waiting):
            if len(self.running) == self.at_once:
                return
            if job.needs <= self.ended and not any(job.excludes(other) for other in self.running.values()):
                self.waiting.remove(job)
                self.running[asyncio.ensure_future(_run(job))] = job


async def run_jobs(jobs: Iterable[Job], at_once: int) -> None:
    """Run all of them, at most ``at_once`` together; the first failure ends the rest and is raised."""
    run = _Run(sorted(jobs, key=lambda job: -job.cost), at_once)
    try:
        while run.waiting or run.running:
            run.begin_what_may()
            if not run.running:
                raise AssertionError(f"nobody makes what {run.waiting[0].name} needs")
            done, _ = await asyncio.wait(run.running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                run.ended.add(run.running.pop(task).name)
                task.result()
    finally:
        for task in run.running:
            task.cancel()
        await asyncio.gather(*run.running, return_exceptions=True)


async def _run(job: Job) -> None:
    await job.work()
