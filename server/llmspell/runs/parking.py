"""What a cast tree waits for, and when it may let go of everything meanwhile.

A run that waits for a person, or sleeps long, needs no process: once nothing
else is under way in the whole tree it is parked. Its scripts and tasks end,
its records stay, and it goes on by an answer or by the clock as a resumed run
does. So a wrong moment costs a repetition from the journal, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

GRACE_SECONDS = 0.25
"""How long nothing may move before a tree is parked; an answer within it finds all in place."""


class Tree:
    """Counts what the casts of one tree are busy with. Used from one event loop.

    Args:
        park: Called when the tree is to be parked, with the time at which it goes
            on by itself, or None. It may be called again when it did nothing.
    """

    def __init__(self, park: Callable[[float | None], None]) -> None:
        self._park: Callable[[float | None], None] | None = park
        self._busy = 0
        self._moves = 0
        self._waits: dict[object, float | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self) -> None:
        """Note that something is under way that needs this process; `leave` ends it."""
        self._busy += 1
        self._moves += 1

    def leave(self) -> None:
        """Note that something that was entered is over."""
        self._busy -= 1
        self._moves += 1
        if not self._busy and self._waits:
            self._look_soon()

    def busy(self) -> AbstractContextManager[None]:
        """Be busy meanwhile."""
        return self

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()

    @contextmanager
    def waits(self, until: float | None) -> Generator[None]:
        """Wait meanwhile for something that needs no process, until a Unix time at the latest."""
        token = object()
        self._waits[token] = until
        self._moves += 1
        self._look_soon()
        try:
            yield
        finally:
            self._waits.pop(token, None)
            self._moves += 1

    def stop(self) -> None:
        """Never park any more: the cast has ended."""
        self._waits.clear()
        self._park = None  # it leads back to the cast
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_soon(self) -> None:
        if self._timer is None:
            # Real time on purpose: a day that a test lets pass is no reason to hurry.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GRACE_SECONDS, self._look, self._moves)

    def _look(self, moves: int) -> None:
        self._timer = None
        if self._busy or not self._waits or self._park is None:
            return
        if moves != self._moves:
            self._look_soon()
            return
        due = [until for until in self._waits.values() if until is not None]
        self._park(min(due, default=None))
