"""Turns: how many casts of one spell may be under way at the same time (`concurrency`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from llmspell.errors import LimitBusy

RETRY_SECONDS = 1
"""What a caller is told to wait when too many wait already."""


class Turns:
    """Counts the casts of each spell that limits itself, and lets the others wait in order.

    Args:
        queue: Casts of one spell that may wait; more are refused.
    """

    def __init__(self, *, queue: int) -> None:
        self._queue = queue
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._limits: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def taken(self, spell: str, limit: int | None) -> AsyncGenerator[None]:
        """Hold a turn of `spell` meanwhile; without a limit there is nothing to wait for.

        Raises:
            LimitBusy: Too many casts of it wait already.
        """
        if limit is None:
            yield
            return
        if self._limits.get(spell) != limit:
            # Another version of the spell: casts under way finish under the old one's gate.
            self._gates[spell] = asyncio.Semaphore(limit)
            self._limits[spell] = limit
        gate = self._gates[spell]
        waiting = self._waiting.get(spell, 0)
        if gate.locked() and waiting >= self._queue:
            raise LimitBusy(
                f"{limit} casts of {spell!r} are under way and {waiting} wait",
                data={"retry_after": RETRY_SECONDS, "limit": "concurrency"},
            )
        self._waiting[spell] = waiting + 1
        try:
            await gate.acquire()
        finally:
            self._waiting[spell] -= 1
        try:
            yield
        finally:
            gate.release()
