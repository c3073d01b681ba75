"""One run of a plan from its start to its end: the plan's lock, signals, ticks, and what is said when it is over."""

from __future__ import annotations

import asyncio
import contextlib
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
from switchover.plan.file import Writer, load
from switchover.plan.journal import Draft, What
from switchover.plan.lock import RunLock
from switchover.plan.progress import fold
from switchover.postgres.errors import PostgresError
from switchover.steps.back import back
from switchover.steps.context import Context
from switchover.steps.forward import in_order
from switchover.steps.guarded import Refused
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from switchover.plan.outline import StepName
    from switchover.plan.progress import Progress
    from switchover.postgres.fence import Fence

EXPECTED: tuple[type[Exception], ...] = (PostgresError, ProviderError, NoAuthority, ChildFailed, OSError)
"""What the world may do to us; worded by the adapters."""


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
            outcome, reason = await in_order(context, runner, through)
        except Refused as refused:
            outcome, reason = Outcome.NO, str(refused)
        except EXPECTED as error:
            outcome, reason = Outcome.NO, plain(str(error))
        return _end(runner, outcome, reason)


async def roll_back(path: Path, *, echo: Callable[[str], None] | None) -> Ran:
    """Undo or roll back, whichever the state allows; the caller has shown the preview and been told yes."""
    async with _session(path, yes=True, echo=echo) as (context, runner):
        try:
            outcome, reason = await back(context, runner)
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
                for fence in (context.fence, context.far_fence):
                    await _release(fence, live)
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


async def _release(fence: Fence, live: Live) -> None:
    """Let the locks go, which they do also where the server is away; what the run has come to is said all the same."""
    try:
        await fence.release()
    except PostgresError as error:
        live.log(f"who waits for the fence's locks could not be ended: {error}")
