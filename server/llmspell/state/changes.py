"""What has changed lately, and who waits for it: the source of `Store.changes`.

It remembers keys and versions only; the newest state of a key is read when it
is told. Of family KV it remembers from the start; of any other from the first
time somebody asks, as most are never watched.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from typing import Final

from llmspell.errors import StateError
from llmspell.state.store import Family

REMEMBERED: Final = 20_000
"""Changes of a family that can be told to those who come back."""

MAX_TOLD: Final = 1000
"""Changes told at once, more only where one commit made more; the rest come next time."""


class _Ring:
    """The latest changes of a family, oldest first."""

    def __init__(self, version: int) -> None:
        self.floor = version
        """Everything after this version is remembered."""
        self.rows: deque[tuple[int, bytes]] = deque()

    def add(self, version: int, keys: Collection[bytes]) -> None:
        for key in keys:
            self.rows.append((version, key))
        while len(self.rows) > REMEMBERED:
            self.floor, _ = self.rows.popleft()

    def since(self, version: int, low: bytes, high: bytes) -> list[tuple[bytes, int]]:
        """Return the newest change of each key, in the order of versions."""
        newest: dict[bytes, int] = {}
        for changed, key in reversed(self.rows):
            if changed <= version:
                break
            if low <= key < high and key not in newest:
                newest[key] = changed
        return list(newest.items())[::-1]


class _Waiter:
    """One who waits for a change between two keys."""

    __slots__ = ("found", "high", "low")

    def __init__(self, low: bytes, high: bytes) -> None:
        self.low = low
        self.high = high
        self.found: asyncio.Future[int] = asyncio.get_running_loop().create_future()


class RecentChanges:
    """The latest changes of the families that are watched.

    Args:
        version: The last commit before the first that will be added.
    """

    def __init__(self, version: int) -> None:
        self._rings = {Family.KV: _Ring(version)}
        self._waiters: dict[Family, set[_Waiter]] = {}
        self._closed = False

    @property
    def families(self) -> Collection[Family]:
        """The families whose changes are to be added."""
        return self._rings

    def add(self, version: int, changed: Mapping[Family, Collection[bytes]]) -> None:
        """Remember the changed keys of a commit, and wake those who wait for one."""
        for family, keys in changed.items():
            self._rings[family].add(version, keys)
            for waiter in self._waiters.get(family, ()):
                if not waiter.found.done() and any(waiter.low <= key < waiter.high for key in keys):
                    waiter.found.set_result(version)

    def since(
        self, family: Family, low: bytes, high: bytes, *, version: int, last: int
    ) -> tuple[list[tuple[bytes, int]], int] | None:
        """Return `(changes, next)`: keys with versions, and what to go on from; None = resync.

        Args:
            family: Where to look.
            low: The first key.
            high: The first key no more.
            version: Changes after it are told.
            last: The version of the last commit.
        """
        ring = self._rings.setdefault(family, _Ring(last))
        if not ring.floor <= version <= last:
            return None
        found = ring.since(version, low, high)
        if len(found) <= MAX_TOLD:
            return found, last
        edge = found[MAX_TOLD - 1][1]
        return [(key, changed) for key, changed in found if changed <= edge], edge

    async def wait(self, family: Family, low: bytes, high: bytes) -> int:
        """Return the version of the next commit that changes a key of `low <= key < high`.

        Raises:
            StateError: The store was closed.
        """
        if self._closed:
            raise StateError("the store is closed")
        waiters = self._waiters.setdefault(family, set())
        waiter = _Waiter(low, high)
        waiters.add(waiter)
        try:
            return await waiter.found
        finally:
            waiters.discard(waiter)

    def close(self) -> None:
        """Fail everyone who waits."""
        self._closed = True
        for waiter in [each for waiters in self._waiters.values() for each in waiters]:
            if not waiter.found.done():
                waiter.found.set_exception(StateError("the store is closed"))
