"""Work on both sides at once: the first failure ends the rest, and is what the caller gets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

A = TypeVar("A")
B = TypeVar("B")


async def both(one: Coroutine[object, object, A], other: Coroutine[object, object, B]) -> tuple[A, B]:
    """Run two at once."""
    tasks = asyncio.ensure_future(one), asyncio.ensure_future(other)
    await _finish(tasks)
    return tasks[0].result(), tasks[1].result()


async def all_of(works: Iterable[Coroutine[object, object, A]]) -> list[A]:
    """Run many at once; results in their order."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await _finish(tasks)
    return [task.result() for task in tasks]


async def _finish(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Wait for all, or for the first failure; none is left running, so none talks to a closed session."""
    waiting = list(tasks)
    try:
        await asyncio.gather(*waiting)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
