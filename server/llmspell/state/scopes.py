"""What spells see of the store: keys in a scope, JSON values, opaque versions.

A scope belongs to the caller or the spell as the host knows them, never as the
script names them; so no key a script can write reaches another tenant,
principal, session or spell. This is no permission check: whether a spell may
use a scope at all is asked before.

On disk: family `kv`, key `(tenant, scope, scope id, key)`, value one tag byte
and the JSON. Writes are `written`: they survive the end of the process.
"""

from __future__ import annotations

import math
import re
from typing import Final, assert_never

import msgspec

from llmspell.effects.effect import StateScope
from llmspell.errors import StateConflict, StateCorrupt, StateError
from llmspell.security.principals import Caller
from llmspell.state.commits import too_large
from llmspell.state.store import Check, Delete, Entry, Family, Key, Put, Store
from llmspell.values import JSON, Object, dumps

MAX_KEY_BYTES: Final = 1024
"""Longest key of a spell, in bytes of UTF-8."""

MAX_VALUE_BYTES: Final = 256 << 10
"""Largest value of a spell, in bytes of JSON."""

MAX_SCAN: Final = 1000
"""Most keys that one scan returns."""

_JSON_TAG: Final = b"j"
_VERSION = re.compile(r"[0-9a-f]{16}")
_INT64: Final = range(-(1 << 63), 1 << 63)


class Scopes:
    """The state of spells in a store. Every method takes who calls, and for which spell.

    Every method raises `StateError` for a key that is empty or not valid
    Unicode, and `StateTooLarge` for one over `MAX_KEY_BYTES`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, caller: Caller, spell: str, scope: StateScope, key: str) -> list[JSON]:
        """Return `[value, version]`, or `[None, None]` when the key is absent.

        Raises:
            StateCorrupt: The stored bytes are damaged.
        """
        entry = await self._store.get(Family.KV, _path(caller, spell, scope, key))
        return [None, None] if entry is None else [_decoded(key, entry), _shown(entry.version)]

    async def set(
        self,
        caller: Caller,
        spell: str,
        scope: StateScope,
        key: str,
        value: JSON,
        *,
        if_version: str | None = None,
    ) -> str:
        """Write a key and return its new version.

        Args:
            caller: Who casts.
            spell: Name of the spell that runs.
            scope: Where the key lives.
            key: The key, up to `MAX_KEY_BYTES`.
            value: A JSON value, up to `MAX_VALUE_BYTES`.
            if_version: Write only while the key has this version; "" = is absent.

        Raises:
            StateConflict: The key has another version; nothing was written.
            StateTooLarge: The value is over its limit.
            StateError: The value is no JSON, or `if_version` is no version.
        """
        path = _path(caller, spell, scope, key)
        checks = () if if_version is None else (Check(Family.KV, path, _parsed(if_version)),)
        try:
            version = await self._store.commit(
                (Put(Family.KV, path, _encoded(value)),), checks=checks
            )
        except StateConflict as error:
            raise _conflict(key) from error
        return _shown(version)

    async def delete(
        self,
        caller: Caller,
        spell: str,
        scope: StateScope,
        key: str,
        *,
        if_version: str | None = None,
    ) -> bool:
        """Delete a key and return whether it was there.

        Raises:
            StateConflict: `if_version` is given, and the key has another version.
            StateError: `if_version` is no version.
        """
        path = _path(caller, spell, scope, key)
        expected = None if if_version is None else _parsed(if_version)
        while True:
            entry = await self._store.get(Family.KV, path)
            found = entry.version if entry else 0
            if expected is not None and expected != found:
                raise _conflict(key)
            if not found:
                return False
            try:
                await self._store.commit(
                    (Delete(Family.KV, path),), checks=(Check(Family.KV, path, found),)
                )
            except StateConflict:
                continue  # another writer got through, so the whole goes forward
            return True

    async def increment(
        self, caller: Caller, spell: str, scope: StateScope, key: str, by: float = 1
    ) -> int | float:
        """Add `by` to the number of a key, absent counting as 0, and return the new number.

        Concurrent increments all count.

        Raises:
            StateError: The key holds something else than a number, or the sum
                is neither a 64-bit integer nor a finite float.
        """
        path = _path(caller, spell, scope, key)
        if not _is_number(by):
            raise StateError(f"a state key is incremented by a number, not {dumps(by)}")
        while True:
            entry = await self._store.get(Family.KV, path)
            number = 0 if entry is None else _decoded(key, entry)
            if not _is_number(number):
                raise StateError(
                    f"state key {key!r} holds {_kind(number)}, not a number",
                    hint="increment works on numbers; use State.update for other values",
                )
            total = _sum(key, number, by)
            check = Check(Family.KV, path, entry.version if entry else 0)
            try:
                await self._store.commit((Put(Family.KV, path, _encoded(total)),), checks=(check,))
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
    ) -> Object:
        """Return `{items = [{key, value, version}], next = key or null}`, in key order.

        Keys compare by code point. With `reverse` the order is descending. `next`
        is there when more follow: given as `after`, with the same other
        arguments, it continues behind the last item.

        Raises:
            StateError: `limit` is not from 1 to `MAX_SCAN`.
        """
        if not 1 <= limit <= MAX_SCAN:
            raise StateError(f"the limit of a scan is from 1 to {MAX_SCAN}, not {limit}")
        _check_size("prefix", prefix)
        root = _root(caller, spell, scope)
        bound = None if after is None else (*root, _checked(after))
        rows = await self._store.scan(
            Family.KV,
            (*root, prefix),
            after=None if reverse else bound,
            before=bound if reverse else None,
            limit=limit + 1,
            reverse=reverse,
            partial=True,
        )
        items = [
            {"key": name, "value": _decoded(name, entry), "version": _shown(entry.version)}
            for name, entry in ((str(path[-1]), entry) for path, entry in rows[:limit])
        ]
        return {"items": items, "next": items[-1]["key"] if len(rows) > limit else None}


def _root(caller: Caller, spell: str, scope: StateScope) -> Key:
    match scope:
        case "spell":
            owner = spell
        case "session":
            # A session's name comes from the client, so it counts only together
            # with who that is. JSON, so that no two pairs make one text.
            owner = dumps([caller.principal, caller.session])
        case "user":
            owner = caller.principal
        case "shared":
            owner = ""
        case _:
            assert_never(scope)
    return caller.tenant, scope, owner


def _path(caller: Caller, spell: str, scope: StateScope, key: str) -> Key:
    return *_root(caller, spell, scope), _checked(key)


def _checked(key: str) -> str:
    if not key:
        raise StateError("a state key must not be empty")
    _check_size("key", key)
    return key


def _check_size(what: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise StateError(f"the {what} {text!r} is not valid Unicode") from error
    if size > MAX_KEY_BYTES:
        raise too_large(what, size, MAX_KEY_BYTES)


def _encoded(value: JSON) -> bytes:
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"the value is no JSON: {error}") from error
    if len(encoded) > MAX_VALUE_BYTES:
        raise too_large("value", len(encoded), MAX_VALUE_BYTES)
    return _JSON_TAG + encoded


def _decoded(key: str, entry: Entry) -> JSON:
    try:
        if entry.value[:1] != _JSON_TAG:
            raise ValueError(f"unknown tag {entry.value[:1]!r}")
        return msgspec.json.decode(memoryview(entry.value)[1:])
    except ValueError as error:
        raise StateCorrupt(f"the value of state key {key!r} is damaged: {error}") from error


def _shown(version: int) -> str:
    return f"{version:016x}"


def _parsed(version: str) -> int:
    if not version:
        return 0
    if not _VERSION.fullmatch(version):
        raise StateError(
            f"{version!r} is no version",
            hint='pass what get, set or scan returned, or "" for a key that must be absent',
        )
    return int(version, 16)


def _conflict(key: str) -> StateConflict:
    return StateConflict(
        f"state key {key!r} has changed meanwhile", hint="read it again, then retry"
    )


def _sum(key: str, number: float, by: float) -> int | float:
    try:
        total = number + by
    except OverflowError:  # an integer too large to meet a float
        total = math.inf
    if total in _INT64 if isinstance(total, int) else math.isfinite(total):
        return total
    raise StateError(f"state key {key!r} would leave the range of numbers")


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: JSON) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
