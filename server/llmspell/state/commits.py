"""What every backend does alike with a commit: compare its checks, and say what is too large.

Shared so that a commit that is refused by one backend is refused by all, with
the same error. Not a transaction: nothing here reads or writes a store.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmspell.errors import StateConflict, StateTooLarge
from llmspell.state.store import Check, CheckRange, Key


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


def require_range(check: CheckRange, found: Sequence[tuple[Key, int]]) -> None:
    """Hold `check` against what its scan finds, up to one row more than it has seen.

    Raises:
        StateConflict: They differ.
    """
    if tuple(found) != check.seen:
        raise StateConflict(
            f"{check.family.value} keys under {check.prefix!r} have changed",
            data={"expected": len(check.seen), "found": len(found)},
        )


def _named(version: int) -> str:
    return f"version {version}" if version else "no value"


def too_large(what: str, size: int, limit: int, *, unit: str = "bytes") -> StateTooLarge:
    """Return the error of something of `size` bytes where `limit` are allowed."""
    return StateTooLarge(
        f"the {what} has {size} {unit}, the limit is {limit}",
        data={"size": size, "limit": limit},
    )
