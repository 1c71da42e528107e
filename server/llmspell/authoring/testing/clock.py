"""The time of a test: it stands still, except that everybody who sleeps is woken in order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

START = 1_700_000_000.0
"""The time at which every test begins, in Unix seconds."""

_SETTLE_TURNS = 100
"""Turns of the event loop after which nothing more comes of what is done in this process."""


_Waiting: TypeAlias = "list[tuple[float, int, asyncio.Future[None]]]"
"""A heap: the time waited for, the order of coming, and who waits."""


class VirtualClock:
    """A clock whose time passes only while everything waits, and then at once.

    A sleep moves the time; a timeout does not, it ends what takes longer than the sleeps in it.
    What waits until a wall time is set aside meanwhile, so no timeout counts that.

    Args:
        idle: Returns once no script computes.
        is_busy: Whether one does.
    """

    def __init__(self, idle: Callable[[], Awaitable[None]], is_busy: Callable[[], bool]) -> None:
        self._idle = idle
        self._is_busy = is_busy
        self._now = START
        self._order = itertools.count()
        self._sleepers: _Waiting = []
        self._waiters: _Waiting = []
        self._alarms: _Waiting = []
        self._wall_alarms: _Waiting = []
        self._turning: asyncio.Task[None] | None = None

    def time(self) -> float:
        """Return the wall time in seconds since 1970, UTC, to the microsecond."""
        return round(self._now, 6)

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back unless the test sets it back."""
        return self._now

    def set(self, time: float) -> None:
        """Set the time, and wake whoever waits for an earlier one. Timeouts go on from there."""
        passed = time - self._now
        self._alarms = [(due + passed, order, alarm) for due, order, alarm in self._alarms]
        self._go_to(time)

    def _go_to(self, time: float) -> None:
        self._now = time
        for waiting in (self._alarms, self._wall_alarms, self._sleepers, self._waiters):
            while waiting and waiting[0][0] <= time:
                _wake(heapq.heappop(waiting)[2])

    async def sleep(self, seconds: float) -> None:
        """Return once the time is `seconds` later."""
        await self._sleep(self._sleepers, seconds)

    async def sleep_until(self, time: float) -> None:
        """Return once the time is `time`."""
        await self._sleep(self._waiters, time - self._now)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` once it took longer."""
        return self._timeout(self._alarms, seconds)

    def timeout_at(self, time: float) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` once the time is `time`."""
        return self._timeout(self._wall_alarms, time - self._now)

    async def _sleep(self, waiting: _Waiting, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = self._wait(waiting, seconds)
        if self._turning is None:
            self._turning = asyncio.get_running_loop().create_task(self._turn())
        await waiter

    def _wait(self, waiting: _Waiting, seconds: float) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(waiting, (self._now + seconds, next(self._order), waiter))
        return waiter

    async def _turn(self) -> None:
        """Go from one time that somebody waits for to the next, while anybody sleeps."""
        while (sleep := self._next()) is not None:
            await self._idle()
            for _ in range(_SETTLE_TURNS):
                await asyncio.sleep(0)
            if self._is_busy() or sleep != self._next():
                continue
            wait, alarm = _first(self._waiters), _first(self._wall_alarms)
            time = sleep if alarm is None else min(sleep, alarm)
            # Who is timed out before a sleep is over must be told first.
            limit = _first(self._alarms)
            if sleep == wait:
                self.set(max(self._now, time))
            else:
                self._go_to(max(self._now, time if limit is None else min(time, limit)))
        self._turning = None

    def _next(self) -> float | None:
        """Return the time at which the first sleeper is to be woken, or None."""
        times = [_first(self._sleepers), _first(self._waiters)]
        return min((time for time in times if time is not None), default=None)

    @asynccontextmanager
    async def _timeout(self, alarms: _Waiting, seconds: float | None) -> AsyncGenerator[None]:
        if seconds is None:
            yield
            return
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as scope:
            alarm = self._wait(alarms, seconds)

            def ring(done: asyncio.Future[None]) -> None:
                if not done.cancelled() and not scope.expired():
                    scope.reschedule(loop.time())

            alarm.add_done_callback(ring)
            try:
                yield
            finally:
                alarm.remove_done_callback(ring)
                alarm.cancel()


def _first(waiting: _Waiting) -> float | None:
    """Return the earliest time that somebody still waits for, or None."""
    while waiting and waiting[0][2].done():
        heapq.heappop(waiting)
    return waiting[0][0] if waiting else None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
