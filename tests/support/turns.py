"""How often something happens in one turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager


class Turns:
    """Counts what happens between two of its own turns: at most two turns of the loop."""

    def __init__(self) -> None:
        self._number = 0
        self._counts = Counter[int]()

    def happens(self) -> None:
        """Note that it happens now."""
        self._counts[self._number] += 1

    @property
    def most(self) -> int:
        """How often it happened at most."""
        return max(self._counts.values(), default=0)

    @contextmanager
    def counted(self) -> Generator[None]:
        """Count meanwhile."""
        loop = asyncio.get_running_loop()

        def tick() -> None:
            nonlocal handle
            self._number += 1
            handle = loop.call_soon(tick)

        handle = loop.call_soon(tick)
        try:
            yield
        finally:
            handle.cancel()
