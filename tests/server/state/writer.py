"""A process that opens a state database and does with it as told, for tests that kill it.

Usage: python writer.py PATH hold                  opens it and waits
       python writer.py PATH write LEVEL           commits without end
       python writer.py PATH write LEVEL POINT N   dies at failpoint POINT of commit N
       python writer.py PATH fill                  fills the disk, makes room, reopens

It prints one line a fact: `open`, then the number of each acknowledged commit.
Commit n holds row n of three families, each 4 kB that do not compress.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from itertools import count
from pathlib import Path

from llmspell import failpoints
from llmspell.errors import StateDiskFull, StateError
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Durability, Family, Put

FAMILIES = (Family.KV, Family.RUN, Family.EVENT)


def value(number: int) -> bytes:
    """Return the value of row `number` in each family."""
    return hashlib.shake_256(b"%d" % number).digest(4096)


async def write(store: RocksStore, level: Durability, point: str = "", last: str = "0") -> None:
    """Commit row after row; the kernel's pipe keeps what was said when the process dies."""
    for number in count(1):
        if number == int(last):
            failpoints.arm(f"{point}:kill")
        await store.commit(
            [Put(family, ("row", number), value(number)) for family in FAMILIES], durability=level
        )
        print(number, flush=True)


async def fill(store: RocksStore, path: str) -> None:
    """Commit until the disk is full, make room, and see that all of it is there again."""
    ballast = Path(path).with_name("ballast")
    ballast.write_bytes(bytes(32 << 20))
    last = 0
    try:
        for number in count(1):
            await store.commit([Put(family, ("row", number), value(number)) for family in FAMILIES])
            last = number
    except StateDiskFull as error:
        print("full:", error.hint, flush=True)
    await check(store, last)
    try:
        await store.commit([Put(Family.KV, ("small",), b"")])
    except StateDiskFull:
        print("still full", flush=True)
    try:
        await store.close()
    except StateError:
        print("closed without a flush", flush=True)
    ballast.unlink()
    store = RocksStore.open(path)
    await check(store, last)
    await store.commit([Put(Family.KV, ("after",), b"")])
    await store.close()
    print("free", flush=True)


async def check(store: RocksStore, last: int) -> None:
    """Raise unless every family holds rows 1 to `last` and no other."""
    for family in FAMILIES:
        rows = await store.scan(family, ("row",), limit=last + 1)
        assert [(key, entry.value) for key, entry in rows] == [
            (("row", number), value(number)) for number in range(1, last + 1)
        ]


async def main(path: str, what: str, *arguments: str) -> None:
    """Do what the command line says."""
    store = RocksStore.open(path)
    print("open", flush=True)
    match what:
        case "hold":
            sys.stdin.read()
        case "write":
            level, *rest = arguments
            await write(store, Durability(level), *rest)
        case "fill":
            await fill(store, path)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
