"""Slots: how many scripts may compute at the same time, and who waits for one.

A script holds a slot while it computes and none while it waits for an effect,
so a cast that waits for a child never keeps the child waiting. What is under
way goes before what is new: a new script waits in a queue of bounded length,
and until there is room for a worker of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from llmspell.errors import LimitBusy

_RETRY_SECONDS = 1


class Slots:
    """Belongs to the event loop it is first used in.

    Args:
        count: Scripts that may compute at the same time.
        queue: New scripts that may wait.
        reserve: Called before a new script is given its slot: sets room for it aside and
            returns True, or returns False; it is asked again at the next `wake`.
        unreserve: Gives that room back when the script did not come to use it.
    """

    def __init__(
        self,
        count: int,
        *,
        queue: int,
        reserve: Callable[[], bool],
        unreserve: Callable[[], None],
    ) -> None:
        self._free = count
        self._queue = queue
        self._reserve = reserve
        self._unreserve = unreserve
        self._under_way: deque[asyncio.Future[None]] = deque()
        self._new: deque[asyncio.Future[None]] = deque()
        self._is_closed = False

    async def take(self, *, is_new: bool) -> None:
        """Return once there is a slot.

        Args:
            is_new: Whether the script begins and nobody under way waits for it.

        Raises:
            LimitBusy: Too many new scripts wait already.
        """
        if self._is_closed:
            raise LimitBusy("the script engine is closed", hint="")
        # Whoever is under way waits only when no slot is free.
        if self._free and (not is_new or (not self._new and self._reserve())):
            self._free -= 1
            return
        if is_new and len(self._new) >= self._queue:
            raise LimitBusy(
                f"{len(self._new)} casts wait for their turn, which is the limit",
                data={"retry_after": _RETRY_SECONDS, "limit": "limits.queue"},
            )
        queue = self._new if is_new else self._under_way
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter in queue:
                queue.remove(waiter)
            elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                if is_new:
                    self._unreserve()
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a slot back."""
        self._free += 1
        self.wake()

    def wake(self) -> None:
        """Let go on who can: a slot or room for a worker has become free."""
        while self._free:
            if _has_waiter(self._under_way):
                waiter = self._under_way.popleft()
            elif _has_waiter(self._new) and self._reserve():
                waiter = self._new.popleft()
            else:
                return
            self._free -= 1
            waiter.set_result(None)

    def close(self) -> None:
        """Refuse who waits, and who comes."""
        self._is_closed = True
        for waiter in (*self._under_way, *self._new):
            if not waiter.done():
                waiter.set_exception(LimitBusy("the script engine is closed", hint=""))
        self._under_way.clear()
        self._new.clear()


def _has_waiter(queue: deque[asyncio.Future[None]]) -> bool:
    while queue and queue[0].done():  # canceled, and not yet gone
        queue.popleft()
    return bool(queue)
