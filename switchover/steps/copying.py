"""Dump, restore into a database of its own, compare: the same three actions in rehearsal and cutover."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.postgres.compare import Verdict as Sameness
from switchover.postgres.compare import compare
from switchover.postgres.copy import analyze, dump, dump_argv, restore, restore_argv
from switchover.postgres.guard import read_fact, write_fact
from switchover.postgres.programs import Tools
from switchover.postgres.scratch import create_copy, drop_copy, which

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.postgres.compare import Comparison
    from switchover.postgres.connect import Database
    from switchover.steps.context import Context

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

    async def apply(live: Live) -> Facts:
        await drop_copy(context.target, copying.database, context.plan_id, context.app)
        await create_copy(context.target, copying.database, context.plan_id, context.app)
        started = time.monotonic()
        await restore(
            copying.folder,
            copying.target,
            tools,
            on_progress=live.progress,
        )
        restored = time.monotonic()
        live.log("gathering statistics")
        await analyze(copying.target, context.app)
        await write_fact(copying.target, context.app, "copy", copying.stamp())
        return {
            "restore_s": round(restored - started, 3),
            "analyze_s": round(time.monotonic() - restored, 3),
        }

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        await drop_copy(context.target, copying.database, context.plan_id, context.app)
        return {"dropped": copying.database}

    return Action(
        f"restore-{copying.kind}",
        title,
        observe,
        apply,
        undo,
        does=(
            f"CREATE DATABASE {copying.database} TEMPLATE template0, with owner, encoding and locale of the target",
            " ".join(restore_argv(copying.folder.name, copying.database, jobs=database.jobs, bin=database.bin)),
            "ANALYZE",
        ),
        undoes=f"DROP DATABASE {copying.database}",
        deadline_s=DAY_S,
        interruptible=True,
        only_tidies=True,
    )


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
        )
        facts = comparison_fact(result)
        if result.verdict is not Sameness.SAME:
            raise ActionFailed(f"source and copy are not the same: {in_words(result)}")
        await write_fact(copying.target, context.app, "compared", {"stamp": copying.stamp(), "comparison": facts})
        return {"comparison": facts, "compare_s": round(time.monotonic() - started, 3)}

    return Action(
        f"compare-{copying.kind}",
        "compare every row, sequence and object of both",
        observe,
        apply,
        does=("count and two 64-bit sums over every row of every table, on both sides, under one snapshot each",),
        deadline_s=DAY_S,
        interruptible=True,
    )


def in_words(result: Comparison) -> str:
    """What differs, short enough for one line."""
    return "; ".join(result.differences[:8]) or str(result.verdict)


def comparison_fact(result: Comparison) -> dict[str, Json]:
    """A comparison for the journal."""
    return {
        "verdict": result.verdict.value,
        "tables": len(result.tables),
        "rows": sum(table.source_rows for table in result.tables),
        "sequences": result.sequences,
        "differing": list(result.differences[:20]),
    }
