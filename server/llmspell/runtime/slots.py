"""Slots: how many scripts may compute at the same time, and who waits for one.

A script holds a slot while it computes and none while it waits for an effect,
so a cast that waits for a child never keeps the child waiting. What is under
way goes before what is new, until the new one has waited longer than anybody
and for more than a moment: few scripts that ask for thousands of effects would
keep it waiting for ever. A new script waits in a queue of bounded length, and
until there is room for a worker of its own.

Most scripts compute for less than a millisecond. More of them at once than there
are processors for are done no sooner, and empty each other's caches. So only so
many begin at once, and who comes then is patient for a moment.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from llmspell.runtime.workers import busy, closed

PATIENCE_SECONDS = 0.01
"""How long a script waits for a processor before it computes beside those that have them all."""


class Slots:
    """Belongs to the event loop it is first used in.

    Args:
        count: Scripts that may compute at the same time.
        prompt: Of these, how many begin at once; the others wait for `PATIENCE_SECONDS` at most.
            As many as may compute when None.
        queue: New scripts that may wait.
        reserve: Called before a new script is given its slot: sets room for it aside and
            returns True, or returns False; it is asked again at the next `wake`.
        unreserve: Gives that room back when the script did not come to use it.
    """

    def __init__(
        self,
        count: int,
        *,
        prompt: int | None = None,
        queue: int,
        reserve: Callable[[], bool],
        unreserve: Callable[[], None],
    ) -> None:
        self._count = count
        self._prompt = count if prompt is None else min(prompt, count)
        self._held: list[float] = []
        """Since when each slot is held, the longest first."""
        self._queue = queue
        self._reserve = reserve
        self._unreserve = unreserve
        self._under_way: deque[_Waiter] = deque()
        self._new: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    async def take(self, *, is_new: bool) -> float:
        """Return once there is a slot: what it is to be given back with.

        Args:
            is_new: Whether the script begins and nobody under way waits for it.

        Raises:
            LimitBusy: Too many new scripts wait already.
        """
        if self._is_closed:
            raise closed()
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        now = loop.time()
        is_full = is_new and len(self._new) >= self._queue
        # Whoever is under way waits only when no slot is free.
        if self._is_free(now, patient=not is_full) and (
            not is_new or (not self._new and self._reserve())
        ):
            self._held.append(now)
            return now
        if is_full:
            raise busy(
                f"{len(self._new)} casts wait for their turn, which is the limit",
                limit="limits.queue",
            )
        queue = self._new if is_new else self._under_way
        waiter = _Waiter(loop.create_future(), now + PATIENCE_SECONDS)
        queue.append(waiter)
        self._look_at(waiter.until)
        try:
            return await waiter.slot
        except BaseException:  # canceled, or closed: the slot it may have been given goes on
            slot = waiter.slot
            if waiter in queue:
                queue.remove(waiter)
            elif slot.done() and not slot.cancelled() and slot.exception() is None:
                if is_new:
                    self._unreserve()
                self.give_back(slot.result())
            raise

    def give_back(self, slot: float) -> None:
        """Give a slot back."""
        self._held.remove(slot)
        self.wake()

    def wake(self) -> None:
        """Let go on who can: a slot or room for a worker has become free."""
        under_way, new = self._under_way, self._new
        if not (under_way or new) or self._loop is None:
            return
        now = self._loop.time()
        has_room = True
        while under_way or new:
            is_new = not under_way or (
                has_room and bool(new) and new[0].until <= min(now, under_way[0].until)
            )
            queue = new if is_new else under_way
            waiter = queue[0]
            if waiter.slot.done():  # canceled, and not yet gone
                queue.popleft()
                continue
            if not self._is_free(now, patient=now < waiter.until):
                self._look_at(waiter.until)
                return
            if is_new and not self._reserve():
                has_room = False
                if not under_way:
                    return
                continue
            queue.popleft()
            self._held.append(now)
            waiter.slot.set_result(now)

    def close(self) -> None:
        """Refuse who waits, and who comes."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in (*self._under_way, *self._new):
            if not waiter.slot.done():
                waiter.slot.set_exception(closed())
        self._under_way.clear()
        self._new.clear()

    def _is_free(self, now: float, *, patient: bool) -> bool:
        """Return whether there is a slot for who is patient, or for who is not any more."""
        held = len(self._held)
        if held < self._prompt:
            return True
        if held >= self._count:
            return False
        # What has computed for long may go on for long: nobody waits for that.
        since = now - PATIENCE_SECONDS
        return not patient or held - bisect_right(self._held, since) < self._prompt

    def _look_at(self, time: float) -> None:
        """Look again when the patience of who waits is at its end."""
        if self._timer is None and self._loop is not None and len(self._held) < self._count:
            self._timer = self._loop.call_at(time, self._look)

    def _look(self) -> None:
        self._timer = None
        self.wake()


class _Waiter(NamedTuple):
    """Who waits, and until when it is patient."""

    slot: asyncio.Future[float]
    until: float
