"""A process that opens a state database and does with it as told, for tests that kill it.

Usage: python writer.py PATH hold                  opens it and waits
       python writer.py PATH write LEVEL           commits without end
       python writer.py PATH write LEVEL POINT N   dies at failpoint POINT of commit N
       python writer.py PATH transfer              moves money in durable transactions, 16 at once
       python writer.py PATH fill                  fills the disk, makes room, reopens

It prints one line a fact: `open`, then the number of each acknowledged commit,
or the name of each acknowledged transfer.
Commit n holds row n of three families, each 4 kB that do not compress.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from itertools import count
from pathlib import Path

from llmspell import failpoints
from llmspell.clock import ManualClock, SystemClock
from llmspell.errors import StateDiskFull
from llmspell.state.rocks import PROBE_SECONDS, RocksStore
from llmspell.state.store import Durability, Family, Key, Put
from llmspell.state.transactions import Transaction, run

ACCOUNTS = 20
EACH = 1000
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


async def transfer(store: RocksStore) -> None:
    """Transfer without end; each leaves a receipt, so that receipts and balances tell the same."""
    chance = random.Random()
    accounts: list[Key] = [("bank", "account", n) for n in range(ACCOUNTS)]
    await store.commit([Put(Family.KV, key, b"%d" % EACH) for key in accounts])

    async def client(number: int) -> None:
        for turn in count():
            source, target = chance.sample(accounts, 2)

            async def work(transaction: Transaction) -> None:
                held = [transaction.get(key) for key in (source, target)]  # noqa: B023 - this turn
                paid, got = [int(entry.value) for entry in held if entry is not None]
                transaction.put(source, b"%d" % (paid - 1))  # noqa: B023
                transaction.put(target, b"%d" % (got + 1))  # noqa: B023
                receipt = ("bank", "receipt", number, turn)  # noqa: B023
                transaction.put(receipt, b"%d %d" % (source[2], target[2]))  # noqa: B023

            await run(store, "bank", work, clock=SystemClock(), attempts=1000)
            print(f"{number}.{turn}", flush=True)

    async with asyncio.TaskGroup() as group:
        for number in range(16):
            group.create_task(client(number))


async def fill(path: str) -> None:
    """Commit until the disk is full, make room, and see that it goes on with all that was there."""
    clock = ManualClock()
    store = RocksStore.open(path, clock=clock)
    ballast = Path(path).with_name("ballast")
    ballast.write_bytes(bytes(64 << 20))
    last = 0
    try:
        for number in count(1):
            await store.commit([Put(family, ("row", number), value(number)) for family in FAMILIES])
            last = number
    except StateDiskFull as error:
        print("full:", error.hint, flush=True)
    await check(store, last)
    for probes, said in ((0, "refused at once"), (3, "still full")):
        for _ in range(probes):
            await clock.advance(PROBE_SECONDS)
        try:
            await store.commit([Put(Family.KV, ("small",), b"")])
        except StateDiskFull:
            print(said, flush=True)
    ballast.unlink()
    while True:
        await clock.advance(PROBE_SECONDS)
        try:
            await store.commit([Put(Family.KV, ("after",), b"")], durability=Durability.DURABLE)
        except StateDiskFull:
            await asyncio.sleep(0.2)  # RocksDB itself looks for room every few seconds
        else:
            break
    await check(store, last)
    print("goes on", flush=True)
    await store.close()
    store = RocksStore.open(path)
    await check(store, last)
    assert await store.get(Family.KV, ("after",)) is not None
    await store.close()
    print("reopened", flush=True)


async def check(store: RocksStore, last: int) -> None:
    """Raise unless every family holds rows 1 to `last` and no other."""
    for family in FAMILIES:
        rows = await store.scan(family, ("row",), limit=last + 1)
        assert [(key, entry.value) for key, entry in rows] == [
            (("row", number), value(number)) for number in range(1, last + 1)
        ]


async def main(path: str, what: str, *arguments: str) -> None:
    """Do what the command line says."""
    if what == "fill":
        print("open", flush=True)
        await fill(path)
        return
    store = RocksStore.open(path)
    print("open", flush=True)
    match what:
        case "hold":
            sys.stdin.read()
        case "transfer":
            await transfer(store)
        case "write":
            level, *rest = arguments
            await write(store, Durability(level), *rest)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
