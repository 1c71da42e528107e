"""Reading everything of a store, to know that it can be read.

It finds what a loop over damaged files would pass by in silence: blocks that do
not fit their checksum, rows without a header, keys that are none, and usage that
does not count what is there. It changes nothing and repairs nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from llmspell.errors import StateError
from llmspell.state.entries import decode_key, measure
from llmspell.state.keys import prefix_range
from llmspell.state.rows import RowsView
from llmspell.state.store import Family, Key, Verification
from llmspell.state.usage import account_of, decode_counts

_SLICE: Final = 1000
_MOST_PROBLEMS: Final = 100


def verification(rows: RowsView) -> Generator[None, None, Verification]:
    """Read all rows of a view that is pinned, giving way after every thousand; return the result.

    After a hundred problems it says of no more.
    """
    counts: dict[str, int] = {}
    problems: list[str] = []
    more = 0
    size = 0
    held: dict[Key, tuple[int, int]] = {}
    counted: dict[Key, tuple[int, int]] = {}
    for family in Family:
        count = 0
        try:
            for number, (key, stored) in enumerate(rows.scan(family, *prefix_range(())), 1):
                try:
                    name, (body, _) = decode_key(key), measure(key, stored)
                    if family is Family.KV:
                        total, keys = held.get(account_of(name), (0, 0))
                        held[account_of(name)] = total + len(key) + body, keys + 1
                    elif family is Family.USAGE:
                        usage = decode_counts(key, stored)
                        counted[name] = usage.bytes, usage.keys
                except StateError as error:
                    if len(problems) < _MOST_PROBLEMS:  # there may be millions
                        problems.append(f"{family.value}: {error.message}")
                    else:
                        more += 1
                else:
                    count += 1
                    size += len(key) + len(stored)
                if number % _SLICE == 0:
                    yield
        except StateError as error:
            problems.append(f"{family.value}: {error.message}")
        counts[family.value] = count
    if not problems:
        problems += [
            f"usage: {account!r} holds {held.get(account, (0, 0))} bytes and keys, "
            f"{counted.get(account, (0, 0))} are counted"
            for account in sorted({*held, *counted}, key=repr)
            if held.get(account) != counted.get(account)
        ]
    more += max(0, len(problems) - _MOST_PROBLEMS)
    if more:
        problems[_MOST_PROBLEMS:] = [f"and {more} more"]
    return Verification(counts, size, tuple(problems))
