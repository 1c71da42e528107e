"""A host on a real store whose chosen commits are refused, or held, as on a bad day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from llmspell.clock import Clock, SystemClock
from llmspell.errors import StateDiskFull, StateError
from llmspell.host.building import load_limits, make_engine, make_models
from llmspell.host.host import Host
from llmspell.host.spellbook import Spellbook
from llmspell.state.memory import MemoryStore
from llmspell.state.store import Check, CheckRange, Durability, Entry, Family, Key, Put, Write
from tests.support.hosts import project, write_spells

Chooses = Callable[[Sequence[Write]], bool]


class FailingStore(MemoryStore):
    """A memory store that refuses or holds the commits that are chosen."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.refuses: Chooses | None = None
        """Which commits are refused, as by a full disk."""
        self.loses: Chooses | None = None
        """Which commits are written and fail all the same, as by a sync that failed."""
        self.unread: Family | None = None
        """What cannot be read, as on a disk that does not answer."""
        self._holds: Chooses | None = None
        self.refused = asyncio.Event()
        """Set by what was refused, lost or could not be read."""
        self.held = asyncio.Event()
        self._gate = asyncio.Event()

    def refuse_once(self, chooses: Chooses) -> None:
        """Refuse the next commit that is chosen, and none after it."""

        def once(writes: Sequence[Write]) -> bool:
            if not chooses(writes):
                return False
            self.refuses = None
            return True

        self.refuses = once

    def lose_once(self, chooses: Chooses) -> None:
        """Write the next commit that is chosen and let it fail, and none after it."""

        def once(writes: Sequence[Write]) -> bool:
            if not chooses(writes):
                return False
            self.loses = None
            return True

        self.loses = once

    def hold_one(self, chooses: Chooses) -> None:
        """Let the next commit that is chosen take until `let_go` to be durable, once written."""
        self._holds = chooses

    def let_go(self) -> None:
        """Hold no commit any more."""
        self._holds = None
        self._gate.set()

    async def get(self, family: Family, key: Key) -> Entry | None:
        if family is self.unread:
            self.refused.set()
            raise StateError("the disk does not answer")
        return await super().get(family, key)

    async def scan(self, family: Family, prefix: Key, **bounds: Any) -> Sequence[tuple[Key, Entry]]:
        if family is self.unread:
            self.refused.set()
            raise StateError("the disk does not answer")
        return await super().scan(family, prefix, **bounds)

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check | CheckRange] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        if self.refuses is not None and self.refuses(writes):
            self.refused.set()
            raise StateDiskFull("the disk is full")
        version = await super().commit(writes, checks=checks, durability=durability)
        if self.loses is not None and self.loses(writes):
            self.refused.set()
            raise StateError("written, but not made durable")
        if self._holds is not None and self._holds(writes):
            self._holds = None
            self.held.set()
            await self._gate.wait()
        return version


def everything(writes: Sequence[Write]) -> bool:
    """Choose every commit."""
    return bool(writes)


def saves(writes: Sequence[Write]) -> bool:
    """Choose the commits that save a run."""
    return any(isinstance(write, Put) and write.family is Family.RUN for write in writes)


def saying(text: bytes, family: Family) -> Chooses:
    """Return what chooses the commits that write a value with this text into a family."""

    def chooses(writes: Sequence[Write]) -> bool:
        return any(
            isinstance(write, Put) and write.family is family and text in write.value
            for write in writes
        )

    return chooses


@asynccontextmanager
async def failing_host(
    root: Path, spells: Mapping[str, str], *, clock: Clock | None = None, **settings: str
) -> AsyncGenerator[tuple[Host, FailingStore]]:
    """Open a host on a project of these spells, with the store it works on."""
    write_spells(root, spells)
    opened = project(root, **settings)
    clock = clock or SystemClock()
    store = FailingStore(clock=clock)
    engine = make_engine(opened)
    book = Spellbook(opened, engine, load_limits(opened))
    host = Host(opened, store, engine, make_models(opened, clock), book, clock)
    try:
        assert not (await host.reload()).problems
        yield host, store
    finally:
        store.refuses = store.loses = store.unread = None
        store.let_go()
        await host.close()
