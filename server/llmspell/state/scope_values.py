"""What spells keep and are shown: JSON values, opaque versions, pages of items.

A value lies as one tag byte and the JSON. A version is shown as 16 hexadecimal
digits, to be compared and handed back, not to be reckoned with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from llmspell.errors import StateCorrupt, StateError
from llmspell.state.commits import too_large
from llmspell.state.store import Entry, Key
from llmspell.values import JSON, Object, dumps

MAX_VALUE_BYTES: Final = 256 << 10
"""Largest value of a spell, in bytes of JSON."""

MAX_SCAN: Final = 1000
"""Most keys that one scan returns."""

_JSON_TAG: Final = b"j"
_VERSION: Final = re.compile(r"[0-9a-f]{16}")
_INT64: Final = range(-(1 << 63), 1 << 63)


def encoded(value: JSON) -> bytes:
    """Return the stored bytes of a value.

    Raises:
        StateError: It is no JSON.
        StateTooLarge: It is over `MAX_VALUE_BYTES`.
    """
    try:
        text = msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StateError(f"the value is no JSON: {error}") from error
    if len(text) > MAX_VALUE_BYTES:
        raise too_large("value", len(text), MAX_VALUE_BYTES)
    return _JSON_TAG + text


def decoded(key: str, entry: Entry) -> JSON:
    """Return the value of an entry; `key` is for the error.

    Raises:
        StateCorrupt: Its bytes are none.
    """
    try:
        if entry.value[:1] != _JSON_TAG:
            raise ValueError(f"unknown tag {entry.value[:1]!r}")
        return msgspec.json.decode(memoryview(entry.value)[1:])
    except ValueError as error:
        raise StateCorrupt(f"the value of state key {key!r} is damaged: {error}") from error


def shown(version: int) -> str:
    """Return a version as spells see it."""
    return f"{version:016x}"


def parsed(version: str) -> int:
    """Return the version a spell handed back; "" is that of an absent key.

    Raises:
        StateError: It is none.
    """
    if not version:
        return 0
    if not _VERSION.fullmatch(version):
        raise StateError(
            f"{version!r} is no version",
            hint='pass what get, set or scan returned, or "" for a key that must be absent',
        )
    return int(version, 16)


def shown_entry(key: str, entry: Entry | None) -> list[JSON]:
    """Return `[value, version]`, `[None, None]` for an absent key."""
    return [None, None] if entry is None else [decoded(key, entry), shown(entry.version)]


def limited(limit: int) -> int:
    """Return the limit of a scan.

    Raises:
        StateError: It is not from 1 to `MAX_SCAN`.
    """
    if not 1 <= limit <= MAX_SCAN:
        raise StateError(f"the limit of a scan is from 1 to {MAX_SCAN}, not {limit}")
    return limit


def shown_page(rows: Sequence[tuple[Key, Entry]], limit: int) -> Object:
    """Return `{items = [{key, value, version}], next = key or null}` of up to one row too many."""
    items = [
        {"key": name, "value": decoded(name, entry), "version": shown(entry.version)}
        for name, entry in ((str(path[-1]), entry) for path, entry in rows[:limit])
    ]
    return {"items": items, "next": items[-1]["key"] if len(rows) > limit else None}


def expiry(now: float, ttl_seconds: float | None) -> float | None:
    """Return when something written at `now` expires.

    Raises:
        StateError: `ttl_seconds` is no positive number.
    """
    if ttl_seconds is None:
        return None
    if not (is_number(ttl_seconds) and math.isfinite(ttl_seconds) and ttl_seconds > 0):
        raise StateError(f"a key is kept for a positive number of seconds, not {ttl_seconds!r}")
    return now + ttl_seconds


def increased(key: str, entry: Entry | None, by: float) -> int | float:
    """Return the number of an entry, absent counting as 0, increased by `by`.

    Raises:
        StateError: The entry is no number, or the sum is neither a 64-bit integer nor a
            finite float.
    """
    number = 0 if entry is None else decoded(key, entry)
    if not is_number(number):
        raise StateError(
            f"state key {key!r} holds {_kind(number)}, not a number",
            hint="increment works on numbers; use State.update for other values",
        )
    try:
        total = number + by
    except OverflowError:  # an integer too large to meet a float
        total = math.inf
    if total in _INT64 if isinstance(total, int) else math.isfinite(total):
        return total
    raise StateError(f"state key {key!r} would leave the range of numbers")


def is_number(value: JSON) -> bool:
    """Return whether a value is a number, which a boolean is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def step_of(by: float) -> float:
    """Return by how much a key is incremented.

    Raises:
        StateError: It is no number.
    """
    if not is_number(by):
        raise StateError(f"a state key is incremented by a number, not {dumps(by)}")
    return by


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
