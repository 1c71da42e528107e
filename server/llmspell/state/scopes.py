"""What spells see of the store: keys in a scope, JSON values, opaque versions.

Not a permission check: whether a spell may use a scope at all is asked before.
Writes are `written` unless told otherwise: they survive the end of the process.

Methods that write take `record`: called with the method's result, it gives writes
to other families for the same batch, so that both are there or neither. It is
called again when the method has to begin again, and not at all when it turns
out that nothing is to be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from llmspell.clock import Clock, SystemClock
from llmspell.effects.effect import StateScope
from llmspell.errors import StateConflict
from llmspell.security.principals import Caller
from llmspell.state.scope_keys import MAX_KEY_BYTES, Place, bounds, check_size
from llmspell.state.scope_values import (
    MAX_SCAN,
    MAX_VALUE_BYTES,
    decoded,
    encoded,
    expiry,
    increased,
    limited,
    parsed,
    shown,
    shown_entry,
    shown_page,
    step_of,
)
from llmspell.state.scoped_transaction import ScopedTransaction
from llmspell.state.store import (
    Changes,
    Check,
    Delete,
    DeletePrefix,
    Durability,
    Family,
    Key,
    Put,
    Store,
    Write,
)
from llmspell.values import JSON, Object

__all__ = ["MAX_KEY_BYTES", "MAX_SCAN", "MAX_VALUE_BYTES", "ScopedTransaction", "Scopes"]

RecordWrites: TypeAlias = Callable[[JSON], Sequence[Write]]


class Scopes:
    """The state of spells in a store.

    Every method takes who calls, for which spell, and in which run, which only
    the scope "run" needs. Every method raises `StateError` for a key that is
    empty or not valid Unicode, and `StateTooLarge` for one over `MAX_KEY_BYTES`.

    Args:
        store: Where it is kept.
        clock: What expiry goes by: the store's own.
    """

    def __init__(self, store: Store, *, clock: Clock | None = None) -> None:
        self._store = store
        self._clock = clock or SystemClock()

    async def get(
        self, caller: Caller, spell: str, scope: StateScope, key: str, *, run_id: str = ""
    ) -> list[JSON]:
        """Return `[value, version]`, or `[None, None]` when the key is absent.

        Raises:
            StateCorrupt: The stored bytes are damaged.
        """
        path = Place(caller, spell, run_id).path(scope, key)
        return shown_entry(key, await self._store.get(Family.KV, path))

    async def set(
        self,
        caller: Caller,
        spell: str,
        scope: StateScope,
        key: str,
        value: JSON,
        *,
        if_version: str | None = None,
        ttl_seconds: float | None = None,
        run_id: str = "",
        record: RecordWrites | None = None,
        durability: Durability = Durability.WRITTEN,
    ) -> str:
        """Write a key and return its new version.

        Args:
            caller: Who casts.
            spell: Name of the spell that runs.
            scope: Where the key lives.
            key: The key, up to `MAX_KEY_BYTES`.
            value: A JSON value, up to `MAX_VALUE_BYTES`.
            if_version: Write only while the key has this version; "" = is absent.
            ttl_seconds: After so many seconds the key is absent again; None = it stays.
            run_id: The run that writes.
            record: Called with None: the result is the version of the batch it is part of.
            durability: What has to hold before this returns.

        Raises:
            StateConflict: The key has another version; nothing was written.
            StateTooLarge: The value is over its limit.
            StateQuota: More would be held than may be.
            StateError: The value is no JSON, `if_version` no version, or `ttl_seconds` no
                positive number.
        """
        path = Place(caller, spell, run_id).path(scope, key)
        checks = () if if_version is None else (Check(Family.KV, path, parsed(if_version)),)
        put = Put(Family.KV, path, encoded(value), expiry(self._clock.time(), ttl_seconds))
        try:
            version = await self._store.commit(
                (put, *record(None)) if record else (put,), checks=checks, durability=durability
            )
        except StateConflict as error:
            raise _conflict(key) from error
        return shown(version)

    async def delete(
        self,
        caller: Caller,
        spell: str,
        scope: StateScope,
        key: str,
        *,
        if_version: str | None = None,
        run_id: str = "",
        record: RecordWrites | None = None,
        durability: Durability = Durability.WRITTEN,
    ) -> bool:
        """Delete a key and return whether it was there.

        Raises:
            StateConflict: `if_version` is given, and the key has another version.
            StateError: `if_version` is no version.
        """
        path = Place(caller, spell, run_id).path(scope, key)
        expected = None if if_version is None else parsed(if_version)
        delete = Delete(Family.KV, path)
        while True:
            entry = await self._store.get(Family.KV, path)
            found = entry.version if entry else 0
            if expected is not None and expected != found:
                raise _conflict(key)
            if not found:
                return False
            try:
                await self._store.commit(
                    (delete, *record(True)) if record else (delete,),
                    checks=(Check(Family.KV, path, found),),
                    durability=durability,
                )
            except StateConflict:
                continue  # another writer got through, so the whole goes forward
            return True

    async def increment(
        self,
        caller: Caller,
        spell: str,
        scope: StateScope,
        key: str,
        by: float = 1,
        *,
        run_id: str = "",
        record: RecordWrites | None = None,
        durability: Durability = Durability.WRITTEN,
    ) -> int | float:
        """Add `by` to the number of a key, absent counting as 0, and return the new number.

        Concurrent increments all count. When the key expires stays as it is.

        Raises:
            StateError: The key holds something else than a number, or the sum
                is neither a 64-bit integer nor a finite float.
            StateQuota: More would be held than may be.
        """
        path = Place(caller, spell, run_id).path(scope, key)
        by = step_of(by)
        while True:
            entry = await self._store.get(Family.KV, path)
            total = increased(key, entry, by)
            put = Put(Family.KV, path, encoded(total), entry.expires_at if entry else None)
            try:
                await self._store.commit(
                    (put, *record(total)) if record else (put,),
                    checks=(Check(Family.KV, path, entry.version if entry else 0),),
                    durability=durability,
                )
            except StateConflict:
                continue  # another writer got through, so the whole goes forward
            return total

    async def scan(
        self,
        caller: Caller,
        spell: str,
        scope: StateScope,
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int = 100,
        reverse: bool = False,
        run_id: str = "",
    ) -> Object:
        """Return `{items = [{key, value, version}], next = key or null}`, in key order.

        Keys compare by code point. With `reverse` the order is descending. `next`
        is there when more follow: given as `after`, with the same other
        arguments, it continues behind the last item.

        Raises:
            StateError: `limit` is not from 1 to `MAX_SCAN`.
        """
        limit = limited(limit)
        root = Place(caller, spell, run_id).root(scope)
        path, low, high = bounds(root, prefix, after, reverse=reverse)
        rows = await self._store.scan(
            Family.KV,
            path,
            after=low,
            before=high,
            limit=limit + 1,
            reverse=reverse,
            partial=True,
        )
        return shown_page(rows, limit)

    async def watch(
        self,
        caller: Caller,
        spell: str,
        scope: StateScope,
        prefix: str = "",
        *,
        since: str | None = None,
        timeout_seconds: float | None = None,
        run_id: str = "",
    ) -> Object:
        """Wait until a key under `prefix` has changed after version `since`, and tell what has.

        Args:
            caller: Who casts.
            spell: Name of the spell that runs.
            scope: Where the keys live.
            prefix: What they begin with.
            since: The `next` of an earlier result; None = from now on.
            timeout_seconds: Longest wait, after which `changes` is empty; None = for ever.
            run_id: The run that watches.

        Returns:
            `{changes = [{key, value, version, deleted}], next = version, resync = bool}`: the
            newest of each key. With `resync` changes before these were missed: scan, then go
            on from `next`.

        Raises:
            StateError: `since` is no version.
        """
        check_size("prefix", prefix)
        path = *Place(caller, spell, run_id).root(scope), prefix
        version = await self._store.commit(()) if since is None else parsed(since)
        try:
            async with self._clock.timeout(timeout_seconds):
                found = await self._store.changes(Family.KV, path, since=version, partial=True)
        except TimeoutError:
            found = await self._changed_meanwhile(path, version)
        changes = [
            {
                "key": str(change.key[-1]),
                "value": None
                if change.entry is None
                else decoded(str(change.key[-1]), change.entry),
                "version": shown(change.version),
                "deleted": change.entry is None,
            }
            for change in found.changes
        ]
        return {"changes": changes, "next": shown(found.version), "resync": found.resync}

    def transaction(self, caller: Caller, spell: str, *, run_id: str = "") -> ScopedTransaction:
        """Begin a transaction over all scopes of a run. It ends with its `commit` or `close`."""
        return ScopedTransaction(self._store, Place(caller, spell, run_id), self._clock)

    @staticmethod
    def drop_run(tenant: str, run_id: str) -> DeletePrefix:
        """Return the write that deletes what a run kept in its own scope."""
        return DeletePrefix(Family.KV, (tenant, "run", run_id))

    async def _changed_meanwhile(self, path: Key, since: int) -> Changes:
        """Return what has changed by now; at least up to the version of now nothing is missed."""
        version = await self._store.commit(())
        changes = self._store.changes(Family.KV, path, since=since, partial=True)
        # The first step alone: it returns what there is, or begins to wait.
        task = asyncio.ensure_future(changes)
        try:
            await asyncio.sleep(0)
            return task.result() if task.done() else Changes((), version)
        finally:
            task.cancel()


def _conflict(key: str) -> StateConflict:
    return StateConflict(
        f"state key {key!r} has changed meanwhile", hint="read it again, then retry"
    )
