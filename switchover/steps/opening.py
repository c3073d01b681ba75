"""The target opens: the compared copy takes the target's name, or gives it back as long as nobody wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchover.engine.action import Action, ActionFailed, Seen
from switchover.engine.step import Verdict
from switchover.plan.outline import OPEN_TARGET
from switchover.plan.progress import Passed
from switchover.postgres.changes import changes
from switchover.postgres.compare import compare
from switchover.postgres.connect import connect
from switchover.postgres.guard import read_fact
from switchover.postgres.scratch import close_database, open_database, swap_back, swap_in, which
from switchover.postgres.sequences import read_sequences, set_sequences
from switchover.steps.copying import in_words, is_enough
from switchover.steps.fencing import mark_now, source_mark
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from switchover.engine.action import Facts
    from switchover.engine.live import Live
    from switchover.plan.journal import Json
    from switchover.postgres.changes import Changes
    from switchover.steps.context import Context
    from switchover.steps.copying import Copying

SHOWN = 20
"""Differences that are listed; of the others the number."""


def sequences_action(context: Context, copying: Copying) -> Action:
    """Every sequence by value and is_called, owned by a column or not."""

    async def observe() -> Seen:
        if await copying.opened():
            return Seen.done(opened=True)
        if await copying.place() != "copy":
            return Seen.todo()
        async with (
            await connect(context.source, context.app) as source,
            await connect(copying.target, context.app) as target,
        ):
            theirs, ours = await read_sequences(source), await read_sequences(target)
        return Seen.done(sequences=len(theirs)) if theirs == ours else Seen.todo(sequences=len(theirs))

    async def apply(live: Live) -> Facts:
        await set_sequences(context.source, copying.target, context.app)
        return {}

    return Action(
        "sequences",
        "set every sequence to the source's value",
        observe,
        apply,
        does=("setval(name, last_value, is_called) for every sequence, then read back",),
    )


async def refuse_changed(context: Context, copying: Copying, live: Live) -> None:
    """Compare once more when something ran on the source's server since the fence stood, which it must do still."""
    if await mark_now(context) != source_mark(context):
        live.log("something ran on the source's server since the fence: comparing once more")
        again = await compare(context.source, copying.target, context.app, on_progress=live.progress, views=False)
        if not is_enough(context, again):
            raise ActionFailed(f"the source was written to after the fence: {in_words(again)}")
    if not (await context.fence.observe(context.source, context.app)).held:
        raise ActionFailed("the fence's locks are gone: somebody may yet write on the source; run again")


def open_action(
    context: Context,
    copying: Copying,
    last_look: Callable[[Context, Copying, Live], Awaitable[None]] = refuse_changed,
) -> Action:
    """The point of no return may be passed from this action's intent on; ``last_look`` may still refuse it."""
    target, copy, aside = context.target, context.copy_name, context.aside_name

    async def observe() -> Seen:
        place = await which(target, copy, aside, context.app)
        if place == "mixed":
            return Seen.unknown(f"the names {copy}, {aside} and the target's do not fit together")
        if place != "swapped":
            return Seen.todo(place=place)
        # An undo that was cut short after it had looked leaves the target closed.
        closed = await read_fact(target, context.app, "closed") is not None
        return Seen.todo(place=place, closed=True) if closed else Seen.done(place=place)

    async def apply(live: Live) -> Facts:
        if await copying.opened():
            await open_database(target, context.app)
            return {"opened": "again"}
        await last_look(context, copying, live)
        await swap_in(target, copy, aside, context.app)
        return {}

    async def undo(before: Mapping[str, Json], live: Live) -> Facts:
        await swap_back(target, copy, aside, context.app)
        return {"place": await which(target, copy, aside, context.app)}

    return Action(
        OPEN_TARGET,
        "open the target: the copy takes its name",
        observe,
        apply,
        undo,
        does=(
            f"ALTER DATABASE target RENAME TO {aside}",
            f"ALTER DATABASE {copy} RENAME TO target",
            "in one transaction",
        ),
        undoes="the names go back, after proof that nothing was written",
        deadline_s=120,
    )


async def may_undo(context: Context, copying: Copying) -> Verdict:
    """Whether the cutover may still be undone: as long as nobody wrote on the target.

    The target is closed before it is looked at, and stays closed when the answer is yes.
    """
    if context.progress().passed is Passed.NOT or not await copying.opened():
        return Verdict(True, "the target was never open")
    await close_database(context.target, context.app, context.app_prefix)
    written = await written_since(context)
    if not written:
        return Verdict(True, "the target was closed and holds exactly what the source holds")
    await open_database(context.target, context.app)
    return Verdict(
        False,
        f"users have written on the target: {change_words(written)}",
        "run again to go forward, or `switchover rollback` to leave that behind",
    )


async def written_since(context: Context) -> Changes:
    """What the target has that the source, which the fence keeps as it was, has not."""
    return await changes(context.source, context.target, context.app)


def change_lines(written: Changes) -> list[str]:
    """The rows in words, table by table, then what else differs."""
    rows = [
        f"{each.table}: {each.inserted} inserted, {each.updated} updated, {each.deleted} deleted"
        for each in written.tables
    ]
    return [*rows, *written.beside]


def change_words(written: Changes) -> str:
    """The same in one line, short enough to be read."""
    lines = change_lines(written)
    more = f"; and {len(lines) - SHOWN:,} more" if lines[SHOWN:] else ""
    return plain("; ".join(lines[:SHOWN]), 2000) + more


def change_facts(written: Changes) -> Facts:
    """The same for the journal and the report."""
    rows: list[Json] = [
        {"table": each.table, "inserted": each.inserted, "updated": each.updated, "deleted": each.deleted}
        for each in written.tables
    ]
    if not written.beside:
        return {"changes": rows}
    kept: list[Json] = list(written.beside[:SHOWN])
    return {"changes": rows, "also": kept, "also_in_all": len(written.beside)}
