"""One run of a plan: take the locks, settle what an earlier run left working, run the steps, let go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover import __version__
from switchover.children import ChildFailed, Children
from switchover.dns.authority import NoAuthority
from switchover.dns.providers import ProviderError
from switchover.engine.live import Live
from switchover.engine.runner import Outcome, Runner, Stop
from switchover.plan.decide import has_live_copy, may_run, replicates, step_of
from switchover.plan.file import Writer, load
from switchover.plan.journal import Draft, What
from switchover.plan.lock import RunLock, who_am_i
from switchover.plan.outline import StepName
from switchover.plan.progress import Passed, StepStatus, fold, touched
from switchover.postgres.connect import connect
from switchover.postgres.errors import PostgresError, Unreachable
from switchover.postgres.guard import RunRow, hold_advisory, read_run, write_run
from switchover.postgres.sessions import end_sessions
from switchover.steps import build, replicate
from switchover.steps.context import Context
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from psycopg import AsyncConnection

    from switchover.plan.progress import Progress

EXPECTED: tuple[type[Exception], ...] = (PostgresError, ProviderError, NoAuthority, ChildFailed, OSError)
"""What the world may do to us; worded by the adapters."""

SETTLED_S = 10.0
"""How long what an earlier run left working may take to end."""


class Refused(Exception):
    """The run may not start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended."""

    outcome: Outcome
    reason: str
    progress: Progress
    defect: Exception | None = None


async def run_plan(path: Path, *, through: StepName | None, yes: bool, echo: Callable[[str], None] | None) -> Ran:
    """Run the steps in order, through ``through`` or to the end, and stop at the first that does not finish.

    Raises PlanUnreadable, Locked, PlanUnwritable and PlanReplaced of the plan file.
    """
    async with _session(path, yes=yes, echo=echo) as (context, runner):
        try:
            outcome, reason = await _in_order(context, runner, through)
        except Refused as refused:
            outcome, reason = Outcome.NO, str(refused)
        except EXPECTED as error:
            outcome, reason = Outcome.NO, plain(str(error))
        return _end(runner, outcome, reason)


async def roll_back(path: Path, *, echo: Callable[[str], None] | None) -> Ran:
    """Undo or roll back, whichever the state allows; the caller has shown the preview and been told yes."""
    async with _session(path, yes=True, echo=echo) as (context, runner):
        try:
            outcome, reason = await _back(context, runner)
        except Refused as refused:
            outcome, reason = Outcome.NO, str(refused)
        except EXPECTED as error:
            outcome, reason = Outcome.UNKNOWN, plain(str(error))
        return _end(runner, outcome, reason)


def _end(runner: Runner, outcome: Outcome, reason: str) -> Ran:
    runner.journal.append(Draft("", "", What.ENDED, {"run": runner.live.run, "outcome": outcome, "reason": reason}))
    runner.live.tick("ended", outcome=outcome, reason=reason)
    return Ran(outcome, reason, runner.progress(), runner.defect)


@asynccontextmanager
async def _session(
    path: Path, *, yes: bool, echo: Callable[[str], None] | None
) -> AsyncIterator[tuple[Context, Runner]]:
    """Hold the plan's lock for one run, with its signals and its stream of ticks."""
    loaded = load(path)
    run_id = uuid.uuid4().hex[:8]
    lock = RunLock.take(path, run_id)
    live = Live(path.with_name(path.name + ".live"), run_id, echo)
    try:
        loaded = load(path)
        writer = Writer(path, loaded)
        if not fold(loaded.spec, loaded.entries).plan_id:
            plan_id = uuid.uuid4().hex
            writer.append(Draft("", "", What.CREATED, {"plan_id": plan_id, "version": __version__}))
        context = Context(
            path,
            loaded.spec,
            writer.entries,
            fold(loaded.spec, writer.entries).plan_id,
            run_id,
            Children((lock.fd,)),
        )
        live.open()
        with _signals() as stop, _heartbeat(live):
            try:
                yield context, Runner(loaded.spec, writer, live, stop, yes, EXPECTED)
            finally:
                await context.fence.release()
                await context.far_fence.release()
    finally:
        live.close()
        lock.release()


@contextlib.contextmanager
def _signals() -> Iterator[Stop]:
    """Ask for a stop on SIGINT and SIGTERM; a lost terminal (SIGHUP) is nobody's wish to stop."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.ask, sign.name)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield stop
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(sign)
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def _heartbeat(live: Live) -> Iterator[None]:
    """A tick at least every 5 s, so that a watcher can tell a slow action from a dead runner."""

    async def beat() -> None:
        while True:
            live.tick("alive")
            await asyncio.sleep(5)

    task = asyncio.get_running_loop().create_task(beat())
    try:
        yield
    finally:
        task.cancel()


async def _in_order(context: Context, runner: Runner, through: StepName | None) -> tuple[Outcome, str]:
    killed = _was_killed(runner.progress())
    epoch = _take_over(context, runner, through)
    try:
        await _settle(context)
    except Unreachable as error:
        return (Outcome.UNKNOWN if killed else Outcome.NO), str(error)
    async with _guard(context, runner, epoch):
        _refuse_other_method(context, runner.progress(), through)
        for name in _names(runner.progress(), through):
            progress = runner.progress()
            if step_of(progress, name).status is StepStatus.DONE:
                continue
            blocked = may_run(progress, name)
            if blocked:
                return Outcome.NO, f"{name} may not run: {blocked}"
            if name is StepName.FINISH and replicates(progress) and through is not StepName.FINISH:
                runner.yes = False  # a way back without loss is closed by who asks for just that
            outcome = await runner.run(build(name, context, runner))
            await _record(context, runner, epoch)
            if outcome is not Outcome.DONE:
                state = step_of(runner.progress(), name)
                return outcome, f"{name}: {state.why}"
    return Outcome.DONE, ""


async def _back(context: Context, runner: Runner) -> tuple[Outcome, str]:
    epoch = _take_over(context, runner, StepName.ROLLBACK)
    try:
        await _settle(context)
    except Unreachable:
        if runner.progress().passed is not Passed.NOT:
            raise
        return await _back_alone(context, runner)
    async with _guard(context, runner, epoch):
        progress = runner.progress()
        begun = progress.rollback is not None and progress.rollback.status not in (
            StepStatus.DONE,
            StepStatus.UNDONE,
        )
        cutover = step_of(progress, StepName.CUTOVER)
        if not begun and cutover.status is not StepStatus.DONE and progress.passed is not Passed.YES:
            for name in _undoable(progress):
                outcome = await runner.undo(build(name, context, runner), f"{who_am_i()} asked to go back", asked=True)
                await _record(context, runner, epoch)
                if outcome is not Outcome.NO:
                    return outcome, step_of(runner.progress(), name).why
        if runner.progress().passed is Passed.NOT and has_live_copy(runner.progress()):
            outcome, why = await _give_up(context, runner)
            await _record(context, runner, epoch)
            return outcome, why
        if runner.progress().passed is Passed.NOT:
            return Outcome.DONE, "nothing to go back from: users are on the old host"
        outcome = await runner.run(build(StepName.ROLLBACK, context, runner))
        await _record(context, runner, epoch)
        rollback = runner.progress().rollback
        return outcome, rollback.why if rollback else ""


async def _back_alone(context: Context, runner: Runner) -> tuple[Outcome, str]:
    """Go back while a server is away, before anybody wrote on the target: users are let in, the rest is named.

    What the other server has must go all the same: a slot that nobody reads fills its disk.
    """
    for name in _undoable(runner.progress()):
        await end_sessions(context.source, context.app_prefix, context.app, SETTLED_S)
        outcome = await runner.undo(build(name, context, runner), f"{who_am_i()} asked to go back", asked=True)
        return outcome, step_of(runner.progress(), name).why
    if not has_live_copy(runner.progress()):
        raise Refused("a server is away, and there is nothing to go back from: users are on the old host")
    return await _give_up(context, runner)


async def _give_up(context: Context, runner: Runner) -> tuple[Outcome, str]:
    """Remove the live copy and all that belongs to it."""
    step = replicate.build(context, give_up=True)
    outcome = await runner.undo(step, f"{who_am_i()} gave the live copy up", asked=True)
    return outcome, step_of(runner.progress(), StepName.REPLICATE).why


def _undoable(progress: Progress) -> list[StepName]:
    """The unfinished steps that have touched something, the latest first; a live copy is given up by its own path."""
    states = [step_of(progress, name) for name in (StepName.CUTOVER, StepName.REHEARSAL)]
    return [
        state.name
        for state in states
        if state.status is not StepStatus.DONE
        and any(touched(action) for action in state.actions)
        and not (state.name is StepName.CUTOVER and progress.rolled_back)
    ]


def _refuse_other_method(context: Context, progress: Progress, through: StepName | None) -> None:
    """Refuse a step that the method does not have, and a method that would leave a live copy behind."""
    if replicates(progress):
        return
    if through is StepName.REPLICATE:
        raise Refused('the step replicate is for method = "replicate"; the plan says "dump"')
    database = context.spec.database.model_copy(update={"method": "replicate"})
    if has_live_copy(fold(context.spec.model_copy(update={"database": database}), context.entries)):
        raise Refused(
            'there is still a live copy from method = "replicate": set the method back, and give it up with '
            "`switchover rollback`; nothing was changed"
        )


def _names(progress: Progress, through: StepName | None) -> list[StepName]:
    """The steps to run, in order; once the cutover has touched the world, nothing before it is run again."""
    names = [state.name for state in progress.steps]
    cutover = step_of(progress, StepName.CUTOVER)
    settled = cutover.put_back or progress.rolled_back
    if cutover.status is StepStatus.DONE or (any(touched(action) for action in cutover.actions) and not settled):
        names = names[names.index(StepName.CUTOVER) :]
    if through is not None:
        names = names[: names.index(through) + 1] if through in names else []
    return names


def _was_killed(progress: Progress) -> bool:
    return progress.run is not None and not progress.run.outcome


def _take_over(context: Context, runner: Runner, through: StepName | None) -> int:
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


async def _settle(context: Context) -> None:
    """End what an earlier run left working on either server, and wait until it is gone."""
    await asyncio.gather(
        *(end_sessions(db, context.app_prefix, context.app, SETTLED_S) for db in (context.source, context.target))
    )


@asynccontextmanager
async def _guard(context: Context, runner: Runner, epoch: int) -> AsyncIterator[None]:
    """Hold the second lock, where the truth is: advisory locks on both servers, and the row on the target.

    The target's lock lies in its maintenance database, since the target itself changes its name in the cutover.
    """
    held: list[AsyncConnection] = []
    try:
        for db in (context.source.named("postgres"), context.target.named("postgres")):
            held.append(await connect(db, context.app))
            await hold_advisory(held[-1], context.plan_id)
        await _refuse_stale_copy(context, runner)
        await _record(context, runner, epoch)
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


async def _record(context: Context, runner: Runner, epoch: int) -> None:
    last = runner.journal.entries[-1]
    await write_run(context.target, context.app, context.plan_id, RunRow(epoch, last.seq, last.chain, who_am_i(), ""))
