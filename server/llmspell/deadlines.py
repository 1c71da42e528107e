"""Timeouts of one event loop, behind a single timer.

Nearly no timeout is ever reached, and `asyncio.timeout` sets and cancels a timer
for each: with every cast, that is a part of what the cast costs. Here the timer
is left as it is when a timeout is over; when it rings, it is set for the next.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadlines:
    """The timeouts of a loop that are under way."""

    __slots__ = ("_due", "_rings_at", "_timer", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: dict[Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    def add(self, timeout: Timeout, seconds: float) -> None:
        """Let a timeout expire in so many seconds."""
        due = self._due[timeout] = self.loop.time() + seconds
        if self._timer is None or due < self._rings_at:
            self._set(due)

    def remove(self, timeout: Timeout) -> None:
        """Let a timeout expire no more."""
        self._due.pop(timeout, None)

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = due
        self._timer = self.loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self.loop.time()
        for timeout in [timeout for timeout, due in self._due.items() if due <= now]:
            del self._due[timeout]
            timeout.expire()
        if self._due:
            self._set(min(self._due.values()))


class Timeout:
    """As `asyncio.timeout` with a number of seconds; entered once."""

    __slots__ = ("_cancelling", "_deadlines", "_has_expired", "_seconds", "_task")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._has_expired = False

    async def __aenter__(self) -> None:
        """Begin.

        Raises:
            RuntimeError: No task is running.
        """
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a timeout needs a task that it can end")
        self._cancelling = task.cancelling()
        self._deadlines.add(self, self._seconds)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End.

        Raises:
            TimeoutError: It took longer, and nobody else canceled the task.
        """
        self._deadlines.remove(self)
        task, self._task = self._task, None
        if not self._has_expired or task is None:
            return
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """End what runs in it: its time is over."""
        self._has_expired = True
        if self._task is not None:
            self._task.cancel()
