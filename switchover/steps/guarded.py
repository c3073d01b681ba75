"""What keeps two runs of one plan apart on the servers: locks, sessions of an earlier run, and how far it was."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from switchover import __version__
from switchover.engine.runner import Outcome
from switchover.plan.journal import Draft, What
from switchover.plan.lock import who_am_i
from switchover.postgres.connect import connect
from switchover.postgres.errors import PostgresError
from switchover.postgres.guard import RunRow, hold_advisory, read_run, write_run
from switchover.postgres.sessions import end_sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

    from switchover.engine.runner import Runner
    from switchover.plan.outline import StepName
    from switchover.plan.progress import Progress
    from switchover.steps.context import Context

SETTLED_S = 10.0
"""How long what an earlier run left working may take to end."""


class Refused(Exception):
    """The run may not start; the message says why and what to do."""


def was_killed(progress: Progress) -> bool:
    """Whether the last run did not live to say how it ended."""
    return progress.run is not None and not progress.run.outcome


def take_over(context: Context, runner: Runner, through: StepName | None) -> int:
    """Begin a run of its own number in the journal; the number."""
    epoch = runner.progress().epoch + 1
    runner.journal.append(
        Draft(
            "",
            "",
            What.RUN,
            {
                "run": context.run_id,
                "pid": os.getpid(),
                "epoch": epoch,
                "version": __version__,
                "through": through or "finish",
            },
        )
    )
    return epoch


async def settle(context: Context) -> None:
    """End what an earlier run left working on either server, and wait until it is gone."""
    await asyncio.gather(
        *(end_sessions(db, context.app_prefix, context.app, SETTLED_S) for db in (context.source, context.target))
    )


@asynccontextmanager
async def guarded(context: Context, runner: Runner, epoch: int) -> AsyncIterator[None]:
    """Hold the second lock, where the truth is: advisory locks on both servers, and the row on the target.

    The target's lock lies in its maintenance database, since the target itself changes its name in the cutover.
    """
    held: list[AsyncConnection] = []
    try:
        for db in (context.source.named("postgres"), context.target.named("postgres")):
            held.append(await connect(db, context.app))
            await hold_advisory(held[-1], context.plan_id)
        await _refuse_stale_copy(context, runner)
        await record(context, runner, epoch)
        yield
    finally:
        for connection in held:
            await connection.close()


async def _refuse_stale_copy(context: Context, runner: Runner) -> None:
    """Refuse when the target remembers entries of this plan that this copy of the file does not hold."""
    row = await read_run(context.target, context.app, context.plan_id)
    if row is None or row.head in {entry.chain for entry in runner.journal.entries}:
        return
    raise Refused(
        f"this copy of the plan is behind: {row.who} ran it to entry {row.seq} at {row.at}, and that entry is not in "
        "this file. Use that copy; nothing was changed"
    )


async def record(context: Context, runner: Runner, epoch: int, outcome: Outcome = Outcome.DONE) -> None:
    """Note on the target how far this plan is, for ``_refuse_stale_copy``.

    What did not end well has a reason of its own, which a server that is away now must not hide.
    """
    last = runner.journal.entries[-1]
    row = RunRow(epoch, last.seq, last.chain, who_am_i(), "")
    try:
        await write_run(context.target, context.app, context.plan_id, row)
    except PostgresError as error:
        if outcome is Outcome.DONE:
            raise
        runner.live.log(f"how far the plan is could not be noted on the target: {error}")
