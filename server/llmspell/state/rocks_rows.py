"""Rows in a RocksDB directory: a column family for each `Family`.

The only module that knows rocksdict, with `rocks_options`. What it keeps away
from everyone else, each seen in rocksdict 0.3.29:

- Iterators of a snapshot ignore the snapshot. A view is plain iterators, each
  of which pins the state of its family: it is made when the family is first
  read, or just before it is first written.
- `set_iterate_lower_bound` sets the upper bound, and an iterator keeps a bound
  it does not own. No bounds are set; keys are compared here.
- A `for` loop over a damaged file ends early without a word. Only `RdictIter`
  is used, and its `status()` asked at the end.
- A write with `sync=True` holds the interpreter lock through the fsync, and so
  does a checkpoint through its flush. Writes go unsynced; `flush_wal` and
  `flush`, which let go of it, run in threads.
- Every error is a plain `Exception` with RocksDB's text. `_error` sorts them.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from rocksdict import Checkpoint, ColumnFamily, Rdict, RdictIter, WriteBatch

from llmspell import failpoints
from llmspell.errors import StateCorrupt, StateDiskFull, StateError, StateOwned
from llmspell.state.rocks_options import make_options
from llmspell.state.rows import Range, RowsView, RowWrites
from llmspell.state.store import Family

_LOST_FILE = re.compile(r"No such file or directory: .*/MANIFEST-\d+")
"""What RocksDB says of a list of its files that is gone; of any other file it says Corruption."""


class RocksRows:
    """The `Rows` of a directory. Made by `open`; written from one thread."""

    def __init__(self, database: Rdict, path: Path) -> None:
        self.path = path
        self._database = database
        self._families: dict[Family, Rdict] = {}
        self._handles: dict[Family, ColumnFamily] = {}
        self._views: weakref.WeakSet[_View] = weakref.WeakSet()
        for family in Family:
            self._families[family] = database.get_column_family(family.value)
            self._handles[family] = database.get_column_family_handle(family.value)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the database in directory `path`, or make one there, and become its owner.

        Raises:
            StateOwned: Another process, or this one, has it open.
            StateCorrupt: It is damaged; nothing was changed.
            StateDiskFull: The disk is full.
        """
        options = make_options()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            families = {family.value for family in Family}
            if (path / "CURRENT").exists():
                # Those this version does not know have to be opened too.
                families.update(Rdict.list_cf(str(path), options))
            elif any(path.glob("MANIFEST-*")) or any(path.glob("*.sst")):
                # RocksDB would begin a new database on top of the old one's files.
                raise StateCorrupt(f"{path} has lost its file CURRENT")
            each = dict.fromkeys(families, options)
            return cls(Rdict(str(path), options, column_families=each), path)
        except StateError:
            raise
        except Exception as error:  # rocksdict has no class of its own
            raise _error(error, f"cannot open {path}") from error

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the bytes of a row, or None."""
        try:
            return self._families[family].get(key)
        except Exception as error:  # rocksdict has no class of its own
            raise self.failed_read(error) from error

    def scan(
        self, family: Family, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of `low <= key < high`."""
        return _scan(self, self._families[family].iter(), low, high, reverse=reverse)

    def view(self) -> RowsView:
        """Return the rows as they are now."""
        view = _View(self)
        self._views.add(view)
        return view

    def write(self, rows: RowWrites, ranges: Sequence[Range] = ()) -> None:
        """Delete what lies in `ranges`, then write `rows`: all of it or nothing."""
        handles = self._handles
        batch = WriteBatch(raw_mode=True)
        for family, low, high in ranges:
            batch.delete_range(low, high, handles[family])
        for family, changed in rows.items():
            handle = handles[family]
            for key, stored in changed.items():
                if stored is None:
                    batch.delete(key, handle)
                else:
                    batch.put(key, stored, handle)
        if self._views:
            for view in list(self._views):
                for family in (*rows, *(family for family, _, _ in ranges)):
                    view.pin(family)
        try:
            self._database.write(batch)
        except Exception as error:  # rocksdict has no class of its own
            raise _error(error, f"cannot write to {self.path}") from error

    def sync(self) -> None:
        """Make all that was written survive the loss of power. Blocks."""
        failpoints.hit("state.before_sync")
        try:
            self._database.flush_wal(True)
        except Exception as error:  # rocksdict has no class of its own
            raise StateError(
                f"written to {self.path}, but not made durable: {error}",
                hint="check the disk; whether this survives a loss of power is unknown",
            ) from error

    def checkpoint(self, path: Path) -> None:
        """Make directory `path` a database of its own, sharing files by hard links. Blocks.

        Raises:
            StateDiskFull: The disk is full.
            StateError: `path` exists already, or another failure of the disk.
        """
        try:
            for family in self._families.values():
                family.flush()  # so that the checkpoint itself is short
            Checkpoint(self._database).create_checkpoint(str(path))
        except Exception as error:  # rocksdict has no class of its own
            raise _error(error, f"cannot make the checkpoint {path}") from error

    def is_empty(self) -> bool:
        """Return whether there is no row at all, the default family of RocksDB included."""
        for rows in (self._database, *self._families.values()):
            first = rows.iter()
            first.seek_to_first()
            if first.valid():
                return False
        return True

    def close(self) -> None:
        """Flush and release everything. Blocks."""
        for view in list(self._views):
            view.close()
        failed: Exception | None = None
        # Each of these keeps the database, and so its lock, alive: all have to
        # go, also where flushing one fails. What a flush misses is in the log.
        for rows in (*self._families.values(), self._database):
            try:
                rows.close()
            except Exception as error:  # rocksdict has no class of its own
                failed = failed or error
        self._families.clear()
        self._handles.clear()
        if failed is not None:
            raise _error(failed, f"cannot close {self.path}") from failed

    def iterator(self, family: Family) -> RdictIter:
        """Return an iterator over a family as it is now."""
        return self._families[family].iter()

    def discard(self, view: _View) -> None:
        """Pin nothing for `view` any more."""
        self._views.discard(view)

    def failed_read(self, error: Exception) -> StateError:
        """Return the error of ours for one of reading."""
        return _error(error, f"cannot read {self.path}")


class _View:
    """The rows as they were at one moment."""

    def __init__(self, rows: RocksRows) -> None:
        self._rows = rows
        self._iterators: dict[Family, RdictIter] = {}
        self._closed = False

    def pin(self, family: Family) -> None:
        if family not in self._iterators:
            self._iterators[family] = self._rows.iterator(family)

    def get(self, family: Family, key: bytes) -> bytes | None:
        found = self._pinned(family)
        try:
            found.seek(key)
            if not found.valid():
                found.status()
            elif found.key() == key:
                return found.value()
        except Exception as error:  # rocksdict has no class of its own
            raise self._rows.failed_read(error) from error
        return None

    def scan(
        self, family: Family, low: bytes, high: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._rows, self._pinned(family), low, high, reverse=reverse)

    def close(self) -> None:
        self._closed = True
        self._iterators.clear()
        self._rows.discard(self)

    def _pinned(self, family: Family) -> RdictIter:
        if self._closed:
            raise StateError("the view is closed")
        self.pin(family)
        return self._iterators[family]


def _scan(
    rows: RocksRows, found: RdictIter, low: bytes, high: bytes, *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    try:
        if not reverse:
            found.seek(low)
        else:
            found.seek_for_prev(high)
            if found.valid() and found.key() == high:
                found.prev()
        step = found.prev if reverse else found.next
        while found.valid():
            key = found.key()
            if not low <= key < high:
                return
            yield key, found.value()
            step()
        found.status()
    except Exception as error:  # rocksdict has no class of its own
        raise rows.failed_read(error) from error


def _error(error: Exception, what: str) -> StateError:
    """Return the error of ours that RocksDB's text stands for."""
    text = f"{what}: {error}"
    if "While lock file" in text or "lock hold by current process" in text:
        return StateOwned(text)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        # RocksDB looks for room every few seconds, and writes again once it has flushed all it
        # holds in memory, which is up to 32 MB.
        return StateDiskFull(text, hint="free at least 64 MB; writing then goes on by itself")
    if str(error).startswith("Corruption") or _LOST_FILE.search(text):
        return StateCorrupt(text)
    if "Read-only file system" in text or "Permission denied" in text:
        return StateError(
            text, hint="the state directory has to be writable; --state names another"
        )
    return StateError(text)
