"""Serialisable transactions over family KV: optimistic, without locks.

A transaction reads from one view, remembers what it saw, and keeps its writes to
itself. At the commit every key it read must still have its version, and every
range it scanned must still hold the same keys with the same versions, absent
ones included; so neither a lost update nor a phantom nor a write skew gets
through. What fails is tried again from the start by `run`.

One that writes nothing needs no check: a view is consistent by itself.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from llmspell.clock import Clock
from llmspell.errors import StateConflict, StateForeign
from llmspell.state.commits import too_large
from llmspell.state.keys import pack, scan_range
from llmspell.state.store import (
    Check,
    CheckRange,
    Delete,
    Durability,
    Entry,
    Family,
    Key,
    Put,
    Store,
    Write,
)

MAX_WRITES: Final = 500
"""Most keys that one transaction writes."""

MAX_WRITE_BYTES: Final = 4 << 20
"""Most bytes of values that one transaction writes."""

MAX_READS: Final = 10_000
"""Most keys that one transaction reads: all are looked at again when it commits."""

ATTEMPTS: Final = 20
FIRST_PAUSE_SECONDS: Final = 0.0002
LONGEST_PAUSE_SECONDS: Final = 0.02

_Result = TypeVar("_Result")


class Transaction:
    """A transaction of one tenant, beginning now. It ends with `commit` or `close`.

    Args:
        store: Where.
        tenant: The first part of every key it may touch.
    """

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant
        self._view = store.view()
        self._reads: dict[Key, int] = {}
        self._ranges: list[CheckRange] = []
        self._read_count = 0
        self._writes: dict[Key, Put | Delete] = {}
        self._write_bytes = 0

    def get(self, key: Key) -> Entry | None:
        """Return the entry of a key as it was when this began, or as this has written it.

        What it has written itself has version 0.

        Raises:
            StateForeign: The key is another tenant's.
            StateTooLarge: More keys were read than `MAX_READS`.
            StateCorrupt: The stored bytes are damaged.
        """
        self._own(key)
        written = self._writes.get(key)
        if written is not None:
            return _written(written)
        entry = self._view.get(Family.KV, key)
        if key not in self._reads:
            self._reads[key] = entry.version if entry else 0
            self._count(1)
        return entry

    def scan(
        self,
        prefix: Key,
        *,
        after: Key | None = None,
        before: Key | None = None,
        limit: int = 1000,
        reverse: bool = False,
        partial: bool = False,
    ) -> Sequence[tuple[Key, Entry]]:
        """As `Store.scan` on family KV, as it was when this began and with what this has written.

        Raises:
            StateForeign: The prefix is not under the tenant.
            StateTooLarge: More keys were read than `MAX_READS`.
            StateCorrupt: The stored bytes are damaged.
        """
        self._own(prefix, whole=len(prefix) > 1 or not partial)
        if limit <= 0:
            return []
        low, high = scan_range(prefix, after, before, partial=partial)
        own = {
            packed: write
            for packed, write in ((pack(key), write) for key, write in self._writes.items())
            if low <= packed < high
        }
        # Each key this has deleted hides one row at most.
        wanted = limit + sum(isinstance(write, Delete) for write in own.values())
        rows = self._view.scan(
            Family.KV,
            prefix,
            after=after,
            before=before,
            limit=wanted,
            reverse=reverse,
            partial=partial,
        )
        edge = rows[-1] if rows and len(rows) >= wanted else None
        self._saw(rows, edge, prefix, after, before, reverse=reverse, partial=partial)
        if not own:
            return rows
        found = {pack(key): (key, entry) for key, entry in rows}
        last = None if edge is None else pack(edge[0])
        for packed, write in own.items():
            entry = _written(write)
            if entry is None:
                found.pop(packed, None)
            elif last is None or (packed > last if reverse else packed < last) or packed == last:
                found[packed] = (write.key, entry)
        return [row for _, row in sorted(found.items(), reverse=reverse)][:limit]

    def put(self, key: Key, value: bytes, *, expires_at: float | None = None) -> None:
        """Write a key when this commits.

        Raises:
            StateForeign: The key is another tenant's.
            StateTooLarge: It writes more than `MAX_WRITES` or `MAX_WRITE_BYTES`.
        """
        self._write(Put(Family.KV, key, value, expires_at))

    def delete(self, key: Key) -> None:
        """Delete a key when this commits; an absent one is no error.

        Raises:
            StateForeign: The key is another tenant's.
            StateTooLarge: It writes more than `MAX_WRITES`.
        """
        self._write(Delete(Family.KV, key))

    async def commit(
        self, also: Sequence[Write] = (), *, durability: Durability = Durability.DURABLE
    ) -> int:
        """End this: write all or nothing, and return the version.

        Args:
            also: Writes to other families that belong to it. They count for no limit.
            durability: What has to hold before this returns.

        Raises:
            StateConflict: Something it read has changed; nothing was written.
            StateQuota: The tenant would hold more than it may; nothing was written.
            ValueError: `also` has a write to family KV.
        """
        if any(write.family is Family.KV for write in also):
            raise ValueError("what a transaction writes to family KV goes through put and delete")
        self.close()
        if not self._writes and not also:
            return self._view.version
        checks: list[Check | CheckRange] = []
        if self._writes:
            checks += [Check(Family.KV, key, version) for key, version in self._reads.items()]
            checks += self._ranges
        return await self._store.commit(
            [*self._writes.values(), *also], checks=checks, durability=durability
        )

    def close(self) -> None:
        """End this without writing. Twice is no error."""
        self._view.close()

    def _own(self, key: Key, *, whole: bool = True) -> None:
        if not key or key[0] != self._tenant or not whole:
            raise StateForeign(
                f"a transaction of tenant {self._tenant!r} cannot touch {key!r}",
                hint="a transaction stays within one tenant",
            )

    def _count(self, rows: int) -> None:
        self._read_count += rows
        if self._read_count > MAX_READS:
            raise too_large("transaction", self._read_count, MAX_READS, unit="reads")

    def _saw(
        self,
        rows: Sequence[tuple[Key, Entry]],
        edge: tuple[Key, Entry] | None,
        prefix: Key,
        after: Key | None,
        before: Key | None,
        *,
        reverse: bool,
        partial: bool,
    ) -> None:
        """Remember a scan, up to the row it was cut off at if it was."""
        if edge is not None:
            rows = rows[:-1]
            self._reads.setdefault(edge[0], edge[1].version)
            after, before = (edge[0], before) if reverse else (after, edge[0])
        self._count(len(rows) + 1)
        seen = tuple((key, entry.version) for key, entry in (reversed(rows) if reverse else rows))
        self._ranges.append(CheckRange(Family.KV, prefix, after, before, partial, seen))

    def _write(self, write: Put | Delete) -> None:
        self._own(write.key)
        before = self._writes.get(write.key)
        size = self._write_bytes + _size(write) - (0 if before is None else _size(before))
        if size > MAX_WRITE_BYTES:
            raise too_large("transaction", size, MAX_WRITE_BYTES)
        if before is None and len(self._writes) >= MAX_WRITES:
            raise too_large("transaction", len(self._writes) + 1, MAX_WRITES, unit="keys")
        self._writes[write.key] = write
        self._write_bytes = size


async def run(
    store: Store,
    tenant: str,
    work: Callable[[Transaction], Awaitable[_Result]],
    *,
    clock: Clock,
    attempts: int = ATTEMPTS,
    durability: Durability = Durability.DURABLE,
) -> _Result:
    """Let `work` read and write in a transaction, commit it, and return what `work` returned.

    When something it read has changed meanwhile, `work` runs again, on a new
    transaction; so it must do nothing else than use it.

    Args:
        store: Where.
        tenant: Whose keys.
        work: What to do.
        clock: For the pause between attempts.
        attempts: How often to try in all.
        durability: What has to hold before this returns.

    Raises:
        StateConflict: Every attempt met a change.
        StateForeign: A key of another tenant was touched.
    """
    for attempt in range(1, attempts + 1):
        transaction = Transaction(store, tenant)
        try:
            result = await work(transaction)
            await transaction.commit(durability=durability)
        except StateConflict:
            if attempt == attempts:
                raise
            await clock.sleep(pause(attempt))
        else:
            return result
        finally:
            transaction.close()
    raise ValueError("a transaction takes at least one attempt")


def pause(attempt: int) -> float:
    """Return how many seconds to wait after a conflict; the first attempt is 1.

    Full jitter: whoever lost together must not meet again at once.
    """
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    return random.uniform(0, longest)


def _written(write: Put | Delete) -> Entry | None:
    return Entry(write.value, 0, write.expires_at) if isinstance(write, Put) else None


def _size(write: Put | Delete) -> int:
    return len(write.value) if isinstance(write, Put) else 0
