"""The `rocksdb` backend: one RocksDB directory, owned by one process.

Reads and writes run on the event loop: a get takes microseconds, and a hop to
a thread twenty times as long. What waits for the disk runs in threads: the sync
of `durable` commits (`GroupCommit`), a checkpoint, a verification.

`memory` is kept as `written` is: without the log, families would reach the disk
one by one, and a commit could come back in part.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from llmspell import failpoints
from llmspell.clock import Clock, SystemClock
from llmspell.errors import StateDiskFull, StateError
from llmspell.state.entries import header_of
from llmspell.state.group_commit import GroupCommit
from llmspell.state.migration import COMMIT_KEY
from llmspell.state.rocks_rows import RocksRows
from llmspell.state.rows import Range, RowWrites
from llmspell.state.store import (
    Check,
    CheckRange,
    Durability,
    Family,
    Quotas,
    Verification,
    Write,
)
from llmspell.state.verification import verification
from llmspell.state.versioned import VersionedStore

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 1.0
"""How often a store that met a full disk tries whether there is room again.

No file is kept to be deleted when the disk is full: what RocksDB needs to go on is
the 32 MB its write buffers hold, so that file would have to be as large as what an
operator frees anyway, in every project, for good.
"""

_Result = TypeVar("_Result")


class RocksStore(VersionedStore):
    """A `Store` in a directory. Made by `open`; used from one event loop."""

    def __init__(self, rows: RocksRows, *, clock: Clock, quotas: Quotas) -> None:
        super().__init__(rows, clock=clock, quotas=quotas, name=str(rows.path))
        self._files = rows
        self._group_commit = GroupCommit(rows.sync)
        self._threads: set[asyncio.Task[Any]] = set()
        self._closing = asyncio.Lock()
        self._full: StateDiskFull | None = None
        self._probe: asyncio.Task[None] | None = None

    @classmethod
    def open(
        cls, path: str | Path, *, clock: Clock | None = None, quotas: Quotas | None = None
    ) -> Self:
        """Open the database in directory `path`, or make one there, and become its owner.

        Blocks for about 0.1 s, longer when a log of writes is to be replayed or
        an older format to be migrated.

        Args:
            path: The directory.
            clock: What expiry goes by; the machine's own when None.
            quotas: What tenants and scopes may hold; anything when None.

        Raises:
            StateOwned: Another process, or this one, has it open.
            StateNewerFormat: A newer llmspell wrote it.
            StateCorrupt: It is damaged; nothing was changed.
            StateDiskFull: The disk is full.
        """
        rows = RocksRows.open(Path(path))
        try:
            return cls(rows, clock=clock or SystemClock(), quotas=quotas or Quotas())
        except BaseException:  # whatever it is: the database must not stay locked
            rows.close()
            raise

    @property
    def sync_count(self) -> int:
        """Syncs that `durable` commits have cost so far; they share them."""
        return self._group_commit.rounds

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check | CheckRange] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        """Apply `writes` all or none, in order, and return the version they got.

        Raises:
            StateConflict: A check does not hold; nothing was written.
            StateTooLarge: A key or value is over its limit; nothing was written.
            StateQuota: A quota would be exceeded; nothing was written.
            StateDiskFull: The disk is full; nothing was written. Later commits
                are refused at once until a probe, once a second, finds room.
            StateError: Another failure of the disk. When only the sync of a
                `durable` commit failed, the message says that it was written.
        """
        version = self._commit(writes, checks)
        if writes:
            failpoints.hit("state.after_write")
        if durability is Durability.DURABLE:
            await self._group_commit.wait()
        return version

    async def verify(self) -> Verification:
        """Read every row of every family, as of now, and return what was found.

        It works in a thread, in slices, so that others are answered meanwhile.

        Raises:
            StateError: The store was closed meanwhile.
        """
        self._check_open()
        view = self._files.view()
        for family in Family:
            view.pin(family)
        reading = verification(view)
        try:
            while (found := await self._in_thread(lambda: _step(reading))) is None:
                self._check_open()
            return found
        finally:
            reading.close()  # or it keeps the database open for as long as an error keeps it
            view.close()

    async def checkpoint(self, path: Path) -> None:
        """Make directory `path` a database of its own with all that is committed now.

        Files that no longer change are shared with it by hard links, so it has to
        lie on the same file system; its parent has to exist, and it not.

        Raises:
            StateDiskFull: The disk is full.
            StateError: `path` exists already, or another failure of the disk.
        """
        self._check_open()
        await self._in_thread(lambda: self._files.checkpoint(path))

    async def close(self) -> None:
        """Finish what waits for a sync, flush and release everything. Twice is no error."""
        async with self._closing:
            if self._closed:
                return
            self._end()
            if self._probe is not None:
                self._probe.cancel()
                await asyncio.wait([self._probe])
            if self._threads:
                await asyncio.wait(self._threads)
            await asyncio.to_thread(self._release)

    def _write(self, rows: RowWrites, ranges: Sequence[Range]) -> None:
        if self._full is not None:
            raise StateDiskFull(self._full.message, hint=self._full.hint)
        try:
            super()._write(rows, ranges)
        except StateDiskFull as error:
            log.error(
                "the disk is full, writes of state are refused until there is room: %s", error
            )
            self._full = error
            self._probe = asyncio.create_task(self._wait_for_room())
            raise

    async def _wait_for_room(self) -> None:
        """Try once a second to write what is there already, until that works."""
        while True:
            await self._clock.sleep(PROBE_SECONDS)
            try:
                self._files.write({Family.META: {COMMIT_KEY: header_of(self._version)}})
            except StateError as error:
                log.debug("still no room: %s", error)
            else:
                self._full = None
                log.warning("there is room on the disk again: state can be written")
                return

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        """Run `work` in a thread, and return only once that is through, also when cancelled."""
        task = asyncio.create_task(asyncio.to_thread(work))
        self._threads.add(task)
        task.add_done_callback(self._threads.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # A thread cannot be stopped, and what it reads must not be taken from it.
            while not task.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # looked at, so that nobody warns of it
            raise

    def _release(self) -> None:
        self._group_commit.stop()
        self._files.close()


def _step(reading: Generator[None, None, Verification]) -> Verification | None:
    try:
        next(reading)
    except StopIteration as end:
        return end.value
    return None
