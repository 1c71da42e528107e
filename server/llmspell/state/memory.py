"""The `memory` backend: a sorted store that lives and ends with its process.

For tests and throw-away servers. Every durability level means the same here:
visible at once.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from llmspell.errors import StateError
from llmspell.state.commits import limited_value, packed_key, require
from llmspell.state.keys import pack, prefix_range, scan_range, unpack
from llmspell.state.store import (
    Check,
    Delete,
    DeletePrefix,
    Durability,
    Entry,
    Family,
    Key,
    Put,
    Write,
)


class _Table:
    """One family: its entries by packed key, and those keys in order."""

    __slots__ = ("entries", "order")

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.order: list[bytes] = []

    def put(self, key: bytes, entry: Entry) -> None:
        if key not in self.entries:
            insort(self.order, key)
        self.entries[key] = entry

    def delete(self, low: bytes, high: bytes) -> None:
        first, last = self.span(low, high)
        for key in self.order[first:last]:
            del self.entries[key]
        del self.order[first:last]

    def span(self, low: bytes, high: bytes) -> tuple[int, int]:
        return bisect_left(self.order, low), bisect_left(self.order, high)


class MemoryStore:
    """A `Store` without a disk. What it holds is gone with it."""

    def __init__(self) -> None:
        self._tables = {family: _Table() for family in Family}
        self._version = 0
        self._closed = False

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return an empty store, as every backend is opened; nothing is read from `path`."""
        del path
        return cls()

    async def get(self, family: Family, key: Key) -> Entry | None:
        """Return the entry of `key`, or None when it is absent."""
        self._check_open()
        return self._tables[family].entries.get(pack(key))

    async def scan(
        self,
        family: Family,
        prefix: Key,
        *,
        after: Key | None = None,
        before: Key | None = None,
        limit: int = 1000,
        reverse: bool = False,
        partial: bool = False,
    ) -> Sequence[tuple[Key, Entry]]:
        """Return up to `limit` entries whose keys extend `prefix`; see `Store.scan`."""
        self._check_open()
        table = self._tables[family]
        first, last = table.span(*scan_range(prefix, after, before, partial=partial))
        count = min(limit, last - first)
        if count <= 0:
            return []
        keys = table.order[last - count : last] if reverse else table.order[first : first + count]
        if reverse:
            keys.reverse()
        return [(unpack(key), table.entries[key]) for key in keys]

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        """Apply `writes` all or none, in order, and return the version they got.

        Raises:
            StateConflict: A check does not hold; nothing was written.
            StateTooLarge: A key or value is over its limit; nothing was written.
        """
        self._check_open()
        version = self._version + 1
        # Everything that can fail comes before the first change.
        changes: list[Callable[[], None]] = []
        for write in writes:
            table = self._tables[write.family]
            match write:
                case Put(_, key, value):
                    entry = Entry(limited_value(value), version)
                    changes.append(functools.partial(table.put, packed_key(key), entry))
                case Delete(_, key):
                    low = packed_key(key)
                    changes.append(functools.partial(table.delete, low, low + b"\0"))
                case DeletePrefix(_, prefix):
                    changes.append(functools.partial(table.delete, *prefix_range(prefix)))
        for check in checks:
            held = self._tables[check.family].entries.get(pack(check.key))
            require(check, held.version if held else 0)
        for change in changes:
            change()
        if writes:
            self._version = version
        return self._version

    async def close(self) -> None:
        """Let go of everything. Closing twice is no error."""
        self._closed = True
        self._tables = {family: _Table() for family in Family}

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the store is closed")
