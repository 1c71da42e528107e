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

import msgspec

Key: TypeAlias = tuple[str | int | bytes, ...]
"""An ordered key: compared part by part; a prefix sorts before what extends it."""

FORMAT_VERSION = 2
"""The layout of families, keys and value headers this version writes."""

MAX_KEY_BYTES = 4096
"""Longest packed key, scope prefix included."""

MAX_VALUE_BYTES = 16 << 20
"""Largest value of one key: a run's record with its message, input and output."""


class Family(Enum):
    """The column families: one per kind of record."""

    # Members are single objects, and each commit looks several up: Enum's own hash is six times
    # as slow.
    __hash__ = object.__hash__

    META = "meta"
    """The store's own: its format, the commit counter, how far a migration has come."""
    KV = "kv"
    """What spells keep: (tenant, scope, scope id, key)."""
    RUN = "run"
    """Run records: (tenant, run id), and their indexes."""
    EVENT = "event"
    """Run events: (run id, number)."""
    JOURNAL = "journal"
    """Recorded effects: (run id, number)."""
    SOURCE = "source"
    """Sources of the versions that runs were cast with: (version,)."""
    DEDUP = "dedup"
    """Idempotency keys: (tenant, principal, session, spell, key) to a run; they expire."""
    DOOR = "door"
    """What doors keep for themselves: (kind, id); they may expire."""
    SCHEDULE = "schedule"
    """Schedules: when each last fired."""
    TTL = "ttl"
    """The store's own: (due in ms, family, packed key) of what expires."""
    USAGE = "usage"
    """The store's own: bytes and keys held under (tenant, scope) of family KV."""


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
    expires_at: float | None = None
    """Unix time from which it counts as absent."""


@dataclass(frozen=True, slots=True)
class Check:
    """A condition of a commit: `key` still has `version`; 0 means it is absent."""

    family: Family
    key: Key
    version: int


@dataclass(frozen=True, slots=True)
class CheckRange:
    """A condition of a commit: a scan with these arguments still finds just these versions."""

    family: Family
    prefix: Key
    after: Key | None
    before: Key | None
    partial: bool
    seen: tuple[tuple[Key, int], ...]
    """Keys with their versions, in ascending order."""


class Put(msgspec.Struct, frozen=True):
    """Write one key."""

    family: Family
    key: Key
    value: bytes
    expires_at: float | None = None
    """Unix time from which the key counts as absent: exact on read, removed from disk later."""


class Delete(msgspec.Struct, frozen=True):
    """Delete one key; an absent one is no error."""

    family: Family
    key: Key


class DeletePrefix(msgspec.Struct, frozen=True):
    """Delete every key that extends `prefix`, and `prefix` itself."""

    family: Family
    prefix: Key


Write: TypeAlias = Put | Delete | DeletePrefix


@dataclass(frozen=True, slots=True)
class Change:
    """What a watcher is told: the newest state of a key."""

    key: Key
    entry: Entry | None
    """None = deleted or expired."""
    version: int
    """Of the commit that did it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What has happened under a prefix since a version."""

    changes: Sequence[Change]
    """The newest of each key, in the order of their versions."""
    version: int
    """Give it as `since` to go on from here."""
    resync: bool = False
    """Changes before these were missed (too many, or too long ago): read the prefix again."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is held under a prefix of family KV."""

    bytes: int
    """Packed keys and values."""
    keys: int


@dataclass(frozen=True, slots=True)
class Quotas:
    """What family KV may hold, in bytes of packed keys and values and in keys; None = any.

    What has expired counts no longer than it takes to be swept. A commit that
    makes nothing grow always goes through.
    """

    tenant_bytes: int | None = None
    tenant_keys: int | None = None
    scope_bytes: int | None = None
    """Of each (tenant, scope)."""
    scope_keys: int | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading everything of a store has found."""

    rows: dict[str, int]
    """Readable rows of each family, by its name."""
    bytes: int
    """Their packed keys and stored values."""
    problems: tuple[str, ...]
    """What is damaged, a line each; empty = the store is sound."""


class View(Protocol):
    """The whole store as it was at one moment. Closing it twice is no error."""

    version: int
    """Of the last commit it shows."""

    def get(self, family: Family, key: Key) -> Entry | None:
        """Return the entry of `key` at that moment, or None."""
        ...

    def scan(
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
        """As `Store.scan`, at that moment."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


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
        checks: Sequence[Check | CheckRange] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        """Apply `writes` all or none, in order, and return the version they got.

        Returns once the promise of `durability` holds. Between the checks and
        the write nothing else is committed. Every entry written by one commit
        has the same version. Without writes nothing is written and the last
        version is returned.

        Raises:
            StateConflict: A check does not hold; nothing was written.
            StateTooLarge: A key or value is over its limit; nothing was written.
            StateQuota: A quota given to the store would be exceeded; nothing was written.
            StateDiskFull: The disk is full.
            StateError: Another failure of the disk. It may have been written all the same, as when
                only its sync failed, so whoever tries again has to write over it.
        """
        ...

    def view(self) -> View:
        """Return the store as it is now, for the reads of a transaction."""
        ...

    async def changes(
        self, family: Family, prefix: Key, *, since: int | None = None, partial: bool = False
    ) -> Changes:
        """Wait until something has changed under `prefix` after version `since`, and return it.

        With `since` None the wait begins now. What happened before this store
        was opened, or before what it still remembers, comes back as `resync`.
        """
        ...

    async def usage(self, prefix: Key) -> Usage:
        """Return what family KV holds under `(tenant,)` or `(tenant, scope)`."""
        ...

    async def sweep(self, *, limit: int = 1000) -> int:
        """Delete up to so many expired keys from disk, and return how many there were."""
        ...

    async def close(self) -> None:
        """Flush and release everything. Closing twice is no error."""
        ...
