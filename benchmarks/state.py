"""The rocksdb store against sqlite3 and lmdb: the same keys, values and promises, in one run.

    python benchmarks/state.py

The other two are used straight, as a program that needs just this would: one
connection, prepared statements or one environment. sqlite3 has its write-ahead
log, `synchronous=NORMAL` where the store promises `written` and `FULL` where it
promises `durable`; lmdb `sync=False` and `sync=True`. The store does more for its
time: versions, checks, usage by tenant and scope, what watchers are told, tuple
keys in and out. Durable figures follow the disk; their ratio is the figure.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import lmdb
from measure import Figures, in_turn, table

from llmspell.clock import SystemClock
from llmspell.state.keys import pack
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Durability, Family, Key, Put
from llmspell.state.transactions import Transaction, run

ROWS = 20_000
GROUPS = 100
VALUE = os.urandom(50).hex().encode()
WRITERS = (1, 8, 64, 256)
VERSION = struct.Struct(">Q")

Timed = Callable[[int], tuple[float, float]]
Subjects = list[tuple[str, Timed]]


def key_of(number: int) -> Key:
    return ("default", "spell", f"group{number % GROUPS:03}", f"item/{number:06}")


def packed_rows(numbers: range) -> list[tuple[bytes, bytes]]:
    return [(pack(key_of(number)), VALUE) for number in numbers]


class Sqlite:
    """sqlite3, by itself."""

    name = "sqlite3"

    def __init__(self, path: Path, synchronous: str) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute(f"PRAGMA synchronous={synchronous}")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB, version INTEGER)"
            " WITHOUT ROWID"
        )
        self.version = 0

    def put(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Write rows in one commit."""
        self.version += 1
        self.database.execute("BEGIN")
        self.database.executemany(
            "INSERT OR REPLACE INTO kv VALUES (?, ?, ?)",
            [(key, value, self.version) for key, value in rows],
        )
        self.database.execute("COMMIT")

    def get(self, key: bytes) -> Any:
        """Read one row."""
        return self.database.execute(
            "SELECT value, version FROM kv WHERE key = ?", (key,)
        ).fetchone()

    def scan(self, low: bytes, high: bytes, limit: int) -> list[Any]:
        """Read the rows of a range, with their versions."""
        return self.database.execute(
            "SELECT key, value, version FROM kv WHERE key >= ? AND key < ? LIMIT ?",
            (low, high, limit),
        ).fetchall()

    def transfer(self, one: bytes, other: bytes) -> None:
        """Read two rows and write both, in one transaction."""
        self.database.execute("BEGIN IMMEDIATE")
        for key in (one, other):
            self.get(key)
        self.version += 1
        self.database.executemany(
            "INSERT OR REPLACE INTO kv VALUES (?, ?, ?)",
            [(key, VALUE, self.version) for key in (one, other)],
        )
        self.database.execute("COMMIT")

    def close(self) -> None:
        """Close the database."""
        self.database.close()


class Lmdb:
    """lmdb, by itself: a version before each value."""

    name = "lmdb"

    def __init__(self, path: Path, *, sync: bool) -> None:
        self.environment = lmdb.open(str(path), map_size=1 << 30, sync=sync, metasync=sync)
        self.version = 0

    def put(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Write rows in one commit."""
        self.version += 1
        header = VERSION.pack(self.version)
        with self.environment.begin(write=True) as transaction:
            for key, value in rows:
                transaction.put(key, header + value)

    def get(self, key: bytes) -> Any:
        """Read one row."""
        with self.environment.begin() as transaction:
            return transaction.get(key)

    def scan(self, low: bytes, high: bytes, limit: int) -> list[Any]:
        """Read the rows of a range, with their versions."""
        found: list[Any] = []
        with self.environment.begin() as transaction, transaction.cursor() as cursor:
            cursor.set_range(low)
            for key, stored in cursor:
                if key >= high or len(found) == limit:
                    break
                found.append((key, stored[8:], VERSION.unpack_from(stored)[0]))
        return found

    def transfer(self, one: bytes, other: bytes) -> None:
        """Read two rows and write both, in one transaction."""
        self.version += 1
        header = VERSION.pack(self.version)
        with self.environment.begin(write=True) as transaction:
            for key in (one, other):
                transaction.get(key)
            for key in (one, other):
                transaction.put(key, header + VALUE)

    def close(self) -> None:
        """Close the database."""
        self.environment.close()


Other = Sqlite | Lmdb


async def rocks_put(store: RocksStore, numbers: range, durability: Durability) -> None:
    puts = [Put(Family.KV, key_of(number), VALUE) for number in numbers]
    await store.commit(puts, durability=durability)


def timed(work: Callable[[int], None]) -> Timed:
    def measured(count: int) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        work(count)
        return time.process_time() - cpu, time.perf_counter() - wall

    return measured


def timed_async(
    runner: asyncio.Runner, work: Callable[[int], Coroutine[None, None, None]]
) -> Timed:
    return timed(lambda count: runner.run(work(count)))


def operations(runner: asyncio.Runner, store: RocksStore, others: Sequence[Other]) -> None:
    """Compare single operations; nothing here waits for the disk."""

    async def rocks_single(count: int) -> None:
        for number in range(count):
            await rocks_put(store, range(number, number + 1), Durability.WRITTEN)

    def single(other: Other, count: int) -> None:
        for number in range(count):
            other.put(packed_rows(range(number, number + 1)))

    async def rocks_batch(count: int) -> None:
        for number in range(0, count, 100):
            await rocks_put(store, range(number, number + 100), Durability.WRITTEN)

    def batch(other: Other, count: int) -> None:
        for number in range(0, count, 100):
            other.put(packed_rows(range(number, number + 100)))

    async def rocks_get(count: int) -> None:
        order = random.Random(1)
        for _ in range(count):
            assert await store.get(Family.KV, key_of(order.randrange(ROWS)))

    def get(other: Other, count: int) -> None:
        order = random.Random(1)
        for _ in range(count):
            assert other.get(pack(key_of(order.randrange(ROWS))))

    async def rocks_scan(count: int) -> None:
        for number in range(0, count, ROWS // GROUPS):
            assert await store.scan(Family.KV, key_of(number)[:3], limit=ROWS // GROUPS)

    def scan(other: Other, count: int) -> None:
        for number in range(0, count, ROWS // GROUPS):
            low = pack(key_of(number)[:3])
            assert other.scan(low, low + b"\xff", ROWS // GROUPS)

    async def rocks_transaction(count: int) -> None:
        order, clock = random.Random(1), SystemClock()
        for _ in range(count):
            pair = key_of(order.randrange(ROWS)), key_of(order.randrange(ROWS))

            async def work(transaction: Transaction) -> None:
                for key in pair:  # noqa: B023 - it runs in this turn only
                    transaction.get(key)
                for key in pair:  # noqa: B023
                    transaction.put(key, VALUE)

            await run(store, "default", work, clock=clock, durability=Durability.WRITTEN)

    def transaction(other: Other, count: int) -> None:
        order = random.Random(1)
        for _ in range(count):
            other.transfer(pack(key_of(order.randrange(ROWS))), pack(key_of(order.randrange(ROWS))))

    rounds: list[
        tuple[str, int, Callable[[int], Coroutine[None, None, None]], Callable[[Other, int], None]]
    ]
    rounds = [
        ("put, 1 a commit", 2_000, rocks_single, single),
        ("put, 100 a commit, per row", ROWS, rocks_batch, batch),
        ("get, random", 10_000, rocks_get, get),
        ("scan of 200 rows, per row", ROWS, rocks_scan, scan),
        ("transaction of 2 reads and 2 writes", 2_000, rocks_transaction, transaction),
    ]
    for title, count, rocks_work, work in rounds:
        subjects: Subjects = [
            (other.name, timed(lambda count, other=other, work=work: work(other, count)))
            for other in others
        ]
        subjects.append(("llmspell rocksdb", timed_async(runner, rocks_work)))
        table(title, in_turn(subjects, count=count), base="sqlite3")


def durable(runner: asyncio.Runner, store: RocksStore, others: Sequence[Other]) -> None:
    """Compare commits of 3 rows that survive the loss of power, at several writers at once."""
    print(f"\ndurable commits of 3 rows\n{'writers':>7} {'':18} {'commits/s':>10} {'ratio':>7}")
    for writers in WRITERS:
        syncs, commits = store.sync_count, 0

        async def rocks_work(count: int, writers: int = writers) -> None:
            nonlocal commits

            async def write(writer: int) -> None:
                for number in range(writer, count, writers):
                    await rocks_put(store, range(number, number + 3), Durability.DURABLE)

            await asyncio.gather(*(write(writer) for writer in range(writers)))
            commits += count

        def work(other: Other, count: int) -> None:
            for number in range(count):
                other.put(packed_rows(range(number, number + 3)))

        subjects: Subjects = [
            (other.name, timed(lambda count, other=other: work(other, count))) for other in others
        ]
        subjects.append(("llmspell rocksdb", timed_async(runner, rocks_work)))
        figures = in_turn(subjects, count=max(320, writers * 20))
        reference = statistics.median(figures[0].wall_us)
        for each in figures:
            print(rate(writers, each, reference))
        print(f"{'':7} syncs for each rocksdb commit: {(store.sync_count - syncs) / commits:.2f}")


def rate(writers: int, figures: Figures, reference: float) -> str:
    wall = statistics.median(figures.wall_us)
    return f"{writers:7} {figures.name:18} {1e6 / wall:10.0f} {reference / wall:7.2f}"


def main() -> None:
    """Run both parts on fresh databases in a temporary directory."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        place = Path(name)
        store = RocksStore.open(place / "rocks")
        written = [Sqlite(place / "written.db", "NORMAL"), Lmdb(place / "written", sync=False)]
        full = [Sqlite(place / "full.db", "FULL"), Lmdb(place / "full", sync=True)]
        operations(runner, store, written)
        durable(runner, store, full)
        for other in (*written, *full):
            other.close()
        runner.run(store.close())


if __name__ == "__main__":
    main()
