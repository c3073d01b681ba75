"""A journal told by hand, sealed and folded as the program does it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from switchover.plan.journal import FIRST, Draft, Entry, Json, What, seal
from switchover.plan.outline import STEPS, StepName
from switchover.plan.progress import fold
from switchover.plan.spec import Spec, digest, subtree
from switchover.report import Report, make_report, markdown
from switchover.web.outage import Sample, outages

if TYPE_CHECKING:
    from collections.abc import Sequence

T = datetime(2026, 12, 6, 3, 0, tzinfo=UTC)
PLAN = """
version = 1
name    = "acme-shop"
[database]
source = "service=shop_old"
target = "service=shop_new"
[dns]
names = ["shop.example.com"]
from  = "203.0.113.10"
to    = "198.51.100.20"
[window]
start    = 2026-12-05T22:00:00
timezone = "America/Toronto"
length   = "2h"
[[health]]
name = "front page"
url  = "https://shop.example.com/health"
"""
SERVERS: list[Json] = [
    {
        "host": "ns1.example.com",
        "address": "192.0.2.53",
        "state": "ok",
        "values": ["198.51.100.20"],
        "ttl": 60,
        "at": "2026-12-06T03:00:20.500+00:00",
    }
]
SAME: dict[str, Json] = {"verdict": "same", "tables": 5, "rows": 1200, "sequences": 3, "differing": []}
COPY = ("dump", "restore", "compare")


@dataclass
class Story:
    """Entries one after the other, a second apart unless said."""

    spec: Spec = field(default_factory=lambda: Spec.model_validate(tomllib.loads(PLAN)))
    entries: list[Entry] = field(default_factory=list)
    now: datetime = T
    who: str = "dana@ops-1"

    def tell(self, step: str, what: What, action: str = "", /, **data: Json) -> Entry:
        before = self.entries[-1].chain if self.entries else FIRST
        entry = seal(Draft(step, action, what, data), len(self.entries) + 1, self.now, self.who, before)
        self.entries.append(entry)
        self.now += timedelta(seconds=1)
        return entry

    def begin(self, step: StepName, *actions: str, attempt: int = 1) -> None:
        listed: list[Json] = [{"id": each, "title": f"do {each}", "does": [], "undoes": ""} for each in actions]
        self.tell(step, What.BEGIN, attempt=attempt, actions=listed)

    def act(self, step: StepName, action: str, /, **proof: Json) -> None:
        self.tell(step, What.INTENT, action, before={})
        self.tell(step, What.DONE, action, proof=proof, result={}, seconds=1.5)

    def complete(self, step: StepName, /, **facts: Json) -> None:
        keys = next((info.relies_on for info in STEPS if info.name is step), ())
        relied = subtree(self.spec, keys)
        self.tell(step, What.COMPLETE, digest=digest(self.spec, keys), relied=relied, facts=facts, seconds=4.0)

    def prepare(self) -> None:
        """Everything before the cutover."""
        self.tell("", What.CREATED, plan_id="0123456789abcdef", version="0.1.0")
        for step in (StepName.READINESS, StepName.REHEARSAL, StepName.LOWER_TTL, StepName.WINDOW):
            if step is StepName.REHEARSAL:
                self.begin(step, *(f"{phase}-rehearsal" for phase in COPY))
                for phase in COPY:
                    self.act(step, f"{phase}-rehearsal", **({"comparison": SAME} if phase == "compare" else {}))
                self.complete(step, seconds={"dump": 10, "restore": 20, "compare": 10})
            else:
                self.begin(step)
                self.complete(step)

    def cut_over(self, metered: str = "+----+") -> None:
        """A cutover to its end; ``metered`` spans it, one letter a sample, stretched over its time."""
        step = StepName.CUTOVER
        self.begin(step, "fence-source", *(f"{phase}-final" for phase in COPY), "open-target", "set-address")
        started = self.now
        self.act(step, "fence-source")
        for phase in COPY:
            self.act(step, f"{phase}-final", **({"comparison": SAME} if phase == "compare" else {}))
        self.act(step, "open-target")
        self.act(step, "set-address", servers=SERVERS)
        self.complete(step)
        if metered:
            self.meter(step, started, metered)

    def verify(self, *, written: Sequence[dict[str, Json]] | None = ()) -> None:
        step = StepName.VERIFY
        self.begin(step, "soak", "written")
        started = self.now
        self.act(step, "soak", probes=360, failures=0)
        self.act(step, "written", **({} if written is None else {"changes": list(written)}))
        if written:
            self.tell(step, What.EVIDENCE, kind="first-write", table=written[0]["table"])
        self.complete(step)
        self.meter(step, started - timedelta(seconds=1), "+")

    def finish(self) -> None:
        self.begin(StepName.FINISH)
        self.complete(StepName.FINISH)

    def meter(self, step: StepName, start: datetime, letters: str) -> None:
        """A meter from ``start`` to now: samples every quarter second, the letters stretched over them."""
        number = int((self.now - start).total_seconds() * 4)
        samples = [
            Sample(start + timedelta(seconds=each / 4), letters[each * len(letters) // number] == "+", "status 503", "")
            for each in range(number)
            if letters[each * len(letters) // number] != " "
        ]
        summary = outages(samples).to_json()
        self.tell(step, What.EVIDENCE, kind="outage", file=f"outage-{step}.ndjson", sha256="ab12", summary=summary)
        self.now -= timedelta(seconds=1)

    def report(self) -> Report:
        return make_report(self.spec, self.entries, fold(self.spec, self.entries))

    def markdown(self) -> str:
        return markdown(self.report())


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def finished(story: Story) -> Story:
    story.prepare()
    story.cut_over()
    story.verify(written=({"table": "public.orders", "inserted": 3, "updated": 0, "deleted": 0},))
    story.finish()
    return story
