"""What every step works with: the plan, its journal, the two databases, and what one run holds open."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from switchover.children import Children
from switchover.dns.authority import Authority, find_authority, waive
from switchover.dns.message import Endpoint
from switchover.dns.providers import make_provider
from switchover.plan import names
from switchover.plan.decide import step_of
from switchover.plan.progress import Folding, Progress
from switchover.plan.values import expand
from switchover.postgres.connect import Database
from switchover.postgres.fence import Fence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from psycopg import AsyncConnection

    from switchover.dns.providers import Provider
    from switchover.plan.journal import Entry, Json
    from switchover.plan.outline import StepName
    from switchover.plan.spec import Spec
    from switchover.postgres.finding import Finding
    from switchover.postgres.replication.drain import Drained
    from switchover.postgres.replication.slot import HeldSlot
    from switchover.postgres.scratch import Place


@dataclass(slots=True)
class Pause:
    """While writes are paused: since when by this process's clock, and what it has proved behind the fence."""

    since: float | None = None
    drained: Drained | None = None
    compared: dict[str, Json] | None = None

    def begin(self) -> None:
        """Start anew: what was proved before another fence stood proves nothing now."""
        self.since, self.drained, self.compared = time.monotonic(), None, None

    def left_s(self, budget_s: float) -> float:
        """What is left of the budget; at least a moment, so that a deadline made of it is one."""
        spent = time.monotonic() - self.since if self.since is not None else 0.0
        return max(0.05, budget_s - spent)


@dataclass(slots=True)
class Context:
    """One run's hold on the world; ``entries`` is the journal as it grows."""

    path: Path
    spec: Spec
    entries: Sequence[Entry]
    plan_id: str
    run_id: str
    children: Children = field(default_factory=Children)
    fence: Fence = field(default_factory=Fence)
    far_fence: Fence = field(default_factory=Fence)
    """Around the target, when users come back from there with their data."""
    pause: Pause = field(default_factory=Pause)
    held: HeldSlot | None = None
    """The slot that this run has made, and whose snapshot it holds."""
    live_stamp: str = ""
    """Names the slot under whose snapshot the live copy was made, once it is known."""
    place: Place | None = None
    """Where the live copy is, while writes are paused: only this run moves it then."""
    snapshot: AsyncConnection | None = None
    """The session that holds the rehearsal's exported snapshot, as long as this run holds it."""
    snapshot_name: str | None = None
    size: int | None = None
    """Bytes of the source's database, as this run last saw it."""
    schema: str | None = None
    """The hash of the source's schema when the rehearsal began."""
    clients: list[Json] = field(default_factory=list)
    """Who was connected to the source when the rehearsal began."""
    findings: tuple[Finding, ...] = ()
    """What this run's preflight found."""
    authorities: dict[str, Authority] = field(default_factory=dict)
    _folding: Folding = field(init=False)

    def __post_init__(self) -> None:
        self._folding = Folding(self.spec)

    @property
    def app_prefix(self) -> str:
        """What every session of this plan's runs starts its application_name with."""
        return names.session_prefix(self.plan_id)

    @property
    def app(self) -> str:
        """This run's application_name."""
        return f"{self.app_prefix}{self.run_id}"

    @property
    def folder(self) -> Path:
        """The plan's side files; 0700, made when first asked for."""
        folder = self.path.with_name(self.path.name + ".d")
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @property
    def source(self) -> Database:
        return Database.parse(expand(self.spec.database.source, os.environ))

    @property
    def target(self) -> Database:
        return Database.parse(expand(self.spec.database.target, os.environ))

    @property
    def copy_name(self) -> str:
        """The database on the target server that the final copy is restored into before it takes the name."""
        return names.copy_name(self.plan_id)

    @property
    def aside_name(self) -> str:
        """Where the target's database of before waits while the copy bears its name."""
        return names.aside_name(self.plan_id)

    @property
    def rehearsal_name(self) -> str:
        return names.rehearsal_name(self.plan_id)

    def provider(self, zone: str) -> Provider:
        """Who changes the records of a zone."""
        dns = self.spec.dns
        return make_provider(dns.provider, self.path.parent, zone, dns.port, self.resolver)

    @property
    def resolver(self) -> Endpoint | None:
        named = self.spec.dns.resolver
        return Endpoint.parse(named) if named else None

    def progress(self) -> Progress:
        return self._folding.progress(self.entries)

    def facts(self, name: StepName) -> dict[str, Json]:
        """What an earlier step found."""
        return dict(step_of(self.progress(), name).facts)

    async def authority(self, name: str, *, fresh: bool = False) -> Authority:
        """Who decides about a name; asked once a run unless ``fresh``."""
        if fresh or name not in self.authorities:
            found = await find_authority(name, resolver=self.resolver, port=self.spec.dns.port)
            self.authorities[name] = waive(found, self.spec.dns.accept)
        return self.authorities[name]
