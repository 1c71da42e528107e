"""The `rocksdb` backend: one RocksDB directory, owned by one process.

The only module that knows rocksdict. What it keeps away from everyone else,
each seen in rocksdict 0.3.29:

- Iterators of a snapshot ignore the snapshot. A view is one plain iterator,
  which pins the state it was made in.
- `set_iterate_lower_bound` sets the upper bound, and an iterator keeps a bound
  it does not own. No bounds are set; keys are compared here.
- A `for` loop over a damaged file ends early without a word. Only `RdictIter`
  is used, and its `status()` asked at the end.
- A write with `sync=True` holds the interpreter lock through the fsync.
  Writes go unsynced; `flush_wal`, which lets go of it, runs in `GroupCommit`.
- Every error is a plain `Exception` with RocksDB's text. `_error` sorts them.

Reads and writes run on the event loop: a get takes microseconds, and a hop to
a thread twenty times as long. As no commit awaits between its checks and its
write, none needs a lock.

On disk: a column family per `Family`; keys as in `keys`; values behind a header
of 8 bytes version, big-endian, and 1 byte flags (0). The `meta` family holds
`("format",)`, in ASCII digits, and `("commit",)`, whose header carries the last
version: it is part of every batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from rocksdict import (
    BlockBasedOptions,
    Cache,
    ColumnFamily,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    WriteBatch,
)

from llmspell import failpoints
from llmspell.errors import (
    StateCorrupt,
    StateDiskFull,
    StateError,
    StateNewerFormat,
    StateOwned,
)
from llmspell.state.commits import limited_value, packed_key, require
from llmspell.state.group_commit import GroupCommit
from llmspell.state.keys import pack, prefix_range, scan_range, unpack
from llmspell.state.store import (
    FORMAT_VERSION,
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

_HEADER: Final = 9
_NO_FLAGS: Final = b"\0"
_FORMAT_KEY: Final = pack(("format",))
_COMMIT_KEY: Final = pack(("commit",))


class RocksStore:
    """A `Store` in a directory. Made by `open`; used from one event loop."""

    def __init__(self, database: Rdict, path: Path) -> None:
        self._database = database
        self._path = path
        self._rows: dict[Family, Rdict] = {}
        self._handles: dict[Family, ColumnFamily] = {}
        for family in Family:
            self._rows[family] = database.get_column_family(family.value)
            self._handles[family] = database.get_column_family_handle(family.value)
        self._version = 0
        self._closed = False
        self._closing = asyncio.Lock()
        self._group_commit = GroupCommit(self._sync)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the database in directory `path`, or make one there, and become its owner.

        Blocks for about 0.1 s, longer when a log of writes is to be replayed.

        Raises:
            StateOwned: Another process, or this one, has it open.
            StateNewerFormat: A newer llmspell wrote it.
            StateCorrupt: It is damaged; nothing was changed.
            StateDiskFull: The disk is full.
        """
        path = Path(path)
        store = cls(_open_database(path), path)
        try:
            store._read_meta()
        except BaseException:
            store._release()
            raise
        return store

    @property
    def sync_count(self) -> int:
        """Syncs that `durable` commits have cost so far; they share them."""
        return self._group_commit.rounds

    async def get(self, family: Family, key: Key) -> Entry | None:
        """Return the entry of `key`, or None when it is absent.

        Raises:
            StateCorrupt: The stored bytes are damaged.
        """
        return self._get(family, pack(key))

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

        Raises:
            StateCorrupt: The stored bytes are damaged.
        """
        self._check_open()
        low, high = scan_range(prefix, after, before, partial=partial)
        # All keys found begin with these parts, so only what follows is unpacked.
        head = prefix[:-1] if partial else prefix
        skip = len(pack(head))
        found: list[tuple[Key, Entry]] = []
        try:
            rows = self._rows[family].iter()
            step = rows.prev if reverse else rows.next
            _seek(rows, low, high, reverse=reverse)
            while len(found) < limit and rows.valid():
                key = rows.key()
                if not low <= key < high:
                    break
                found.append(((*head, *_key(key[skip:])), _entry(key, rows.value())))
                step()
            rows.status()
        except StateError:
            raise
        except Exception as error:  # rocksdict has no class of its own
            raise _error(error, f"cannot read {self._path}") from error
        return found

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        """Apply `writes` all or none, in order, and return the version they got.

        `memory` is kept as `written` is: without the log, families would reach
        the disk one by one, and a commit could come back in part.

        Raises:
            StateConflict: A check does not hold; nothing was written.
            StateTooLarge: A key or value is over its limit; nothing was written.
            StateDiskFull: The disk is full; nothing was written.
            StateError: Another failure of the disk. When only the sync of a
                `durable` commit failed, the message says that it was written.
        """
        self._check_open()
        version = self._version + 1
        header = version.to_bytes(8, "big") + _NO_FLAGS
        batch = WriteBatch(raw_mode=True)
        for write in writes:
            handle = self._handles[write.family]
            match write:
                case Put(_, key, value):
                    batch.put(packed_key(key), header + limited_value(value), handle)
                case Delete(_, key):
                    batch.delete(packed_key(key), handle)
                case DeletePrefix(_, prefix):
                    batch.delete_range(*prefix_range(prefix), handle)
        for check in checks:
            held = self._get(check.family, pack(check.key))
            require(check, held.version if held else 0)
        if writes:
            batch.put(_COMMIT_KEY, header, self._handles[Family.META])
            # Used up even by a failure: a batch that did reach the log after
            # all must not share its version with a later one.
            self._version = version
            self._write(batch)
            failpoints.hit("state.after_write")
        else:
            version = self._version
        if durability is Durability.DURABLE:
            await self._group_commit.wait()
        return version

    async def close(self) -> None:
        """Finish what waits for a sync, flush and release everything. Twice is no error."""
        async with self._closing:
            if not self._closed:
                self._closed = True
                await asyncio.to_thread(self._release)

    def _get(self, family: Family, packed: bytes) -> Entry | None:
        self._check_open()
        try:
            stored = self._rows[family].get(packed)
        except Exception as error:  # rocksdict has no class of its own
            raise _error(error, f"cannot read {self._path}") from error
        return None if stored is None else _entry(packed, stored)

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._database.write(batch)
        except Exception as error:  # rocksdict has no class of its own
            raise _error(error, f"cannot write to {self._path}") from error

    def _sync(self) -> None:
        failpoints.hit("state.before_sync")
        try:
            self._database.flush_wal(True)
        except Exception as error:  # rocksdict has no class of its own
            raise StateError(
                f"written to {self._path}, but not made durable: {error}",
                hint="check the disk; whether this survives a loss of power is unknown",
            ) from error

    def _read_meta(self) -> None:
        stored = self._get(Family.META, _FORMAT_KEY)
        if stored is None:
            self._write_meta()
            return
        if not stored.value.isdigit() or int(stored.value) < 1:
            raise StateCorrupt(f"{self._path} has the format {stored.value!r}, which is no number")
        found = int(stored.value)
        if found > FORMAT_VERSION:
            raise StateNewerFormat(
                f"{self._path} has format {found}, this llmspell reads up to {FORMAT_VERSION}",
                data={"found": found, "supported": FORMAT_VERSION},
            )
        last = self._get(Family.META, _COMMIT_KEY)
        if last is None:
            raise StateCorrupt(f"{self._path} has lost its commit counter")
        self._version = last.version

    def _write_meta(self) -> None:
        """Begin a new database, or one whose maker died before this."""
        for rows in (self._database, *self._rows.values()):
            first = rows.iter()
            first.seek_to_first()
            if first.valid():
                raise StateCorrupt(f"{self._path} has records but no format version")
        self._version = 1
        header = self._version.to_bytes(8, "big") + _NO_FLAGS
        meta = self._handles[Family.META]
        batch = WriteBatch(raw_mode=True)
        batch.put(_FORMAT_KEY, header + str(FORMAT_VERSION).encode(), meta)
        batch.put(_COMMIT_KEY, header, meta)
        self._write(batch)
        self._sync()

    def _release(self) -> None:
        self._group_commit.stop()
        failed: Exception | None = None
        # Each of these keeps the database, and so its lock, alive: all have to
        # go, also where flushing one fails. What a flush misses is in the log.
        for rows in (*self._rows.values(), self._database):
            try:
                rows.close()
            except Exception as error:  # rocksdict has no class of its own
                failed = failed or error
        self._rows.clear()
        self._handles.clear()
        if failed is not None:
            raise _error(failed, f"cannot close {self._path}") from failed

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the store is closed")


def _open_database(path: Path) -> Rdict:
    options = _options()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        families = {family.value for family in Family}
        if (path / "CURRENT").exists():
            # Those this version does not know have to be opened too.
            families.update(Rdict.list_cf(str(path), options))
        elif any(path.glob("MANIFEST-*")) or any(path.glob("*.sst")):
            # RocksDB would begin a new database on top of the old one's files.
            raise StateCorrupt(f"{path} has lost its file CURRENT")
        return Rdict(str(path), options, column_families=dict.fromkeys(families, options))
    except StateError:
        raise
    except Exception as error:  # rocksdict has no class of its own
        raise _error(error, f"cannot open {path}") from error


def _options() -> Options:
    """Return the options of the database and of each family: at home on a laptop."""
    table = BlockBasedOptions()
    table.set_block_cache(Cache(32 << 20))
    table.set_bloom_filter(10, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    # A torn end is what a crash leaves, and is cut off. Damage further in is
    # refused; by default RocksDB would drop what follows it without a word.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_bottommost_compression_type(DBCompressionType.zstd())
    options.set_write_buffer_size(8 << 20)
    options.set_db_write_buffer_size(32 << 20)
    options.set_max_total_wal_size(64 << 20)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1 << 20)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    return options


def _seek(rows: RdictIter, low: bytes, high: bytes, *, reverse: bool) -> None:
    """Put the iterator on the first key of `low <= key < high` in its direction, if any."""
    if not reverse:
        rows.seek(low)
        return
    rows.seek_for_prev(high)
    if rows.valid() and rows.key() == high:
        rows.prev()


def _entry(packed: bytes, stored: bytes) -> Entry:
    if len(stored) < _HEADER or stored[8:_HEADER] != _NO_FLAGS:
        raise StateCorrupt(f"the value of key {packed!r} has no valid header")
    return Entry(stored[_HEADER:], int.from_bytes(stored[:8], "big"))


def _key(packed: bytes) -> Key:
    try:
        return unpack(packed)
    except ValueError as error:
        raise StateCorrupt(str(error)) from error


def _error(error: Exception, what: str) -> StateError:
    """Return the error of ours that RocksDB's text stands for."""
    text = f"{what}: {error}"
    if "While lock file" in text or "lock hold by current process" in text:
        return StateOwned(text)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        # RocksDB writes again only once it has flushed all it holds in memory.
        return StateDiskFull(text, hint="free at least 64 MB, then try again")
    if str(error).startswith("Corruption"):
        return StateCorrupt(text)
    return StateError(text)
