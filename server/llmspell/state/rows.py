"""What a backend is underneath: packed keys and stored bytes in families.

The border between what all backends do alike (`versioned`) and where the bytes
are kept. Rows know nothing of versions, expiry or usage. All calls come from
one thread, except reads of a view that was pinned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from llmspell.state.store import Family

Range: TypeAlias = tuple[Family, bytes, bytes]
"""The rows of a family with `low <= key < high`."""

RowWrites: TypeAlias = Mapping[Family, Mapping[bytes, bytes | None]]
"""New bytes of rows; None = the row goes."""


class RowsReader(Protocol):
    """Where rows are read from."""

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the bytes of a row, or None.

        Raises:
            StateCorrupt: They are damaged.
        """
        ...

    def scan(
        self, family: Family, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of `low <= key < high`, in order of their keys.

        They are those of one moment.

        Raises:
            StateCorrupt: They are damaged.
        """
        ...


class RowsView(RowsReader, Protocol):
    """All rows as they were at one moment; a scan of it is ended before the next read begins."""

    def pin(self, family: Family) -> None:
        """Read `family` from any thread from now on, without regard to what is written."""
        ...

    def close(self) -> None:
        """Let go of it. Twice is no error."""
        ...


class Rows(RowsReader, Protocol):
    """Rows that can be written."""

    def view(self) -> RowsView:
        """Return the rows as they are now."""
        ...

    def write(self, rows: RowWrites, ranges: Sequence[Range] = ()) -> None:
        """Delete what lies in `ranges`, then write `rows`: all of it or nothing.

        Raises:
            StateDiskFull: The disk is full.
            StateError: Another failure of the disk.
        """
        ...

    def sync(self) -> None:
        """Make all that was written survive the loss of power. Blocks."""
        ...

    def is_empty(self) -> bool:
        """Return whether there is no row at all."""
        ...

    def close(self) -> None:
        """Release everything, its views too. Blocks."""
        ...
