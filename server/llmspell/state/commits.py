"""What every backend does alike with a commit: hold its limits, compare its checks.

Shared so that a commit that is refused by one backend is refused by all, with
the same error. Not a transaction: nothing here reads or writes a store.
"""

from __future__ import annotations

from llmspell.errors import StateConflict, StateTooLarge
from llmspell.state.keys import pack
from llmspell.state.store import MAX_KEY_BYTES, MAX_VALUE_BYTES, Check, Key


def packed_key(key: Key) -> bytes:
    """Return the bytes of a key that is to be written.

    Raises:
        StateTooLarge: It is over `MAX_KEY_BYTES`.
    """
    packed = pack(key)
    if len(packed) > MAX_KEY_BYTES:
        raise too_large("key", len(packed), MAX_KEY_BYTES)
    return packed


def limited_value(value: bytes) -> bytes:
    """Return `value`.

    Raises:
        StateTooLarge: It is over `MAX_VALUE_BYTES`.
    """
    if len(value) > MAX_VALUE_BYTES:
        raise too_large("value", len(value), MAX_VALUE_BYTES)
    return value


def require(check: Check, found: int) -> None:
    """Hold `check` against the version found, 0 for an absent key.

    Raises:
        StateConflict: They differ.
    """
    if found != check.version:
        name = f"{check.family.value} key {check.key!r}"
        raise StateConflict(
            f"{name} has {_named(found)}, not {_named(check.version)}",
            data={"expected": check.version, "found": found},
        )


def _named(version: int) -> str:
    return f"version {version}" if version else "no value"


def too_large(what: str, size: int, limit: int) -> StateTooLarge:
    """Return the error of something of `size` bytes where `limit` are allowed."""
    return StateTooLarge(
        f"the {what} has {size} bytes, the limit is {limit}",
        data={"size": size, "limit": limit},
    )
