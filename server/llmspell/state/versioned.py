"""What every backend does alike, over rows of its own: the whole meaning of a store.

Versions, checks, expiry, usage, views and changes are kept here once; a backend
brings `Rows` and its promises of durability. As no commit awaits between its
checks and its write, none needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from llmspell.clock import Clock
from llmspell.errors import StateError, StateQuota
from llmspell.state.changes import RecentChanges
from llmspell.state.changeset import Changeset, Known
from llmspell.state.commits import require, require_range
from llmspell.state.entries import decode, decode_key
from llmspell.state.expiry import due, is_live
from llmspell.state.keys import pack, prefix_range, scan_range
from llmspell.state.migration import COMMIT_KEY, prepare
from llmspell.state.rows import Range, Rows, RowsReader, RowsView, RowWrites
from llmspell.state.store import (
    Change,
    Changes,
    Check,
    CheckRange,
    Durability,
    Entry,
    Family,
    Key,
    Quotas,
    Usage,
    View,
    Write,
)
from llmspell.state.usage import Counters

_EXPIRES: Final = "expires"
"""`("expires", family)` in family META: a key of this family has once been given an expiry."""

_SWEPT_FOR_ROOM: Final = 1000


class VersionedStore:
    """A `Store` over `Rows`, durable as these are. Used from one event loop.

    Args:
        rows: The rows; the store's own from here on.
        clock: What expiry goes by.
        quotas: What tenants and scopes may hold.
        name: What errors call the store.
    """

    def __init__(self, rows: Rows, *, clock: Clock, quotas: Quotas, name: str) -> None:
        self._rows = rows
        self._clock = clock
        self._version = prepare(rows, name)
        self._tracked = {Family.KV, *_expiring(rows)}
        self._counters = Counters(rows, quotas)
        self._changes = RecentChanges(self._version)
        self._closed = False

    async def get(self, family: Family, key: Key) -> Entry | None:
        """Return the entry of `key`, or None when it is absent; see `Store.get`."""
        self._check_open()
        return _get(self._rows, family, pack(key), self._clock.time)

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
        """Return up to `limit` entries whose keys extend `prefix`; see `Store.scan`.

        It holds the event loop for 2 to 4 us a row.
        """
        self._check_open()
        low, high = scan_range(prefix, after, before, partial=partial)
        rows = self._rows.scan(family, low, high, reverse=reverse)
        return _page(rows, prefix[:-1] if partial else prefix, limit, self._clock.time)

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check | CheckRange] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        """Apply `writes` all or none, in order, and return the version they got.

        It holds the event loop; deleting a prefix of family KV, or of one that
        is watched, does so for 3 us a row. See `Store.commit`.
        """
        del durability  # what a backend promises beyond this, it does itself
        return self._commit(writes, checks)

    def view(self) -> View:
        """Return the store as it is now, for the reads of a transaction."""
        self._check_open()
        return _StoreView(self._rows.view(), self._version, self._clock.time())

    async def changes(
        self, family: Family, prefix: Key, *, since: int | None = None, partial: bool = False
    ) -> Changes:
        """Wait until something has changed under `prefix` after `since`; see `Store.changes`."""
        low, high = prefix_range(prefix, partial=partial)
        version = self._version if since is None else since
        while True:
            self._check_open()
            recent = self._changes.since(family, low, high, version=version, last=self._version)
            if recent is None:
                return Changes((), self._version, resync=True)
            found, last = recent
            if found:
                return Changes([self._change(family, *each) for each in found], last)
            # Nothing before it concerns us, however long the wait was.
            version = await self._changes.wait(family, low, high) - 1

    async def usage(self, prefix: Key) -> Usage:
        """Return what family KV holds under `(tenant,)` or `(tenant, scope)`; `()` = in all."""
        self._check_open()
        return self._counters.usage(prefix)

    async def sweep(self, *, limit: int = 1000) -> int:
        """Delete up to so many expired keys from disk, and return how many there were."""
        self._check_open()
        return self._sweep(limit)

    async def close(self) -> None:
        """Release everything. Closing twice is no error."""
        if not self._closed:
            self._end()
            self._rows.close()

    def _end(self) -> None:
        """Refuse everything from now on."""
        self._closed = True
        self._changes.close()

    def _commit(self, writes: Sequence[Write], checks: Iterable[Check | CheckRange]) -> int:
        self._check_open()
        try:
            return self._apply(writes, checks)
        except StateQuota:
            # What has expired may be all that is in the way.
            if not self._sweep(_SWEPT_FOR_ROOM):
                raise
            return self._apply(writes, checks)

    def _apply(self, writes: Sequence[Write], checks: Iterable[Check | CheckRange]) -> int:
        known = Known()
        for check in checks:
            if isinstance(check, Check):
                require(check, self._version_of(check, known))
            else:
                require_range(check, self._seen(check))
        if not writes:
            return self._version
        version = self._version + 1
        changeset = Changeset(self._rows, version, self._tracked, self._changes.families, known)
        for write in writes:
            changeset.add(write)
        header, rows = changeset.header, changeset.rows
        counts = self._counters.after(changeset.deltas)
        if counts:
            rows[Family.USAGE] = self._counters.rows(header, counts)
        meta = rows.setdefault(Family.META, {})
        meta[COMMIT_KEY] = header
        for family in changeset.expiring:
            meta[pack((_EXPIRES, family.value))] = header
        # Used up even by a failure: a batch that did reach the log after all
        # must not share its version with a later one.
        self._version = version
        self._write(rows, changeset.ranges)
        self._counters.keep(counts)
        self._tracked |= changeset.expiring
        self._changes.add(version, changeset.changed)
        return version

    def _version_of(self, check: Check, known: Known) -> int:
        """Return the version that the key of a check has now, 0 when it is absent."""
        packed = known.packed[check.key] = pack(check.key)
        stored = self._rows.get(check.family, packed)
        if check.family is Family.KV:
            known.stored[packed] = stored
        if stored is None:
            return 0
        entry = decode(packed, stored)
        return entry.version if is_live(entry, self._clock.time) else 0

    def _seen(self, check: CheckRange) -> list[tuple[Key, int]]:
        """Return what the scan of a check finds now, up to one more than it expects."""
        low, high = scan_range(check.prefix, check.after, check.before, partial=check.partial)
        head = check.prefix[:-1] if check.partial else check.prefix
        rows = self._rows.scan(check.family, low, high)
        found = _page(rows, head, len(check.seen) + 1, self._clock.time)
        return [(key, entry.version) for key, entry in found]

    def _change(self, family: Family, packed: bytes, version: int) -> Change:
        return Change(
            decode_key(packed), _get(self._rows, family, packed, self._clock.time), version
        )

    def _sweep(self, limit: int) -> int:
        writes: list[Write] = []
        count = 0
        for write, has_expired in islice(due(self._rows, self._clock.time()), max(limit, 0)):
            writes.append(write)
            count += has_expired
        self._apply(writes, ())
        return count

    def _write(self, rows: RowWrites, ranges: Sequence[Range]) -> None:
        self._rows.write(rows, ranges)

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the store is closed")


class _StoreView:
    """A `View`: what has expired is what had when it was made."""

    def __init__(self, rows: RowsView, version: int, now: float) -> None:
        self._rows = rows
        self._now = lambda: now
        self.version = version

    def get(self, family: Family, key: Key) -> Entry | None:
        """Return the entry of `key` at that moment, or None."""
        return _get(self._rows, family, pack(key), self._now)

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
        low, high = scan_range(prefix, after, before, partial=partial)
        rows = self._rows.scan(family, low, high, reverse=reverse)
        return _page(rows, prefix[:-1] if partial else prefix, limit, self._now)

    def close(self) -> None:
        """Let go of it."""
        self._rows.close()


def _get(rows: RowsReader, family: Family, packed: bytes, now: Callable[[], float]) -> Entry | None:
    stored = rows.get(family, packed)
    if stored is None:
        return None
    entry = decode(packed, stored)
    return entry if is_live(entry, now) else None


def _page(
    rows: Iterable[tuple[bytes, bytes]], head: Key, limit: int, now: Callable[[], float]
) -> list[tuple[Key, Entry]]:
    """Return up to `limit` live entries. All keys begin with `head`: only the rest is unpacked."""
    skip = len(pack(head))
    return list(islice(_live(rows, head, skip, now), max(limit, 0)))


def _live(
    rows: Iterable[tuple[bytes, bytes]], head: Key, skip: int, now: Callable[[], float]
) -> Iterable[tuple[Key, Entry]]:
    for packed, stored in rows:
        entry = decode(packed, stored)
        if is_live(entry, now):
            yield (*head, *decode_key(packed[skip:])), entry


def _expiring(rows: RowsReader) -> set[Family]:
    found: set[Family] = set()
    for packed, _ in rows.scan(Family.META, *prefix_range((_EXPIRES,))):
        name = decode_key(packed)[1]
        found.update(family for family in Family if family.value == name)
    return found
