"""The index of what expires: family TTL, `(due in ms, family, packed key)`, swept in this order.

An entry says itself when it expires, and reads go by that alone. The index is for
finding what can be deleted; a sweep looks at the entry before it believes a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from llmspell.errors import StateCorrupt
from llmspell.state.entries import decode_key, measure
from llmspell.state.keys import pack, prefix_range
from llmspell.state.rows import RowsReader
from llmspell.state.store import Delete, Entry, Family


def is_live(entry: Entry, now: Callable[[], float]) -> bool:
    """Return whether an entry still counts; `now` gives the Unix time, where it matters."""
    return entry.expires_at is None or now() < entry.expires_at


def index_key(family: Family, packed: bytes, expires_at: float) -> bytes:
    """Return the packed key of the index row of an entry; it is due no sooner than that expires."""
    return pack((math.ceil(expires_at * 1000), family.value, packed))


def due(rows: RowsReader, now: float) -> Iterator[tuple[Delete, bool]]:
    """Yield what a sweep at Unix time `now` deletes, and whether that is a key that has expired.

    The rest are index rows without such a key.

    Raises:
        StateCorrupt: The index is damaged.
    """
    _, high = prefix_range((math.floor(now * 1000),))
    for packed, _ in rows.scan(Family.TTL, b"", high):
        row = decode_key(packed)
        match row:
            case (int(), str(name), bytes(key)) if name in _FAMILIES:
                family = _FAMILIES[name]
            case _:
                raise StateCorrupt(f"the index of what expires has a row {row!r}")
        stored = rows.get(family, key)
        expires_at = None if stored is None else measure(key, stored)[1]
        if expires_at is None or index_key(family, key, expires_at) != packed:
            yield Delete(Family.TTL, row), False
        elif expires_at <= now:
            yield Delete(family, decode_key(key)), True


_FAMILIES = {family.value: family for family in Family}
