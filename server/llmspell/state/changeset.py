"""What one commit changes, worked out before any of it is written.

Writes of a commit apply in order, but reach the rows as ranges that go and rows
that are written: a prefix deleted in the middle takes what stood here before it,
and the rows of the store. Not a check of anything but the limits of keys and values.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from llmspell.state.commits import too_large
from llmspell.state.entries import decode_key, encode, header_of, measure
from llmspell.state.expiry import index_key
from llmspell.state.keys import pack, prefix_range
from llmspell.state.rows import Range, RowsReader
from llmspell.state.store import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    DeletePrefix,
    Family,
    Key,
    Put,
    Write,
)
from llmspell.state.usage import Deltas, account_of

_FEW: Final = 100
"""Rows deleted one by one: each range that was deleted slows later reads until it is compacted."""


class Known:
    """What the checks of a commit have found out already, so that it is not done twice."""

    __slots__ = ("packed", "stored")

    def __init__(self) -> None:
        self.packed: dict[Key, bytes] = {}
        """Keys in their packed form."""
        self.stored: dict[bytes, bytes | None] = {}
        """What lies at packed keys of family KV."""


class Changeset:
    """The rows of one commit.

    Args:
        rows: Where the store is read.
        version: What the commit will have.
        tracked: Families of which each replaced row is looked at: KV, and those of which a key
            has ever expired.
        watched: Families whose changed keys are to be told.
        known: What is known of the rows so far.
    """

    __slots__ = (
        "_known",
        "_source",
        "_tracked",
        "_watched",
        "changed",
        "deltas",
        "expiring",
        "header",
        "ranges",
        "rows",
    )

    def __init__(
        self,
        rows: RowsReader,
        version: int,
        tracked: Collection[Family],
        watched: Collection[Family],
        known: Known,
    ) -> None:
        self._known = known
        self._source = rows
        self._tracked = tracked
        self._watched = watched
        self.header = header_of(version)
        self.rows: dict[Family, dict[bytes, bytes | None]] = {}
        self.ranges: list[Range] = []
        self.deltas = Deltas()
        self.changed: dict[Family, dict[bytes, None]] = {}
        """The packed keys written in watched families, in order."""
        self.expiring: set[Family] = set()
        """Families not tracked so far of which a key expires now."""

    def add(self, write: Write) -> None:
        """Take in the next write.

        Raises:
            StateTooLarge: A key or value is over its limit.
            StateCorrupt: What it replaces is damaged.
        """
        family = write.family
        own = self.rows.get(family)
        if own is None:
            own = self.rows[family] = {}
        if isinstance(write, DeletePrefix):
            self._delete_prefix(family, write.prefix, own)
            return
        packed = self._known.packed.get(write.key) or pack(write.key)
        if len(packed) > MAX_KEY_BYTES:
            raise too_large("key", len(packed), MAX_KEY_BYTES)
        if family in self._tracked:
            stored = own[packed] if packed in own else self._stored(family, packed)
            if stored is not None:
                self._lose(family, packed, stored, account_of(write.key))
        if isinstance(write, Put):
            value = write.value
            if len(value) > MAX_VALUE_BYTES:
                raise too_large("value", len(value), MAX_VALUE_BYTES)
            if family is Family.KV:
                self.deltas.add(account_of(write.key), len(packed) + len(value), 1)
            if write.expires_at is not None:
                self._index(family, packed, write.expires_at)
            own[packed] = encode(self.header, value, write.expires_at)
        else:
            own[packed] = None
        if family in self._watched:
            self.changed.setdefault(family, {})[packed] = None

    def _delete_prefix(self, family: Family, prefix: Key, own: dict[bytes, bytes | None]) -> None:
        low, high = prefix_range(prefix)
        looks = family in self._tracked or family in self._watched
        for key in [key for key in own if low <= key < high]:
            stored = own[key]
            own[key] = None
            if looks and stored is not None:
                self._lose(family, key, stored, _account_under(prefix, key))
        if not looks:
            self.ranges.append((family, low, high))
            return
        found = [
            row
            for row in self._source.scan(family, low, high)
            if row[0] not in own and not self._is_deleted(family, row[0])
        ]
        for key, stored in found:
            self._lose(family, key, stored, _account_under(prefix, key))
            if family in self._watched:
                self.changed.setdefault(family, {})[key] = None
        if len(found) <= _FEW:
            own.update(dict.fromkeys([key for key, _ in found]))
        else:
            self.ranges.append((family, low, high))

    def _lose(self, family: Family, packed: bytes, stored: bytes, account: Key) -> None:
        """Count that `stored` is no more."""
        size, expires_at = measure(packed, stored)
        if family is Family.KV:
            self.deltas.add(account, -len(packed) - size, -1)
        if expires_at is not None:
            index = index_key(family, packed, expires_at)
            self.rows.setdefault(Family.TTL, {})[index] = None

    def _index(self, family: Family, packed: bytes, expires_at: float) -> None:
        index = index_key(family, packed, expires_at)
        self.rows.setdefault(Family.TTL, {})[index] = self.header
        if family not in self._tracked:
            self.expiring.add(family)

    def _stored(self, family: Family, packed: bytes) -> bytes | None:
        if self.ranges and self._is_deleted(family, packed):
            return None
        if family is Family.KV and packed in self._known.stored:
            return self._known.stored[packed]
        return self._source.get(family, packed)

    def _is_deleted(self, family: Family, packed: bytes) -> bool:
        return any(which is family and low <= packed < high for which, low, high in self.ranges)


def _account_under(prefix: Key, packed: bytes) -> Key:
    return account_of(prefix if len(prefix) > 1 else decode_key(packed))
