"""Reading and writing state for one run.

A write carries its record in its own commit, so it is done once however often
the run is. A read is recorded with what comes after it. A transaction is one
record: a run that is performed again is given its value and does not repeat it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from llmspell.effects.effect import (
    AbandonTransaction,
    BeginTransaction,
    CommitTransaction,
    DeleteState,
    Effect,
    IncrementState,
    ReadInTransaction,
    ReadState,
    ScanInTransaction,
    ScanState,
    WatchState,
    WriteState,
)
from llmspell.errors import InternalError, LlmspellError, SpellRaised, StateConflict
from llmspell.runs.journal_records import Row
from llmspell.runs.work import Work
from llmspell.state.scopes import ScopedTransaction
from llmspell.state.store import Durability, Write
from llmspell.values import JSON, Object

PAUSE_SECONDS = 0.02
"""Longest pause between two attempts."""

MAX_OPEN = 16
"""Transactions that one run may have open at the same time."""

Record = Callable[[JSON], "list[Write]"]


@dataclass(slots=True)
class _Open:
    """A transaction under way."""

    transaction: ScopedTransaction
    limit: int
    attempts: int = 0


class StateEffects:
    """Performs the state effects of one run."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._scopes = work.services.scopes
        self._open: dict[int, _Open] = {}
        self._numbers = itertools.count(1)

    async def perform(self, effect: Effect, key: str) -> JSON:
        """Perform one effect and return its result.

        Raises:
            StateError: It could not be done.
        """
        performs = self._PERFORMS.get(type(effect))
        if performs is None:
            raise InternalError(f"nothing performs {type(effect).__name__}")
        return await performs(self, effect, key)

    def close(self) -> None:
        """Let go of transactions that were left open."""
        for item in self._open.values():
            item.transaction.close()
        self._open.clear()

    # -- single keys

    @property
    def _place(self) -> tuple[Any, str]:
        return self._work.caller, self._work.castable.state_name

    async def _noted(
        self, key: str, kind: str, name: str, read: Callable[[], Awaitable[JSON]]
    ) -> JSON:
        """Recall a read, or do it and note what it gave."""
        row = await self._work.recall(key, kind, name)
        if row is not None:
            return row.record.value
        journal = self._work.journal
        with self._work.tree.busy():
            try:
                value = await read()
            except LlmspellError as error:
                journal.note(key, kind, name, error.to_value(), ok=False)
                raise
        journal.note(key, kind, name, value)
        if journal.is_heavy:
            await self._work.act()
            await journal.flush()
        return value

    async def _written(
        self, key: str, kind: str, name: str, write: Callable[[Record], Awaitable[JSON]]
    ) -> tuple[JSON, Row | None]:
        """Recall a write, or do it with its record in the same commit."""
        row = await self._work.recall(key, kind, name)
        if row is not None:
            return row.record.value, row
        await self._work.act()
        journal = self._work.journal
        with self._work.tree.busy():
            try:
                with journal.slip(key, kind, name) as slip:
                    value = await write(slip.writes)
                    if not slip.is_taken:  # nothing was to be written: the key was absent already
                        journal.note(key, kind, name, value)
            except LlmspellError as error:
                journal.note(key, kind, name, error.to_value(), ok=False)
                raise
        return value, None

    async def _read(self, effect: ReadState, key: str) -> JSON:
        async def read() -> JSON:
            return await self._scopes.get(
                *self._place, effect.scope, effect.key, run_id=self._work.journal.run_id
            )

        return await self._noted(key, "state.get", f"{effect.scope} {effect.key}", read)

    async def _scan(self, effect: ScanState, key: str) -> JSON:
        async def read() -> JSON:
            return await self._scopes.scan(
                *self._place,
                effect.scope,
                effect.prefix,
                after=effect.after,
                limit=effect.limit,
                reverse=effect.reverse,
                run_id=self._work.journal.run_id,
            )

        return await self._noted(key, "state.scan", f"{effect.scope} {effect.prefix}", read)

    async def _watch(self, effect: WatchState, key: str) -> JSON:
        async def read() -> JSON:
            return await self._scopes.watch(
                *self._place,
                effect.scope,
                effect.prefix,
                since=effect.since,
                timeout_seconds=effect.timeout_seconds,
                run_id=self._work.journal.run_id,
            )

        return await self._noted(key, "state.watch", f"{effect.scope} {effect.prefix}", read)

    async def _write(self, effect: WriteState, key: str) -> JSON:
        async def write(record: Record) -> JSON:
            return await self._scopes.set(
                *self._place,
                effect.scope,
                effect.key,
                effect.value,
                if_version=effect.if_version,
                ttl_seconds=effect.ttl_seconds,
                run_id=self._work.journal.run_id,
                record=record,
            )

        name = f"{effect.scope} {effect.key}"
        value, row = await self._written(key, "state.set", name, write)
        # The record was made before its commit had a version, and has the same one.
        return value if row is None else f"{row.version:016x}"

    async def _delete(self, effect: DeleteState, key: str) -> JSON:
        async def write(record: Record) -> JSON:
            return await self._scopes.delete(
                *self._place,
                effect.scope,
                effect.key,
                if_version=effect.if_version,
                run_id=self._work.journal.run_id,
                record=record,
            )

        name = f"{effect.scope} {effect.key}"
        return (await self._written(key, "state.delete", name, write))[0]

    async def _increment(self, effect: IncrementState, key: str) -> JSON:
        async def write(record: Record) -> JSON:
            return await self._scopes.increment(
                *self._place,
                effect.scope,
                effect.key,
                by=effect.by,
                run_id=self._work.journal.run_id,
                record=record,
            )

        name = f"{effect.scope} {effect.key}"
        return (await self._written(key, "state.increment", name, write))[0]

    # -- transactions

    async def _begin(self, effect: BeginTransaction, key: str) -> JSON:
        row = self._work.journal.take(key, "state.transaction", "")
        if row is not None:
            self._work.journal.discard(key)
            if not row.record.ok:
                value = cast(Object, row.record.value)
                if "abandoned" in value:
                    return {"recorded": True, "error": value["abandoned"]}
                raise LlmspellError.from_value(value)
            return {"recorded": True, "value": row.record.value}
        if len(self._open) >= MAX_OPEN:
            raise SpellRaised(f"a run may have {MAX_OPEN} transactions open at the same time")
        number = next(self._numbers)
        self._open[number] = _Open(
            self._scopes.transaction(*self._place, run_id=self._work.journal.run_id),
            effect.attempts,
        )
        return {"transaction": number}

    def _opened(self, number: int) -> _Open:
        found = self._open.get(number)
        if found is None:
            raise SpellRaised("the transaction has ended")
        return found

    async def _read_in(self, effect: ReadInTransaction, key: str) -> JSON:
        return self._opened(effect.transaction).transaction.get(effect.scope, effect.key)

    async def _scan_in(self, effect: ScanInTransaction, key: str) -> JSON:
        return self._opened(effect.transaction).transaction.scan(
            effect.scope,
            effect.prefix,
            after=effect.after,
            limit=effect.limit,
            reverse=effect.reverse,
        )

    async def _commit(self, effect: CommitTransaction, key: str) -> JSON:
        item = self._opened(effect.transaction)
        work = self._work
        await work.act()
        await work.caught_up()
        slip = work.journal.slip(key, "state.transaction", "")
        try:
            with work.tree.busy(), slip:
                await item.transaction.commit(
                    effect.writes,
                    record=lambda: slip.writes(effect.value),
                    durability=Durability.DURABLE,
                )
        except StateConflict as error:
            item.attempts += 1
            if item.attempts < item.limit:
                # Full jitter: whoever lost together must not meet again at once.
                pause = random.uniform(0, min(PAUSE_SECONDS, 0.0002 * 2**item.attempts))
                await asyncio.sleep(pause)  # real time: it is about others, not about the run
                item.transaction.renew()
                return False
            await self._failed(effect.transaction, key, error.to_value())
            raise
        except LlmspellError as error:
            await self._failed(effect.transaction, key, error.to_value())
            raise
        self._close(effect.transaction)
        return True

    async def _failed(self, number: int, key: str, value: JSON) -> None:
        self._close(number)
        await self._work.journal.record(
            key, "state.transaction", "", value, ok=False, durability=Durability.WRITTEN
        )

    async def _abandon(self, effect: AbandonTransaction, key: str) -> JSON:
        await self._work.act()
        await self._work.caught_up()
        await self._failed(effect.transaction, key, {"abandoned": effect.error})
        return None

    def _close(self, number: int) -> None:
        self._opened(number).transaction.close()
        del self._open[number]

    # Of the class and not of each run: most ask for one or two of these, or none.
    _PERFORMS: ClassVar[dict[type[Any], Callable[..., Awaitable[JSON]]]] = {
        ReadState: _read,
        ScanState: _scan,
        WatchState: _watch,
        WriteState: _write,
        DeleteState: _delete,
        IncrementState: _increment,
        BeginTransaction: _begin,
        ReadInTransaction: _read_in,
        ScanInTransaction: _scan_in,
        CommitTransaction: _commit,
        AbandonTransaction: _abandon,
    }
