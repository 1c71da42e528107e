"""A process that opens a state database and does with it as told, for tests that kill it.

Usage: python writer.py PATH hold                  opens it and waits
       python writer.py PATH write LEVEL           commits without end
       python writer.py PATH write LEVEL POINT N   dies at failpoint POINT of commit N
       python writer.py PATH fill                  commits until the disk is full

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
from llmspell.errors import StateDiskFull
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


async def fill(store: RocksStore) -> None:
    """Fill the disk, then read back, then make room and write again."""
    ballast = Path(sys.argv[1]).parent / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    number = 0
    try:
        for number in count(1):
            await store.commit([Put(family, ("row", number), value(number)) for family in FAMILIES])
    except StateDiskFull as error:
        print("full", error.retryable, flush=True)
    kept = [await store.get(Family.KV, ("row", n)) for n in range(1, number)]
    assert [entry.value for entry in kept if entry] == [value(n) for n in range(1, number)]
    assert await store.get(Family.KV, ("row", number)) is None
    ballast.unlink()
    async with asyncio.timeout(30):
        while True:
            try:
                await store.commit([Put(Family.KV, ("after",), b"")])
            except StateDiskFull:
                await asyncio.sleep(0.1)
            else:
                break
    print("free", flush=True)
    await store.close()


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
            await fill(store)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
