"""Lets a test count what a process holds: on SIGUSR1 it writes that to a file.

Python loads this by itself in every process that has the directory on its path.
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
from collections import Counter


def _count(_number, _frame):
    objects = Counter(
        f"{type(found).__module__}.{type(found).__qualname__}" for found in gc.get_objects()
    )
    tasks = Counter()
    # `all_tasks` wants a loop, and there is one of uvloop's only while it runs: here it does.
    with contextlib.suppress(RuntimeError):
        for task in asyncio.all_tasks(asyncio.get_running_loop()):
            tasks[getattr(task.get_coro(), "__qualname__", "?")] += 1
    garbage = gc.collect()
    kept = Counter(
        f"{type(found).__module__}.{type(found).__qualname__}" for found in gc.get_objects()
    )
    path = os.path.join(os.environ["TEST_CENSUS"], str(os.getpid()))
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump({"objects": objects, "kept": kept, "tasks": tasks, "garbage": garbage}, file)
    os.rename(path + ".new", path)


if os.environ.get("TEST_CENSUS"):
    signal.signal(signal.SIGUSR1, _count)
