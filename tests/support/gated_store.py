"""A real store with a gate: commits wait while it is shut, and may be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmspell.clock import Clock
from llmspell.errors import StateDiskFull
from llmspell.state.memory import MemoryStore
from llmspell.state.store import Check, CheckRange, Durability, Write


class GatedStore(MemoryStore):
    """A memory store whose commits can be held, refused and counted."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.commits: list[tuple[tuple[Write, ...], Durability]] = []
        """What was written, commit by commit."""
        self.is_full = False
        """Whether commits are refused, as on a full disk."""
        self._gate = asyncio.Event()
        self._gate.set()
        self._synced = asyncio.Event()
        self._synced.set()
        self._arrived = asyncio.Event()
        self._changed = asyncio.Condition()
        self._refused = asyncio.Event()

    def shut(self) -> None:
        """Hold every commit from now on, before anything of it is written."""
        self._gate.clear()
        self._arrived.clear()

    def hold_syncs(self) -> None:
        """Hold every commit from now on once it is written, as if its sync took long."""
        self._synced.clear()
        self._arrived.clear()

    def open_gate(self) -> None:
        """Let the held commits go on, and all later ones."""
        self._gate.set()
        self._synced.set()

    async def arrival(self) -> None:
        """Return once a commit waits at the gate, or for its sync."""
        await self._arrived.wait()

    async def written(self, count: int) -> None:
        """Return once there have been `count` commits."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.commits) >= count)

    async def refusal(self) -> None:
        """Return once a commit was refused."""
        await self._refused.wait()

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check | CheckRange] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        if not self._gate.is_set():
            self._arrived.set()
            await self._gate.wait()
        if self.is_full:
            self._refused.set()
            raise StateDiskFull("the disk is full")
        version = await super().commit(writes, checks=checks, durability=durability)
        self.commits.append((tuple(writes), durability))
        async with self._changed:
            self._changed.notify_all()
        if not self._synced.is_set():
            self._arrived.set()
            await self._synced.wait()
        return version
