"""The store interface: what every backend does, held true by `tests/contracts/test_store.py`.

Keys are tuples that sort as their parts do (see `keys`); values are bytes.
Backends know nothing of scopes, runs or spells. Nothing above this module
knows which backend it talks to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

Key: TypeAlias = tuple[str | int | bytes, ...]
"""An ordered key: compared part by part; a prefix sorts before what extends it."""

FORMAT_VERSION = 1
"""The layout of families, keys and value headers this version writes."""

MAX_KEY_BYTES = 4096
"""Longest packed key, scope prefix included."""

MAX_VALUE_BYTES = 16 << 20
"""Largest value of one key: a run's record with its message, input and output."""


class Family(Enum):
    """The column families: one per kind of record."""

    META = "meta"
    """The format version and the commit counter."""
    KV = "kv"
    """What spells keep: (tenant, scope, scope id, key)."""
    RUN = "run"
    """Run records: (tenant, run id), and their indexes."""
    EVENT = "event"
    """Run events: (run id, number)."""


class Durability(Enum):
    """What has happened to a commit once it is acknowledged."""

    MEMORY = "memory"
    """It is visible to this process."""
    WRITTEN = "written"
    """It survives the death of this process."""
    DURABLE = "durable"
    """It survives the loss of power."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value with the version of the commit that wrote it; versions only grow."""

    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Check:
    """A condition of a commit: `key` still has `version`; 0 means it is absent."""

    family: Family
    key: Key
    version: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write one key."""

    family: Family
    key: Key
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one key; an absent one is no error."""

    family: Family
    key: Key


@dataclass(frozen=True, slots=True)
class DeletePrefix:
    """Delete every key that extends `prefix`, and `prefix` itself."""

    family: Family
    prefix: Key


Write: TypeAlias = Put | Delete | DeletePrefix


class Store(Protocol):
    """An ordered, versioned key-value store with atomic commits."""

    async def get(self, family: Family, key: Key) -> Entry | None:
        """Return the entry of `key`, or None when it is absent.

        Raises:
            StateCorrupt: The stored bytes are damaged.
        """
        ...

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
        """Return up to `limit` entries whose keys extend `prefix`, in key order.

        All come from one consistent view. `after` and `before` are exclusive
        bounds, both full keys; with `reverse` the order is descending, and
        `after` still names the smaller end. With `partial` the last part of
        `prefix`, a str or bytes, need only begin the key's part.

        Raises:
            StateCorrupt: The stored bytes are damaged.
        """
        ...

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        """Apply `writes` all or none, in order, and return the version they got.

        Returns once the promise of `durability` holds. Without writes nothing
        is written and the last version is returned.

        Raises:
            StateConflict: A check does not hold; nothing was written.
            StateTooLarge: A key or value is over its limit; nothing was written.
            StateDiskFull: The disk is full; nothing was written.
        """
        ...

    async def close(self) -> None:
        """Flush and release everything. Closing twice is no error."""
        ...
