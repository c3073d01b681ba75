"""The outage meter around a step: what a user would have seen, four times a second."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from switchover.dns.authority import observe
from switchover.plan.journal import Draft, What
from switchover.web.outage import Meter, outages, read_samples

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchover.engine.runner import Runner
    from switchover.plan.journal import Json
    from switchover.plan.outline import StepName
    from switchover.steps.context import Context


async def metered(context: Context, runner: Runner, step: StepName) -> Callable[[], Awaitable[None]]:
    """Start the meter; what is returned stops it and journals what it saw, with the hash of its samples."""
    check = context.spec.health[0]
    name = check.host
    file = context.folder / f"outage-{step}-{context.run_id}.ndjson"
    answer: list[str | None] = [None]

    async def look() -> None:
        """Ask the authority; when nobody answers the last answer stands."""
        said = [each.rrset.values[0] for each in await observe(await context.authority(name)) if each.rrset]
        answer[0] = said[0] if said else answer[0]

    async def refresh() -> None:
        while True:
            await asyncio.sleep(1)
            await look()

    async def resolve() -> str | None:
        return answer[0]

    await look()
    meter = Meter(check, resolve, file)
    tasks = [asyncio.ensure_future(refresh()), asyncio.ensure_future(meter.run())]

    async def close() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not file.exists():
            return
        summary = outages(read_samples(file))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        seen: dict[str, Json] = {
            "kind": "outage",
            "file": file.name,
            "sha256": digest,
            "summary": summary.to_json(),
        }
        runner.journal.append(Draft(step, "", What.EVIDENCE, seen))

    return close
