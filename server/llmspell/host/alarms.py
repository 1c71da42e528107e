"""Alarms: parked runs that go on by themselves at a time.

The wall clock decides, and it is looked at often: it may be set, and a machine
that was asleep must not sleep on.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from llmspell.clock import Clock

LOOK_SECONDS = 30.0
"""Longest time between two looks at the clock."""

_FORGOTTEN = 100


class Alarms:
    """Calls `ring(id)` for each alarm whose time has come.

    Args:
        ring: Called on the event loop; must not fail.
    """

    def __init__(self, clock: Clock, ring: Callable[[str], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def set(self, key: str, due: float) -> None:
        """Ring for `key` at a Unix time; an alarm it had before is forgotten."""
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def forget(self, key: str) -> None:
        """Ring no more for `key`."""
        self._due.pop(key, None)
        # What is forgotten stays in the heap until its time: of long sleeps that were cancelled
        # there may be any number.
        if len(self._heap) > 2 * len(self._due) + _FORGOTTEN:
            self._heap = [(due, key) for key, due in self._due.items()]
            heapq.heapify(self._heap)

    def next_due(self) -> float | None:
        """Return when the next alarm rings, or None."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    async def close(self) -> None:
        """Ring no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            due = self.next_due()
            now = self._clock.time()
            if due is not None and due <= now:
                key = heapq.heappop(self._heap)[1]
                del self._due[key]
                self._ring(key)
                await asyncio.sleep(0)  # a thousand at once must not hold up others
                continue
            try:
                async with self._clock.timeout(
                    None if due is None else min(due - now, LOOK_SECONDS)
                ):
                    await self._changed.wait()
            except TimeoutError:
                continue
