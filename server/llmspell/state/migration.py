"""The format of a store: begun, recognised, and brought up to this version's.

Family META holds `("format",)` and `("min_reader",)`, the oldest format whose
programs may still open the store, both in ASCII digits, and `("commit",)`,
whose header carries the version of the last commit.

A migration runs before anything else is done with the store, in batches; each
carries how far it has come, in `("migration",)`. So a kill in the middle costs
nothing: the next opening goes on from there. From its first batch on the store
has the new format, so that no older program writes in between.

Not a way back: an older program refuses the store. For that, restore a checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Final

from llmspell import failpoints
from llmspell.errors import StateCorrupt, StateNewerFormat
from llmspell.state.entries import decode, decode_key, encode, header_of, measure
from llmspell.state.keys import pack, prefix_range
from llmspell.state.rows import Rows
from llmspell.state.store import FORMAT_VERSION, Family, Key, Usage
from llmspell.state.usage import account_of, decode_counts, stored_counts

log = logging.getLogger(__name__)

MIN_READER: Final = 2
"""The oldest format whose programs may open what this version writes: usage has to be counted."""

COMMIT_KEY: Final = pack(("commit",))
_FORMAT: Final = pack(("format",))
_MIN_READER: Final = pack(("min_reader",))
_MIGRATION: Final = pack(("migration",))
_BATCH: Final = 1000


def prepare(rows: Rows, name: str) -> int:
    """Begin an empty store or migrate an older one, and return the version of its last commit.

    Blocks for about 5 us for each key of family KV when it has to migrate.

    Args:
        rows: The rows of the store.
        name: What errors call it.

    Raises:
        StateNewerFormat: A newer llmspell wrote it, and no longer lets this one in.
        StateCorrupt: Its format or its commit counter is damaged.
    """
    stored = rows.get(Family.META, _FORMAT)
    if stored is None:
        return _begin(rows, name)
    found = _number(_FORMAT, stored, name)
    least = rows.get(Family.META, _MIN_READER)
    if (found if least is None else _number(_MIN_READER, least, name)) > FORMAT_VERSION:
        raise StateNewerFormat(
            f"{name} has format {found}, this llmspell reads up to {FORMAT_VERSION}",
            data={"found": found, "supported": FORMAT_VERSION},
        )
    last = rows.get(Family.META, COMMIT_KEY)
    if last is None:
        raise StateCorrupt(f"{name} has lost its commit counter")
    header = header_of(decode(COMMIT_KEY, last).version)
    cursor = rows.get(Family.META, _MIGRATION)
    if found < FORMAT_VERSION or cursor is not None:
        log.info("%s: migrating from format %d to %d", name, found, FORMAT_VERSION)
        _count_usage(rows, header, b"" if cursor is None else decode(_MIGRATION, cursor).value)
        rows.sync()
    return int.from_bytes(header[:8], "big")


def _begin(rows: Rows, name: str) -> int:
    """Begin a new store, or one whose maker died before this."""
    if not rows.is_empty():
        raise StateCorrupt(f"{name} has records but no format version")
    header = header_of(1)
    rows.write({Family.META: {**_format_rows(header), COMMIT_KEY: header}})
    rows.sync()
    return 1


def _format_rows(header: bytes) -> dict[bytes, bytes | None]:
    return {
        _FORMAT: encode(header, b"%d" % FORMAT_VERSION, None),
        _MIN_READER: encode(header, b"%d" % MIN_READER, None),
    }


def _number(key: bytes, stored: bytes, name: str) -> int:
    value = decode(key, stored).value
    if not value.isdigit() or int(value) < 1:
        raise StateCorrupt(f"{name} has the format {value!r}, which is no number")
    return int(value)


def _count_usage(rows: Rows, header: bytes, after: bytes) -> None:
    """Format 2: count what each tenant and scope holds, from the keys above `after`."""
    counts = {
        decode_key(key): decode_counts(key, stored)
        for key, stored in rows.scan(Family.USAGE, *prefix_range(()))
    }
    _, high = prefix_range(())
    while page := _page(rows.scan(Family.KV, after + b"\0" if after else b"", high)):
        for packed, stored in page:
            account = account_of(decode_key(packed))
            held = counts.get(account, Usage(0, 0))
            size, _ = measure(packed, stored)
            counts[account] = Usage(held.bytes + len(packed) + size, held.keys + 1)
        after = page[-1][0]
        _write(rows, header, counts, after)
    _write(rows, header, counts, None)


def _page(rows: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return list(islice(rows, _BATCH))


def _write(rows: Rows, header: bytes, counts: dict[Key, Usage], cursor: bytes | None) -> None:
    """Write the counts so far; without a cursor they are whole."""
    meta = _format_rows(header)
    meta[_MIGRATION] = None if cursor is None else encode(header, cursor, None)
    usage = {pack(account): stored_counts(header, held) for account, held in counts.items()}
    rows.write({Family.META: meta, Family.USAGE: usage})
    failpoints.hit("state.migrate")
