"""One copy of the source into a database of its own, by either way, and its comparison: in rehearsal and cutover."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.plan.decide import replicates
from switchover.postgres.compare import Verdict as Sameness
from switchover.postgres.compare import compare
from switchover.postgres.copy import analyze, dump, dump_argv, list_beside, restore, restore_argv
from switchover.postgres.guard import read_fact, write_fact
from switchover.postgres.programs import Tools
from switchover.postgres.replication.subscription import make_ready
from switchover.postgres.scratch import create_copy, drop_copy, which
from switchover.postgres.stream import resumable, stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.postgres.compare import Comparison
    from switchover.postgres.connect import Database
    from switchover.steps.context import Context

SHOWN, KEPT = 8, 20
"""Differences that are said, and that go into the journal; of the others the number."""

DAY_S = 86400.0
"""Deadline of a phase whose length only a rehearsal can tell."""


@dataclass(frozen=True, slots=True)
class Copying:
    """One copy of the source: where it goes, and the stamp that says what it is a copy of."""

    context: Context
    kind: str
    database: str
    stamp: Callable[[], str]
    """Equal stamps mean an equal source: the held snapshot in a rehearsal, the fenced write mark in the cutover."""

    @property
    def folder(self) -> Path:
        return self.context.folder / f"dump-{self.kind}"

    @property
    def manifest(self) -> Path:
        return self.context.folder / f"dump-{self.kind}.json"

    @property
    def target(self) -> Database:
        return self.context.target.named(self.database)

    def dumped(self) -> dict[str, Json] | None:
        """The manifest of a complete dump of this very source; None when there is none."""
        if not self.manifest.exists() or not self.folder.is_dir():
            return None
        said: dict[str, Json] = json.loads(self.manifest.read_text())
        return said if said.get("stamp") == self.stamp() else None

    async def place(self) -> str:
        """Where the copy is: "copy", "swapped" (it already bears the target's name), "none" or "mixed"."""
        return await which(self.context.target, self.database, self.context.aside_name, self.context.app)

    async def opened(self) -> bool:
        """Whether this copy has already taken the target's name, so that nothing before that is done again."""
        return self.kind == "final" and await self.place() == "swapped"


def copy_actions(copying: Copying, way: str, *, where: str) -> tuple[Action, ...]:
    """The actions that fill the copy, by way of files or from server to server."""
    if way == "stream":
        return (stream_action(copying, title=f"stream the source {where}"),)
    return dump_action(copying, title="dump the source"), restore_action(copying, title=f"restore it {where}")


def dump_action(copying: Copying, *, title: str) -> Action:
    context = copying.context
    database = context.spec.database
    tools = Tools(database.jobs, database.bin, context.app, context.children)

    async def observe() -> Seen:
        if await copying.opened():
            return Seen.done(opened=True)
        said = copying.dumped()
        return Seen.done(**said) if said is not None else Seen.todo(folder=copying.folder.name)

    async def apply(live: Live) -> Facts:
        copying.manifest.unlink(missing_ok=True)
        done = await dump(
            context.source,
            copying.folder,
            tools,
            snapshot=context.snapshot_name,
            on_progress=live.progress,
        )
        said: Facts = {
            "stamp": copying.stamp(),
            "bytes": done.bytes,
            "seconds": round(done.seconds, 3),
            "sha256": done.sha256,
            "tables": done.tables,
            "client": done.client,
            "folder": copying.folder.name,
        }
        half = copying.manifest.with_suffix(".half")
        half.touch(mode=0o600)
        half.write_text(json.dumps(said))
        half.replace(copying.manifest)
        return said

    return Action(
        f"dump-{copying.kind}",
        title,
        observe,
        apply,
        does=(" ".join(dump_argv(copying.folder.name, jobs=database.jobs, bin=database.bin, snapshot=None)),),
        deadline_s=DAY_S,
        interruptible=True,
    )


def restore_action(copying: Copying, *, title: str) -> Action:
    context = copying.context
    database = context.spec.database
    tools = Tools(database.jobs, database.bin, context.app, context.children)

    async def apply(live: Live) -> Facts:
        await _make_empty(copying)
        started = time.monotonic()
        await restore(copying.folder, copying.target, tools, on_progress=live.progress)
        return {"restore_s": round(time.monotonic() - started, 3), "analyze_s": await _complete(copying, live)}

    restores = " ".join(
        restore_argv(
            copying.folder.name,
            copying.database,
            jobs=database.jobs,
            bin=database.bin,
            listed=list_beside(copying.folder).name,
        )
    )
    return _filling(copying, f"restore-{copying.kind}", title, apply, restores)


def stream_action(copying: Copying, *, title: str) -> Action:
    context = copying.context
    database = context.spec.database
    tools = Tools(database.jobs, database.bin, context.app, context.children)

    async def apply(live: Live) -> Facts:
        stamp = copying.stamp()
        if await copying.place() != "copy" or not await resumable(copying.target, context.app, stamp):
            await _make_empty(copying)
        done = await stream(
            context.source,
            copying.target,
            context.folder / f"stream-{copying.kind}",
            tools,
            snapshot=context.snapshot_name,
            stamp=stamp,
            on_progress=live.progress,
        )
        analyzed = await _complete(copying, live)
        return {"stream_s": round(done.seconds, 3), "analyze_s": analyzed, "tables": done.tables, "kept": done.kept}

    return _filling(copying, f"stream-{copying.kind}", title, apply, *STREAMS)


STREAMS = (
    "pg_dump of the schema | pg_restore",
    "psql COPY … TO STDOUT | psql COPY … FROM STDIN for each large table, pg_dump | pg_restore for the small ones",
    "pg_restore of each table's indexes and keys once it is full, foreign keys last",
)


def _filling(copying: Copying, id: str, title: str, apply: Callable[[Live], Awaitable[Facts]], *how: str) -> Action:
    """An action that makes the copy and fills it; its undo drops it."""
    context = copying.context

    async def observe() -> Seen:
        place = await copying.place()
        if place == "swapped" and copying.kind == "final":
            return Seen.done(opened=True)
        if place in ("none", "swapped"):
            return Seen.todo(place=place)
        if place == "mixed":
            return Seen.unknown(f"databases named {copying.database} and {context.aside_name} do not fit together")
        stamp = await read_fact(copying.target, context.app, "copy")
        facts: Facts = {"database": copying.database, "place": place}
        return Seen.done(**facts) if stamp == copying.stamp() else Seen.todo(**facts)

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        await drop_copy(context.target, copying.database, context.plan_id, context.app)
        return {"dropped": copying.database}

    made = f"CREATE DATABASE {copying.database} TEMPLATE template0, with owner, encoding and locale of the target"
    return Action(
        id,
        title,
        observe,
        apply,
        undo,
        does=(made, *how, "ANALYZE"),
        undoes=f"DROP DATABASE {copying.database}",
        deadline_s=DAY_S,
        interruptible=True,
        only_tidies=True,
    )


async def _make_empty(copying: Copying) -> None:
    context = copying.context
    await drop_copy(context.target, copying.database, context.plan_id, context.app)
    await create_copy(context.target, copying.database, context.plan_id, context.app)
    if replicates(context.progress()):
        await make_ready(copying.target, context.app)


async def _complete(copying: Copying, live: Live) -> float:
    """Gather statistics and note in the copy what it is a copy of; seconds."""
    started = time.monotonic()
    live.log("gathering statistics")
    await analyze(copying.target, copying.context.app, copying.context.spec.database.jobs)
    await write_fact(copying.target, copying.context.app, "copy", copying.stamp())
    return round(time.monotonic() - started, 3)


def compare_action(copying: Copying, *, sequences: bool) -> Action:
    context = copying.context

    async def observe() -> Seen:
        place = await copying.place()
        if place == "swapped" and copying.kind == "final":
            return Seen.done(opened=True)
        if place != "copy":
            return Seen.todo(place=place)
        said = await read_fact(copying.target, context.app, "compared")
        if isinstance(said, dict) and said.get("stamp") == copying.stamp():
            return Seen.done(comparison=said["comparison"])
        return Seen.todo()

    async def apply(live: Live) -> Facts:
        started = time.monotonic()
        result = await compare(
            context.source,
            copying.target,
            context.app,
            on_progress=live.progress,
            source_snapshot=context.snapshot_name,
            sequences=sequences,
            views=False,
            jobs=context.spec.database.jobs,
        )
        facts = comparison_fact(result)
        if not is_enough(context, result):
            accepted = " and ".join(f'"{each}"' for each in sorted(result.unseen - context.spec.database.accept.keys()))
            fix = f"; accept {accepted} to go on without" if accepted and result.verdict is Sameness.INCOMPLETE else ""
            raise ActionFailed(f"source and copy are not the same: {in_words(result)}{fix}")
        await write_fact(copying.target, context.app, "compared", {"stamp": copying.stamp(), "comparison": facts})
        return {"comparison": facts, "compare_s": round(time.monotonic() - started, 3)}

    return Action(
        f"compare-{copying.kind}",
        "compare every row, sequence and object of both",
        observe,
        apply,
        does=(
            "count and the sum of 64-bit hashes of every row of every table, on both sides, under one snapshot each",
            "materialized views, which the copy makes anew, by definition",
        ),
        deadline_s=DAY_S,
        interruptible=True,
    )


def is_enough(context: Context, result: Comparison) -> bool:
    """Whether one may go on: the same, or the same but for what was accepted as not being looked at."""
    left_out = result.verdict is Sameness.INCOMPLETE and result.unseen <= context.spec.database.accept.keys()
    return result.verdict is Sameness.SAME or left_out


def in_words(result: Comparison) -> str:
    """What differs, short enough for one line."""
    more = f"; and {len(result.differences) - SHOWN:,} more" if result.differences[SHOWN:] else ""
    return ("; ".join(result.differences[:SHOWN]) or str(result.verdict)) + more


def comparison_fact(result: Comparison) -> dict[str, Json]:
    """A comparison for the journal."""
    return {
        "verdict": result.verdict.value,
        "tables": len(result.tables),
        "rows": sum(table.source_rows for table in result.tables),
        "sequences": result.sequences,
        "differing": list(result.differences[:KEPT]),
        "differing_in_all": len(result.differences),
    }
