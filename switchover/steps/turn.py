"""One change of the writing side: which side, which links, which fence, how much time, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchover.engine.action import ActionFailed
from switchover.plan.decide import step_of
from switchover.plan.outline import OPEN_TARGET, StepName
from switchover.plan.progress import touched
from switchover.steps.links import links, place_of

if TYPE_CHECKING:
    from switchover.plan.progress import ActionState
    from switchover.postgres.fence import Fence
    from switchover.postgres.replication.link import Link
    from switchover.postgres.scratch import Place
    from switchover.steps.context import Context
    from switchover.steps.fencing import Side


@dataclass(frozen=True, slots=True)
class Turn:
    """One change of the writing side: ``home`` is back to the old host."""

    context: Context
    home: bool = False

    @property
    def leaving(self) -> Side:
        """The side that is written until now."""
        return "target" if self.home else "source"

    @property
    def fence(self) -> Fence:
        return self.context.far_fence if self.home else self.context.fence

    @property
    def budget_s(self) -> float:
        return self.context.spec.replicate.budget.total_seconds()

    def left_s(self) -> float:
        return self.context.pause.left_s(self.budget_s)

    async def pair(self) -> tuple[Link, Link]:
        """The link that is followed until the turn, and the one from then on."""
        found = await links(self.context)
        return (found.back, found.ahead) if self.home else (found.ahead, found.back)

    async def over(self) -> bool:
        """Whether the names were exchanged: from then on it is only gone on with."""
        done: Place = "copy" if self.home else "swapped"
        return await place_of(self.context) == done

    def action(self, action_id: str) -> ActionState | None:
        """One action of this turn as the journal knows it; None before it was ever begun."""
        progress = self.context.progress()
        state = progress.rollback if self.home else step_of(progress, StepName.CUTOVER)
        return next((each for each in state.actions if each.id == action_id), None) if state is not None else None

    @property
    def paused(self) -> bool:
        """Whether writes are paused already, by this run or by one that was cut off: now every second counts."""
        fence = self.action(f"fence-{self.leaving}")
        return fence is not None and touched(fence)

    @property
    def exchanging(self) -> bool:
        """Whether the names may have been exchanged: the action that does it was begun."""
        exchange = self.action(self.exchange)
        return exchange is not None and touched(exchange)

    @property
    def exchange(self) -> str:
        """The id of the action that exchanges the names."""
        return "names-back" if self.home else OPEN_TARGET

    async def still_fenced(self) -> None:
        """Refuse to exchange the names when somebody may have written since the drain, or time is up."""
        db = (await links(self.context)).there if self.home else self.context.source
        if not (await self.fence.observe(db, self.context.app)).held:
            raise ActionFailed("the fence's locks are gone; somebody may have written since")
        if self.left_s() < 1:
            raise ActionFailed("the time that writes may be paused is used up")
        self.context.place = None
