"""How fast crowds of effects are begun and ended: a few in each turn of the event loop.

A script may ask for thousands of effects at once. Each is begun in a moment, and
all of them would hold everybody else up. So the crowds of all casts take turns: one
of them goes on in each turn of the loop, by `AT_ONCE` effects. It says nothing of
how many may be under way, which limits do, and it holds up no cast that asks for few.
"""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE = 16
"""Effects that are begun, or ended, in one go."""


class Pace:
    """Lets whoever has more to do than `AT_ONCE` go on, one in each turn of the event loop.

    Belongs to the event loop it is first used in.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_going = False

    async def turn(self) -> None:
        """Return when it is the caller's turn, in the order in which they came."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiting.append(waiter)
        if not self._is_going:
            self._is_going = True
            loop.call_soon(self._next, loop)
        await waiter

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # else it was canceled
                waiter.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._is_going = False
