"""Lets a test count what a process holds: on SIGUSR1 it writes that to a file.

Python loads this by itself in every process that has the directory on its path.
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections import Counter
from types import FrameType
from typing import Any


def _objects() -> Counter[str]:
    types: list[type[object]] = [type(found) for found in gc.get_objects()]
    return Counter(f"{found.__module__}.{found.__qualname__}" for found in types)


def _tasks() -> Counter[str]:
    with contextlib.suppress(RuntimeError):  # no loop runs at this moment
        return Counter(
            getattr(task.get_coro(), "__qualname__", "?")
            for task in asyncio.all_tasks(asyncio.get_running_loop())
        )
    return Counter()


def _database() -> int:
    """Return the bytes that the buffers and caches of RocksDB take."""
    size = cache = 0
    every: list[Any] = gc.get_objects()
    # By its name, for nothing of ours is imported here.
    stores: list[Any] = [found for found in every if type(found).__name__ == "RocksRows"]
    for store in stores:
        for family in store._families.values():
            for name in ("size-all-mem-tables", "estimate-table-readers-mem"):
                size += family.property_int_value(f"rocksdb.{name}")
            cache = family.property_int_value("rocksdb.block-cache-usage")  # all share one
    return size + cache


def _count(_: int, __: FrameType | None) -> None:
    said = {
        "blocks": sys.getallocatedblocks(),
        "objects": _objects(),
        "tasks": _tasks(),
        "database": _database(),
        "garbage": gc.collect(),
    }
    path = os.path.join(os.environ["TEST_CENSUS"], str(os.getpid()))
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(said, file)
    os.rename(f"{path}.new", path)


if os.environ.get("TEST_CENSUS"):
    signal.signal(signal.SIGUSR1, _count)
