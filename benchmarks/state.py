"""The rocksdb store against sqlite3: the same keys, values and promises, in one run.

    python benchmarks/state.py

sqlite3 is used straight, as a program that needs just this would: one
connection, write-ahead log, prepared statements, `synchronous=NORMAL` where the
store promises `written` and `FULL` where it promises `durable`. The store does
more for its time: versions, checks, tuple keys in and out. Latency of the
durable part follows the disk; its ratio is the figure.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

from measure import Figures, in_turn, table

from llmspell.state.keys import pack
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Durability, Family, Key, Put

ROWS = 20_000
GROUPS = 100
VALUE = os.urandom(50).hex().encode()
WRITERS = (1, 8, 64)

Timed = Callable[[int], tuple[float, float]]


def key_of(number: int) -> Key:
    return ("default", "spell", f"group{number % GROUPS:03}", f"item/{number:06}")


def open_sqlite(path: Path, synchronous: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(f"PRAGMA synchronous={synchronous}")
    database.execute(
        "CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB, version INTEGER)"
        " WITHOUT ROWID"
    )
    return database


def sqlite_put(database: sqlite3.Connection, numbers: range) -> None:
    rows = [(pack(key_of(number)), VALUE, number) for number in numbers]
    database.execute("BEGIN")
    database.executemany("INSERT OR REPLACE INTO kv VALUES (?, ?, ?)", rows)
    database.execute("COMMIT")


async def rocks_put(store: RocksStore, numbers: range, durability: Durability) -> None:
    puts = [Put(Family.KV, key_of(number), VALUE) for number in numbers]
    await store.commit(puts, durability=durability)


def timed(work: Callable[[int], None]) -> Timed:
    def run(count: int) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        work(count)
        return time.process_time() - cpu, time.perf_counter() - wall

    return run


def timed_async(
    runner: asyncio.Runner, work: Callable[[int], Coroutine[None, None, None]]
) -> Timed:
    return timed(lambda count: runner.run(work(count)))


def operations(runner: asyncio.Runner, store: RocksStore, database: sqlite3.Connection) -> None:
    """Compare single operations; nothing here waits for the disk."""

    async def rocks_single(count: int) -> None:
        for number in range(count):
            await rocks_put(store, range(number, number + 1), Durability.WRITTEN)

    def sqlite_single(count: int) -> None:
        for number in range(count):
            sqlite_put(database, range(number, number + 1))

    async def rocks_batch(count: int) -> None:
        for number in range(0, count, 100):
            await rocks_put(store, range(number, number + 100), Durability.WRITTEN)

    def sqlite_batch(count: int) -> None:
        for number in range(0, count, 100):
            sqlite_put(database, range(number, number + 100))

    async def rocks_get(count: int) -> None:
        order = random.Random(1)
        for _ in range(count):
            assert await store.get(Family.KV, key_of(order.randrange(ROWS)))

    def sqlite_get(count: int) -> None:
        order = random.Random(1)
        for _ in range(count):
            found = database.execute(
                "SELECT value, version FROM kv WHERE key = ?",
                (pack(key_of(order.randrange(ROWS))),),
            ).fetchone()
            assert found

    async def rocks_scan(count: int) -> None:
        for number in range(0, count, ROWS // GROUPS):
            assert await store.scan(Family.KV, key_of(number)[:3], limit=ROWS // GROUPS)

    def sqlite_scan(count: int) -> None:
        for number in range(0, count, ROWS // GROUPS):
            low = pack(key_of(number)[:3])
            assert database.execute(
                "SELECT key, value, version FROM kv WHERE key >= ? AND key < ? LIMIT ?",
                (low, low + b"\xff", ROWS // GROUPS),
            ).fetchall()

    rounds: list[
        tuple[str, int, Callable[[int], Coroutine[None, None, None]], Callable[[int], None]]
    ]
    rounds = [
        ("put, 1 a commit", 2_000, rocks_single, sqlite_single),
        ("put, 100 a commit, per row", ROWS, rocks_batch, sqlite_batch),
        ("get, random", 10_000, rocks_get, sqlite_get),
        ("scan of 200 rows, per row", ROWS, rocks_scan, sqlite_scan),
    ]
    for title, count, rocks_work, sqlite_work in rounds:
        figures = in_turn(
            [
                ("sqlite3", timed(sqlite_work)),
                ("llmspell rocksdb", timed_async(runner, rocks_work)),
            ],
            count=count,
        )
        table(title, figures, base="sqlite3")


def durable(runner: asyncio.Runner, store: RocksStore, database: sqlite3.Connection) -> None:
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

        def sqlite_work(count: int) -> None:
            for number in range(count):
                sqlite_put(database, range(number, number + 3))

        figures = in_turn(
            [
                ("sqlite3", timed(sqlite_work)),
                ("llmspell rocksdb", timed_async(runner, rocks_work)),
            ],
            count=max(320, writers * 20),
        )
        reference = statistics.median(figures[0].wall_us)
        for each in figures:
            print(rate(writers, each, reference))
        print(f"{'':7} syncs for each rocksdb commit: {(store.sync_count - syncs) / commits:.2f}")


def rate(writers: int, figures: Figures, reference: float) -> str:
    wall = statistics.median(figures.wall_us)
    return f"{writers:7} {figures.name:18} {1e6 / wall:10.0f} {reference / wall:7.2f}"


def main() -> None:
    """Run both parts on fresh databases in a temporary directory."""
    with tempfile.TemporaryDirectory() as place, asyncio.Runner() as runner:
        store = RocksStore.open(Path(place) / "rocks")
        written = open_sqlite(Path(place) / "written.db", "NORMAL")
        full = open_sqlite(Path(place) / "full.db", "FULL")
        operations(runner, store, written)
        durable(runner, store, full)
        written.close()
        full.close()
        runner.run(store.close())


if __name__ == "__main__":
    main()
