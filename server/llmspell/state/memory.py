"""The `memory` backend: a sorted store that lives and ends with its process.

For tests and throw-away servers. Every durability level means the same here:
visible at once.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from llmspell.clock import Clock, SystemClock
from llmspell.errors import StateError
from llmspell.state.rows import Range, RowsView, RowWrites
from llmspell.state.store import Family, Quotas
from llmspell.state.versioned import VersionedStore


class _Table:
    """One family: its rows by key, and the keys in order."""

    __slots__ = ("order", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.order: list[bytes] = []

    def write(self, key: bytes, stored: bytes | None) -> None:
        if stored is not None:
            if key not in self.rows:
                insort(self.order, key)
            self.rows[key] = stored
        elif self.rows.pop(key, None) is not None:
            del self.order[bisect_left(self.order, key)]

    def keys(self, low: bytes, high: bytes) -> list[bytes]:
        return self.order[bisect_left(self.order, low) : bisect_left(self.order, high)]


class _View:
    """The rows as they were: those of now, and what was in place of those written since."""

    def __init__(self, tables: dict[Family, _Table], views: weakref.WeakSet[_View]) -> None:
        self._tables = tables
        self._views = views
        views.add(self)
        self._before: dict[Family, dict[bytes, bytes | None]] = {family: {} for family in Family}
        self._closed = False

    def keep(self, family: Family, key: bytes) -> None:
        """Remember a row that is about to be written."""
        self._before[family].setdefault(key, self._tables[family].rows.get(key))

    def pin(self, family: Family) -> None:
        """Do nothing: the tables are only read where they are written."""

    def get(self, family: Family, key: bytes) -> bytes | None:
        self._check_open()
        before = self._before[family]
        return before[key] if key in before else self._tables[family].rows.get(key)

    def scan(
        self, family: Family, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        self._check_open()
        keys = set(self._tables[family].keys(low, high))
        keys.update(key for key in self._before[family] if low <= key < high)
        for key in sorted(keys, reverse=reverse):
            stored = self.get(family, key)
            if stored is not None:
                yield key, stored

    def close(self) -> None:
        self._closed = True
        self._views.discard(self)

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the view is closed")


class _MemoryRows:
    """The `Rows` of a memory store."""

    def __init__(self) -> None:
        self._tables = {family: _Table() for family in Family}
        self._views: weakref.WeakSet[_View] = weakref.WeakSet()

    def get(self, family: Family, key: bytes) -> bytes | None:
        return self._tables[family].rows.get(key)

    def scan(
        self, family: Family, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        table = self._tables[family]
        keys = table.keys(low, high)
        return ((key, table.rows[key]) for key in (reversed(keys) if reverse else keys))

    def view(self) -> RowsView:
        return _View(self._tables, self._views)

    def write(self, rows: RowWrites, ranges: Sequence[Range] = ()) -> None:
        for family, low, high in ranges:
            for key in self._tables[family].keys(low, high):
                self._write(family, key, None)
        for family, changed in rows.items():
            for key, stored in changed.items():
                self._write(family, key, stored)

    def _write(self, family: Family, key: bytes, stored: bytes | None) -> None:
        for view in self._views:
            view.keep(family, key)
        self._tables[family].write(key, stored)

    def sync(self) -> None:
        pass  # nothing here outlives the process

    def is_empty(self) -> bool:
        return not any(table.rows for table in self._tables.values())

    def close(self) -> None:
        for view in list(self._views):
            view.close()
        self._tables = {family: _Table() for family in Family}


class MemoryStore(VersionedStore):
    """A `Store` without a disk. What it holds is gone with it."""

    def __init__(self, *, clock: Clock | None = None, quotas: Quotas | None = None) -> None:
        super().__init__(
            _MemoryRows(),
            clock=clock or SystemClock(),
            quotas=quotas or Quotas(),
            name="the memory store",
        )

    @classmethod
    def open(
        cls, path: str | Path, *, clock: Clock | None = None, quotas: Quotas | None = None
    ) -> Self:
        """Return an empty store, as every backend is opened; nothing is read from `path`."""
        del path
        return cls(clock=clock, quotas=quotas)
