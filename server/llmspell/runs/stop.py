"""Stopping what is at work: a child alone, and nothing in the middle of putting itself in order.

A child works in the task of its parent's effect. So that task is cancelled, and the
cancellation ends where the child does: whoever began it is told, and goes on. One that is
meant for the parent goes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")


async def unbroken(work: Coroutine[Any, Any, _T]) -> _T:
    """Do work to its end, and return what it returns.

    When whoever waits is cancelled meanwhile, it waits on, and is cancelled then: it is as if that
    had come later. So nothing of the work is under way any more when this is over.

    Raises:
        CancelledError: Whoever waits was cancelled, and the work went well.
    """
    task = asyncio.ensure_future(work)
    canceled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            canceled = error
    result = task.result()
    if canceled is not None:
        raise canceled
    return result


class Stop:
    """Stops what is done inside its `with` block, from elsewhere on the event loop."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._is_told = False
        self._waiters: list[asyncio.Future[None]] = []

    async def __call__(self) -> None:
        """Stop it, once however often it is asked for, and return when it is over."""
        if self._task is None:
            return  # it is over, or has not begun
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if not self._is_told:  # a second time would hit it while it puts things in order
            self._is_told = True
            self._task.cancel()
        await waiter

    def __enter__(self) -> Self:
        """Begin."""
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End what `stop` cancelled; a cancellation of another kind goes on."""
        task, self._task = self._task, None
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if not self._is_told or task is None:
            return False
        return task.uncancel() == 0 and isinstance(error, asyncio.CancelledError)
