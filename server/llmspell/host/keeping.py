"""Keeping: ended runs are deleted once they are old, too many or too large; the newest stay.

A run goes together with all it began, and only once all of that has ended.
Each deleted run leaves a mark, so that `run.collected` and `run.not_found` are
told apart. A mark is one small row that expires after as long as the run would
have been kept: exact, where a filter would guess, and never more than the runs
that were kept at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from llmspell.clock import Clock
from llmspell.config import RunSettings
from llmspell.errors import RunCollected, RunError, RunNotFound, StateConflict, StateError
from llmspell.host.keys import key_writes
from llmspell.host.run_interface import Pruned
from llmspell.runs.record import Run
from llmspell.runs.run_index import Indexed, index_value, indexed, read_index
from llmspell.security.principals import Caller
from llmspell.state.store import (
    Check,
    Delete,
    DeletePrefix,
    Durability,
    Entry,
    Family,
    Key,
    Put,
    Store,
    Write,
)

log = logging.getLogger(__name__)

PRUNE_SECONDS: Final = 3600.0
"""Time from one pass over all runs to the next."""

SWEEP_SECONDS: Final = 60.0
"""Time from one look at the clock to the next; what has expired is then swept from the store."""

_PAGE = 500
_PIECES = 100  # events or recorded effects read at once: any may be large
_SLICE = 50  # runs deleted in one commit
_SWEPT = 1000  # keys swept in one commit
_LEAST_MARK = 86_400.0

_decode_run = msgspec.msgpack.Decoder(Run).decode


@dataclass(frozen=True, slots=True)
class Kept:
    """One run, as retention sees it."""

    key: Key
    """Of its entry in the index; see `runs.run_index`."""
    entry: Indexed

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.key[4])

    @property
    def updated_at(self) -> float:
        """Unix time of its last change."""
        return int(self.key[3]) / 1_000_000


class Keeping:
    """Deletes what is not kept any longer: every hour by itself, and when asked.

    Args:
        settings: How much is kept, of each principal.
    """

    def __init__(self, store: Store, clock: Clock, settings: RunSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Delete by itself from now on: at once, then every hour."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Delete nothing more. Closing twice is no error."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def prune(
        self, *, caller: Caller | None = None, before: float | None = None, dry: bool = False
    ) -> Pruned:
        """Delete what the settings do not keep, and return how much that was.

        Args:
            caller: Whose runs; everybody's when None.
            before: Delete every run last changed before this Unix time instead.
            dry: Only count.
        """
        runs = size = 0
        async with self._lock:
            async for found in self._by_principal(caller, dry=dry):
                # In a thread: sorting a hundred thousand would hold up everybody.
                doomed = await asyncio.to_thread(
                    not_kept, found, self._settings, now=self._clock.time(), before=before
                )
                runs += len(doomed)
                size += sum(run.entry.bytes for run in doomed)
                if not dry:
                    for start in range(0, len(doomed), _SLICE):
                        await self._delete(doomed[start : start + _SLICE])
        return Pruned(runs=runs, bytes=size)

    # -- the hours

    async def _keep(self) -> None:
        pruned_at: float | None = None
        while True:
            now = self._clock.time()
            try:
                # Also when the clock was set back: an hour may not become a year.
                if pruned_at is None or not 0 <= now - pruned_at < PRUNE_SECONDS:
                    pruned_at = now
                    done = await self.prune()
                    if done.runs:
                        log.info("deleted %d old runs, %d bytes", done.runs, done.bytes)
                while await self._store.sweep(limit=_SWEPT) == _SWEPT:
                    pass
            except StateError as error:  # e.g. a full disk: it is tried again
                log.warning("old runs and expired keys could not be deleted: %s", error)
            except Exception:  # what is not deleted now is deleted later; casting goes on
                log.exception("deleting old runs failed")
            await self._clock.sleep(SWEEP_SECONDS)

    # -- reading

    async def _by_principal(
        self, caller: Caller | None, *, dry: bool
    ) -> AsyncIterator[Sequence[Kept]]:
        """Yield the runs of one principal after the other, measured where they have ended."""
        prefix: Key = ("by",) if caller is None else ("by", caller.tenant, caller.principal)
        found: list[Kept] = []
        after: Key | None = None
        while True:
            page = await self._store.scan(Family.RUN, prefix, after=after, limit=_PAGE)
            measured: list[tuple[Key, Entry, Indexed]] = []
            for key, stored in page:
                if found and found[-1].key[1:3] != key[1:3]:
                    yield found
                    found = []
                entry = await self._entry(key, stored)
                if entry.is_final and not entry.bytes:
                    entry = await self._measured(key, entry)
                    measured.append((key, stored, entry))
                found.append(Kept(key, entry))
            if measured and not dry:
                await self._note(measured)
            if len(page) < _PAGE:
                break
            after = page[-1][0]
        if found:
            yield found

    async def _entry(self, key: Key, stored: Entry) -> Indexed:
        entry = read_index(stored.value)
        if entry is not None:
            return entry
        record = await self._store.get(Family.RUN, ("run", *key[1:2], key[4]))
        if record is None:  # nothing but the entry is left
            return Indexed(session="", state="failed", door="", parent=None)
        return indexed(_decode_run(record.value))

    async def _measured(self, key: Key, entry: Indexed) -> Indexed:
        """Return an ended run's entry with its size, and whether it had effects: once for all."""
        tenant, run_id = str(key[1]), str(key[4])
        record = await self._store.get(Family.RUN, ("run", tenant, run_id))
        size = len(record.value) if record else 1
        calls = _decode_run(record.value).usage.calls if record else 0
        _, events = await self._extent(Family.EVENT, run_id)
        effects, journal = await self._extent(Family.JOURNAL, run_id)
        return msgspec.structs.replace(
            entry, bytes=size + events + journal, is_plain=effects == 0 and calls == 0
        )

    async def _extent(self, family: Family, run_id: str) -> tuple[int, int]:
        """Return how many rows a run has in a family, and their bytes."""
        rows = size = 0
        after: Key | None = None
        while True:
            page = await self._store.scan(family, (run_id,), after=after, limit=_PIECES)
            rows += len(page)
            size += sum(len(entry.value) for _, entry in page)
            if len(page) < _PIECES:
                return rows, size
            after = page[-1][0]

    async def _note(self, measured: Sequence[tuple[Key, Entry, Indexed]]) -> None:
        try:
            await self._store.commit(
                [Put(Family.RUN, key, index_value(entry)) for key, _, entry in measured],
                checks=[Check(Family.RUN, key, stored.version) for key, stored, _ in measured],
                durability=Durability.MEMORY,
            )
        except StateConflict:  # measured again in the next pass
            log.debug("runs changed while they were measured")

    # -- deleting

    async def _delete(self, runs: Sequence[Kept]) -> None:
        now = self._clock.time()
        writes: list[Write] = []
        for run in runs:
            tenant, principal = str(run.key[1]), str(run.key[2])
            writes += [
                Delete(Family.RUN, ("run", tenant, run.id)),
                Delete(Family.RUN, run.key),
                DeletePrefix(Family.EVENT, (run.id,)),
                DeletePrefix(Family.JOURNAL, (run.id,)),
                DeletePrefix(Family.KV, (tenant, "run", run.id)),
                *await self._key_of(run, now),
                _mark(tenant, principal, run, now, self._settings),
            ]
        await self._store.commit(writes)

    async def _key_of(self, run: Kept, now: float) -> Sequence[Write]:
        """Return what deletes a run's idempotency key."""
        if run.entry.parent is not None or now - run.updated_at >= self._settings.idempotency:
            return ()  # it has none any more
        stored = await self._store.get(Family.RUN, ("run", *run.key[1:2], run.id))
        return await key_writes(self._store, _decode_run(stored.value)) if stored else ()


async def missing_run(store: Store, caller: Caller, run_id: str) -> RunError:
    """Return the error of a run that is not in the store.

    Returns:
        `RunCollected` when it was the caller's and has been deleted, else `RunNotFound`.
    """
    mark = await store.get(Family.RUN, _mark_key(caller.tenant, run_id))
    if mark is not None and mark.value == caller.principal.encode():
        return RunCollected(f"run {run_id} was deleted", run_id=run_id)
    return RunNotFound(f"no run {run_id!r}")


def not_kept(
    runs: Sequence[Kept], settings: RunSettings, *, now: float, before: float | None = None
) -> list[Kept]:
    """Return what of one principal's runs is to be deleted, children before their parents.

    Args:
        before: All that was last changed before this Unix time, and nothing else.
    """
    count = size = 0
    is_full = False
    doomed: list[Kept] = []
    for tree in sorted(_trees(runs), key=_changed_at, reverse=True):
        bytes_ = sum(run.entry.bytes for run in tree)
        if all(run.entry.is_final for run in tree):
            if before is not None:
                goes = _changed_at(tree) < before
            else:
                is_plain = len(tree) == 1 and tree[0].entry.is_plain
                limit = settings.keep_plain if is_plain else settings.keep
                # The newest stays, however large it is.
                is_full = is_full or (
                    count > 0
                    and (
                        count + len(tree) > settings.keep_count
                        or size + bytes_ > settings.keep_bytes
                    )
                )
                goes = is_full or now - _changed_at(tree) >= limit
            if goes:
                doomed += sorted(tree, key=lambda run: run.entry.parent is None)
                continue
        count += len(tree)
        size += bytes_
    return doomed


def _trees(runs: Sequence[Kept]) -> Iterator[list[Kept]]:
    """Yield each run that nothing here began, with all that it began."""
    by_id = {run.id: run for run in runs}
    trees: dict[str, list[Kept]] = {}
    for run in runs:
        root = run
        while root.entry.parent is not None and root.entry.parent in by_id:
            root = by_id[root.entry.parent]
        trees.setdefault(root.id, []).append(run)
    yield from trees.values()


def _changed_at(tree: Sequence[Kept]) -> float:
    return max(run.updated_at for run in tree)


def _mark_key(tenant: str, run_id: str) -> Key:
    return ("gone", tenant, run_id)


def _mark(tenant: str, principal: str, run: Kept, now: float, settings: RunSettings) -> Put:
    seconds = settings.keep_plain if run.entry.is_plain else settings.keep
    return Put(
        Family.RUN,
        _mark_key(tenant, run.id),
        principal.encode(),
        expires_at=now + max(seconds, _LEAST_MARK),
    )
