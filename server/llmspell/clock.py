"""The one clock: every deadline, expiry and schedule asks it, so a test can make a day pass."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Protocol

from llmspell.deadlines import Deadlines, Timeout

LOOK_SECONDS = 30.0
"""Longest time that is waited before the wall clock is looked at again."""

WOKEN_AT_ONCE = 16
"""Sleepers that are woken in one turn of the event loop: thousands may be due at the same time."""


class Clock(Protocol):
    """What the product knows of time."""

    def time(self) -> float:
        """Return the wall time in seconds since 1970, UTC, to the microsecond."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once when they are not positive."""
        ...

    async def sleep_until(self, time: float) -> None:
        """Return once the wall time is `time`, also when it is set meanwhile."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` when its body takes longer; None = never."""
        ...

    def timeout_at(self, time: float) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` once the wall time is `time`."""
        ...


class _Sleepers:
    """Those who sleep on one event loop."""

    __slots__ = ("_due", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: deque[asyncio.Future[None]] = deque()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`, once those are woken who were due before."""
        waiter: asyncio.Future[None] = self.loop.create_future()
        alarm = self.loop.call_later(seconds, self._ring, waiter)
        try:
            await waiter
        finally:
            alarm.cancel()

    def _ring(self, waiter: asyncio.Future[None]) -> None:
        self._due.append(waiter)
        if len(self._due) == 1:
            self.loop.call_soon(self._wake)

    def _wake(self) -> None:
        for _ in range(min(WOKEN_AT_ONCE, len(self._due))):
            waiter = self._due.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if self._due:
            self.loop.call_soon(self._wake)


class SystemClock:
    """The machine's own time."""

    def __init__(self) -> None:
        self._sleepers: _Sleepers | None = None
        self._deadlines: Deadlines | None = None

    def time(self) -> float:
        """Return the wall time in seconds since 1970, UTC, to the microsecond."""
        return time.time_ns() // 1000 / 1e6

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        if self._sleepers is None or self._sleepers.loop is not loop:
            self._sleepers = _Sleepers(loop)
        await self._sleepers.sleep(seconds)

    async def sleep_until(self, time: float) -> None:
        """Return once the wall time is `time`, or shortly after it was set to be later."""
        # Without a scope: thousands may sleep at once, and a canceled scope is a cycle.
        left = time - self.time()
        while True:  # not all at once: the clock may be set, and the machine may sleep
            await self.sleep(min(left, LOOK_SECONDS))
            left = time - self.time()
            if left <= 0:
                return

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` when its body takes longer; None = never."""
        if seconds is None:
            return nullcontext()
        loop = asyncio.get_running_loop()
        if self._deadlines is None or self._deadlines.loop is not loop:
            self._deadlines = Deadlines(loop)
        return Timeout(self._deadlines, seconds)

    @asynccontextmanager
    async def _timeout_at(self, time: float) -> AsyncGenerator[None]:
        loop = asyncio.get_running_loop()
        looking: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal looking
            left = time - self.time()
            if left > 0:  # not all at once: the clock may be set, and the machine may sleep
                looking = loop.call_later(min(left, LOOK_SECONDS), look)
            elif not scope.expired():
                scope.reschedule(loop.time())

        async with asyncio.timeout(None) as scope:
            look()
            try:
                yield
            finally:
                if looking is not None:
                    looking.cancel()

    def timeout_at(self, time: float) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` once the wall time is `time`."""
        return self._timeout_at(time)


class ManualClock:
    """A clock that stands still until `advance` is called; for tests of whatever waits."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._stepped = 0.0
        self._order = itertools.count()
        self._waiters: list[tuple[float, int, asyncio.Future[None]]] = []
        self._slept = asyncio.Event()

    def time(self) -> float:
        """Return the wall time in seconds since 1970, UTC, to the microsecond."""
        return round(self._now + self._stepped, 6)

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return self._now

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back. Nobody who sleeps is woken: that is other time.

        So it is where somebody sets a machine's clock, and where a machine was asleep.
        """
        self._stepped += seconds

    async def sleep(self, seconds: float) -> None:
        """Return once `advance` has gone past this moment plus `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._waiter(seconds)

    def _waiter(self, seconds: float) -> asyncio.Future[None]:
        """Return what is done once `advance` has gone past this moment plus `seconds`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (self._now + seconds, next(self._order), waiter))
        self._slept.set()
        return waiter

    async def sleep_until(self, time: float) -> None:
        """Return once `advance` has gone past `time`."""
        await self.sleep(time - self.time())

    async def sleeper(self, count: int = 1) -> None:
        """Return once so many sleep on this clock; a timeout counts as one."""
        while sum(not waiter.done() for _, _, waiter in self._waiters) < count:
            self._slept.clear()
            await self._slept.wait()

    @asynccontextmanager
    async def _timeout(self, seconds: float | None) -> AsyncGenerator[None]:
        if seconds is None:
            yield
            return
        loop = asyncio.get_running_loop()
        if seconds <= 0:
            async with asyncio.timeout(0):
                yield
            return
        async with asyncio.timeout(None) as scope:
            # Counted from now, not from when a task of its own would first run: the clock may be
            # moved before that.
            alarm = self._waiter(seconds)

            def ring(done: asyncio.Future[None]) -> None:
                if not done.cancelled() and not scope.expired():
                    scope.reschedule(loop.time())

            alarm.add_done_callback(ring)
            try:
                yield
            finally:
                alarm.remove_done_callback(ring)
                alarm.cancel()

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` once `advance` went past its end."""
        return self._timeout(seconds)

    def timeout_at(self, time: float) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `TimeoutError` once `advance` went past `time`."""
        return self._timeout(time - self.time())

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: wake every sleeper whose time has come, earliest first."""
        end = self._now + seconds
        while self._waiters and self._waiters[0][0] <= end:
            due, _, waiter = heapq.heappop(self._waiters)
            self._now = max(self._now, due)
            if not waiter.done():
                waiter.set_result(None)
            # Let the woken task run: it may sleep again before `end`.
            for _ in range(10):
                await asyncio.sleep(0)
        self._now = end
