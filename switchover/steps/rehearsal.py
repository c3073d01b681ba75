"""Step 2: a full copy into a scratch database, compared exactly and timed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from switchover.engine.action import Action, Seen
from switchover.engine.step import Gate, Step, Verdict
from switchover.plan.decide import step_of
from switchover.plan.outline import StepName
from switchover.postgres.copy import hold_snapshot
from switchover.postgres.facts import server_facts
from switchover.postgres.scratch import database_exists, drop_copy
from switchover.postgres.sessions import by_client, clients
from switchover.steps.copying import Copying, compare_action, copy_actions
from switchover.steps.fitness import database_gates, journaled, keep_schema
from switchover.steps.globals import globals_action
from switchover.words import size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.steps.context import Context

DUMP_SHARE = 1.1
"""Free space asked for, as a share of the database's size: a compressed dump is smaller, but not always."""


def build(context: Context) -> Step:
    """Everything the cutover will do to data, done to a scratch database while users work on.

    Where the plan leaves open how to copy, both ways are gone, and the faster one is the cutover's.
    """
    way = context.spec.database.copy_
    return Step(
        StepName.REHEARSAL,
        (*database_gates(context), *([Gate("room for the dump", _room(context))] if way != "stream" else ())),
        (
            globals_action(context),
            *(_rehearse(context, "trial", "stream") if way is None else ()),
            *_rehearse(context, "rehearsal", way or "dump"),
        ),
        undo_on_failure=True,
        facts=lambda: _facts(context),
        around=lambda: _hold(context),
    )


def _rehearse(context: Context, kind: str, way: str) -> tuple[Action, ...]:
    """Copy, compare and drop again."""

    def stamp() -> str:
        return f"{kind} {context.run_id} {context.snapshot_name}"

    copying = Copying(context, kind, context.rehearsal_name, stamp)
    return (
        *copy_actions(copying, way, where="into a scratch database"),
        compare_action(copying, sequences=False),
        _drop(context, copying),
    )


def chosen_way(context: Context) -> str:
    """How the cutover copies: as the plan says, else what the rehearsal found to be faster."""
    return context.spec.database.copy_ or str(context.facts(StepName.REHEARSAL).get("way", "dump"))


async def _hold(context: Context) -> Callable[[], Awaitable[None]]:
    """Keep one snapshot for dump and comparison, so that both see the same source while it is written to."""
    context.snapshot, context.snapshot_name = await hold_snapshot(context.source, context.app)
    context.size = (await server_facts(context.source, context.app)).size_bytes
    context.schema = await keep_schema(context)
    context.clients = [
        each.to_json() for each in by_client(await clients(context.source, context.app, context.app_prefix))
    ]

    async def let_go() -> None:
        if context.snapshot is not None:
            await context.snapshot.close()
        context.snapshot, context.snapshot_name = None, None

    return let_go


def _room(context: Context) -> Callable[[], Awaitable[Verdict]]:
    async def look() -> Verdict:
        facts = await server_facts(context.source, context.app)
        free = shutil.disk_usage(context.folder).free
        says = f"{size(free)} free beside the plan, the database is {size(facts.size_bytes)}"
        if free < facts.size_bytes * DUMP_SHARE:
            return Verdict(False, says, 'free some space, keep the plan on a larger disk, or copy = "stream"')
        return Verdict(True, says)

    return look


def _drop(context: Context, copying: Copying) -> Action:
    async def observe() -> Seen:
        there = await database_exists(context.target, copying.database, context.app)
        kept = context.spec.database.keep_dump or not copying.folder.exists()
        return Seen.done() if not there and kept else Seen.todo(database=copying.database)

    async def apply(live: Live) -> Facts:
        await drop_copy(context.target, copying.database, context.plan_id, context.app)
        if not context.spec.database.keep_dump and copying.folder.exists():
            shutil.rmtree(copying.folder)
            copying.manifest.unlink(missing_ok=True)
        live.log(f"dropped {copying.database}")
        return {}

    return Action(
        f"drop-{copying.kind}",
        "drop the scratch database",
        observe,
        apply,
        does=(f"DROP DATABASE {copying.database}",),
    )


def _facts(context: Context) -> Facts:
    """Seconds of each phase by either way, bytes and rows: what the forecast is made of."""
    result = {action.id: action.result for action in step_of(context.progress(), StepName.REHEARSAL).actions}
    ways = {}
    for kind in ("rehearsal", "trial"):
        if f"stream-{kind}" in result:
            ways["stream"] = _seconds(result, kind, {"stream": "stream_s"}, f"stream-{kind}")
        elif f"dump-{kind}" in result:
            ways["dump"] = {"dump": result[f"dump-{kind}"].get("seconds")}
            ways["dump"] |= _seconds(result, kind, {"restore": "restore_s"}, f"restore-{kind}")
    way = min(ways, key=lambda each: sum(float(str(value)) for value in ways[each].values()))
    dumped, compared = result.get("dump-rehearsal", {}), result["compare-rehearsal"]
    return {
        "way": way,
        "ways": {**ways},
        "seconds": ways[way],
        "size": context.size,
        "schema": context.schema,
        "clients": context.clients,
        "preflight": journaled(context.findings),
        "bytes": dumped.get("bytes"),
        "dump": dumped.get("folder") if context.spec.database.keep_dump else None,
        "sha256": dumped.get("sha256"),
        "comparison": compared.get("comparison"),
    }


def _seconds(result: Mapping[str, Mapping[str, Json]], kind: str, copied: dict[str, str], id: str) -> dict[str, Json]:
    return {
        **{phase: result[id].get(key) for phase, key in copied.items()},
        "analyze": result[id].get("analyze_s"),
        "compare": result[f"compare-{kind}"].get("compare_s"),
    }
