"""The loop: observe, intent, apply, prove; holds, deadlines, stops; undo in reverse order."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from switchover.engine.action import Action, ActionFailed, Facts, Seen, Waiting, World
from switchover.engine.step import Verdict
from switchover.plan.journal import Draft, What
from switchover.plan.outline import STEP
from switchover.plan.progress import ActionState, Folding, Progress, StepState, StepStatus, touched
from switchover.plan.spec import digest, subtree
from switchover.words import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from switchover.engine.live import Live
    from switchover.engine.step import Step
    from switchover.plan.journal import Entry, Json
    from switchover.plan.spec import Spec


class Outcome(StrEnum):
    """How a run ended; the values are the journal's words."""

    DONE = "done"
    NO = "no"
    NOT_YET = "not-yet"
    UNKNOWN = "unknown"


class Journal(Protocol):
    """Where the runner writes; raising from ``append`` stops the run before any further side effect."""

    @property
    def entries(self) -> Sequence[Entry]: ...
    def append(self, draft: Draft) -> Entry: ...


@dataclass(slots=True)
class Stop:
    """A request to stop at the next safe point, from a signal."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    signal: str = ""

    def ask(self, signal: str) -> None:
        self.signal = signal
        self.event.set()


class _Failed(Exception):
    """The step is over: the reason."""


class _Unknown(Exception):
    """A person must look: the reason."""


class _Stopped(Exception):
    """Stopped at a safe point."""


@dataclass(slots=True)
class Runner:
    """Runs and undoes steps; knows no PostgreSQL, DNS, HTTP or screen."""

    spec: Spec
    journal: Journal
    live: Live
    stop: Stop
    yes: bool = False
    """Say go to every hold that waits for a person's go."""
    expected: tuple[type[Exception], ...] = ()
    """Errors of the adapters, worded for the operator; anything else is named a defect, and undone all the same."""
    defect: Exception | None = None
    """The first error nobody expected, for the caller to show with its traceback."""
    _folding: Folding = field(init=False)

    def __post_init__(self) -> None:
        self._folding = Folding(self.spec)

    @property
    def _trouble(self) -> tuple[type[Exception], ...]:
        return (*self.expected, TimeoutError)

    def progress(self) -> Progress:
        """Where everything stands now."""
        return self._folding.progress(self.journal.entries)

    async def run(self, step: Step) -> Outcome:
        """Run one step as far as it goes: to its end, to a hold, or to a failure and its undo."""
        started = time.monotonic()
        attempt = self._begin(step)
        close = None
        try:
            if not self._begun(step):
                await self._look_at_gates(step)
                self._wait_for_go(step, attempt)
            if step.around is not None:
                close = await step.around()
            for action in step.actions:
                self._safe_point(step)
                await self._do(step, action)
            await self._complete(step, started)
        except Waiting as wait:
            return self._held(step, wait)
        except _Unknown as unknown:
            if step.undo_on_failure and self._begun(step) and self._may_turn_round(step):
                return await self._give_up(step, str(unknown))
            self._write(step, What.UNKNOWN, reason=str(unknown))
            return Outcome.UNKNOWN
        except _Stopped:
            self._write(step, What.STOPPED, signal=self.stop.signal)
            if step.undo_on_failure and self._begun(step):
                return await self._give_up(step, f"asked to stop by {self.stop.signal}")
            return Outcome.NOT_YET
        except _Failed as failure:
            return await self._give_up(step, str(failure))
        finally:
            if close is not None:
                await close()
        return Outcome.DONE

    async def undo(self, step: Step, reason: str, *, asked: bool) -> Outcome:
        """Undo, in reverse order, whatever the step may have done; a step that may not be undone stays."""
        if step.may_undo is not None:
            verdict = await self._ask(step.may_undo())
            if verdict.ok is not True:
                what = What.FAILED if verdict.ok is False else What.UNKNOWN
                self._write(step, what, reason=f"{reason}. Not undone: {verdict.evidence}. {verdict.fix}")
                return Outcome.NO if verdict.ok is False else Outcome.UNKNOWN
        debts: list[str] = []
        for action in reversed(step.actions):
            state = self._action(step, action.id)
            if action.undo is None or state is None or not touched(state):
                continue
            debt = await self._undo_one(step, action, state)
            if debt and not action.only_tidies:
                self._write(step, What.UNKNOWN, reason=f"{reason}. The undo stopped at {action.title}: {debt}")
                return Outcome.UNKNOWN
            if debt:
                debts.append(f"{action.title}: {debt}")
        left = f" Left behind: {'; '.join(debts)}." if debts else ""
        self._write(step, What.UNDONE, reason=f"{reason}. Everything was put back as it was.{left}", asked=asked)
        return Outcome.DONE

    def _begin(self, step: Step) -> int:
        state = self._state(step)
        unfinished = (
            state is not None
            and not state.put_back
            and state.status not in (StepStatus.DONE, StepStatus.STALE, StepStatus.UNDONE)
        )
        again = (
            unfinished
            and state is not None
            and (any(touched(action) for action in state.actions) or state.status is StepStatus.HELD)
        )
        attempt = (state.attempt if state is not None else 0) + (0 if again else 1)
        actions: list[Json] = [
            {"id": each.id, "title": each.title, "does": list(each.does), "undoes": each.undoes}
            for each in step.actions
        ]
        self._write(step, What.BEGIN, attempt=attempt, actions=actions)
        return attempt

    async def _look_at_gates(self, step: Step) -> None:
        if not step.gates:
            return
        verdicts = await asyncio.gather(*(self._ask(gate.look()) for gate in step.gates))
        gates: list[Json] = [
            {
                "name": gate.name,
                "ok": verdict.ok,
                "evidence": plain(verdict.evidence),
                "details": [plain(each) for each in verdict.details],
                "fix": verdict.fix,
            }
            for gate, verdict in zip(step.gates, verdicts, strict=True)
        ]
        self._write(step, What.GATES, gates=gates)
        closed = [
            f"{gate.name}: {plain(verdict.evidence)}" + (f" ({verdict.fix})" if verdict.fix else "")
            for gate, verdict in zip(step.gates, verdicts, strict=True)
            if verdict.ok is not True and verdict.waits is None
        ]
        if closed:
            raise _Failed("; ".join(closed))
        for verdict in verdicts:
            if verdict.ok is not True and verdict.waits is not None:
                raise verdict.waits

    async def _ask(self, look: Awaitable[Verdict]) -> Verdict:
        try:
            return await look
        except self.expected as error:
            return Verdict(None, plain(str(error)))

    def _wait_for_go(self, step: Step, attempt: int) -> None:
        if not step.go:
            return
        key = f"go:{step.name}:{attempt}"
        said = next((each for each in reversed(self.progress().decisions) if each.key == key), None)
        if said is None and self.yes:
            self._append(Draft(step.name, "", What.DECIDED, {"hold": key, "choice": "go", "note": "--yes"}))
        elif said is None:
            raise Waiting(key, step.go, "person")
        elif said.choice != "go":
            raise _Failed(f"{said.who} said {said.choice}" + (f": {said.note}" if said.note else ""))

    def _safe_point(self, step: Step) -> None:
        """Stop here when asked to; a cutover is never left half-way: before the target opens a stop undoes it."""
        progress = self.progress()
        state = self._state(step)
        if step.undo_on_failure and self._begun(step) and not self._may_turn_round(step):
            return
        abort = f"go:{step.name}:{state.attempt if state else 0}"
        said = next((each for each in reversed(progress.decisions) if each.key == abort), None)
        if said is not None and said.choice == "abort":
            raise _Failed(f"{said.who} said abort" + (f": {said.note}" if said.note else ""))
        if self.stop.event.is_set():
            raise _Stopped

    async def _do(self, step: Step, action: Action) -> None:
        self.live.step, self.live.action = step.name, action.id
        state = self._action(step, action.id)
        mine = state is not None and touched(state)
        seen = await self._observe(step, action)
        if seen.world is World.DONE:
            self._write(step, What.DONE if mine else What.ALREADY, action, proof=seen.facts)
            return
        self._write(step, What.INTENT, action, before=seen.facts)
        started = time.monotonic()
        try:
            result = await self._apply(action)
        except Waiting:
            raise
        except _Stopped:
            raise
        except Exception as error:  # undone first, then shown: a defect must not leave the source closed
            reason = self._reason(action, error)
            self._write(step, What.FAILED, action, reason=reason, seconds=_since(started))
            raise _Failed(f"{action.title}: {reason}") from None
        proof = await self._observe(step, action)
        if proof.world is not World.DONE:
            reason = f"done, but the world does not show it: {proof.reason or proof.facts}"
            self._write(step, What.FAILED, action, reason=plain(reason), seconds=_since(started))
            raise _Failed(f"{action.title}: {plain(reason)}")
        self._write(step, What.DONE, action, proof=proof.facts, result=result, seconds=_since(started))

    async def _apply(self, action: Action) -> Facts:
        async with asyncio.timeout(action.deadline_s):
            if not action.interruptible:
                return await action.apply(self.live)
            work = asyncio.ensure_future(action.apply(self.live))
            stop = asyncio.ensure_future(self.stop.event.wait())
            try:
                await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return work.result()
                raise _Stopped
            finally:
                for task in (work, stop):
                    task.cancel()
                await asyncio.gather(work, stop, return_exceptions=True)

    async def _observe(self, step: Step, action: Action) -> Seen:
        try:
            async with asyncio.timeout(max(action.deadline_s, 60)):
                seen = await action.observe()
        except self._trouble as error:
            seen = Seen.unknown(self._reason(action, error))
        if seen.world is World.UNKNOWN:
            self._write(step, What.UNKNOWN, action, reason=plain(seen.reason), seen=seen.facts)
            raise _Unknown(f"{action.title}: {plain(seen.reason)}")
        return seen

    async def _undo_one(self, step: Step, action: Action, state: ActionState) -> str:
        """Undo one action; returns why it could not be, empty when it was."""
        assert action.undo is not None  # the caller chose those that have one
        self.live.step, self.live.action = step.name, action.id
        self._write(step, What.UNDO, action)
        try:
            async with asyncio.timeout(max(action.deadline_s, 60)):
                proof = await action.undo(state.before, self.live)
        except Exception as error:  # every failure of an undo is named and shown to a person
            reason = self._reason(action, error)
            self._write(step, What.UNDO_FAILED, action, reason=reason)
            return reason
        self._write(step, What.UNDONE, action, proof=proof)
        return ""

    async def _give_up(self, step: Step, reason: str) -> Outcome:
        self._write(step, What.FAILED, reason=reason)
        if step.undo_on_failure and self._begun(step):
            undone = await self.undo(step, reason, asked=False)
            return Outcome.UNKNOWN if undone is Outcome.UNKNOWN else Outcome.NO
        return Outcome.NO

    def _held(self, step: Step, wait: Waiting) -> Outcome:
        until = {"until": wait.until.astimezone(UTC).isoformat(timespec="milliseconds")} if wait.until else {}
        self._write(step, What.HELD, key=wait.key, reason=wait.reason, kind=wait.kind, **until)
        return Outcome.NOT_YET

    async def _complete(self, step: Step, started: float) -> None:
        keys = STEP[step.name].relies_on if step.name in STEP else ()
        self._write(
            step,
            What.COMPLETE,
            digest=digest(self.spec, keys),
            relied=subtree(self.spec, keys),
            facts=step.facts(),
            seconds=_since(started),
        )

    def _reason(self, action: Action, error: Exception) -> str:
        match error:
            case TimeoutError():
                return f"ran past its deadline of {action.deadline_s:g} s and was ended"
            case ActionFailed():
                return plain(str(error))
            case _ if isinstance(error, self.expected):
                return plain(str(error))
            case _:
                self.defect = self.defect or error
                return f"a defect in switchover ({type(error).__name__}); --debug shows it"

    def _state(self, step: Step) -> StepState | None:
        progress = self.progress()
        states = (*progress.steps, progress.rollback) if progress.rollback else progress.steps
        found = next((state for state in states if state.name is step.name), None)
        return found if found is not None and found.attempt else None

    def _begun(self, step: Step) -> bool:
        """Whether the step's present attempt may have changed the world."""
        state = self._state(step)
        return state is not None and not state.put_back and any(touched(action) for action in state.actions)

    def _may_turn_round(self, step: Step) -> bool:
        """Whether the step has not come to the action from which on it only goes forward."""
        state = self._action(step, step.no_return)
        return state is None or not touched(state)

    def _action(self, step: Step, action_id: str) -> ActionState | None:
        state = self._state(step)
        return next((each for each in state.actions if each.id == action_id), None) if state else None

    def _write(self, step: Step, what: What, action: Action | None = None, /, **data: Json) -> None:
        self._append(Draft(step.name, action.id if action else "", what, data))

    def _append(self, draft: Draft) -> None:
        entry = self.journal.append(draft)
        self.live.tick("entry", seq=entry.seq, what=entry.what, step=entry.step, action=entry.action)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
