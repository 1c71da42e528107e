"""What an owner holds at a moment: memory, descriptors, processes, tasks, objects."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import descendants

CENSUS = Path(__file__).parent / "census"
COUNT_SECONDS = 10.0

FEW = 2
"""How many more tasks, processes or descriptors there may be than at another moment."""


def environ_of(directory: Path) -> dict[str, str]:
    """Return what processes need in their environment to be counted."""
    return {"TEST_CENSUS": os.fspath(directory)}


@dataclass(frozen=True)
class Holdings:
    """See the module."""

    rss: int
    """Bytes of memory of its own."""
    database: int
    """Bytes of it that are buffers and caches of the database, which settings bound."""
    blocks: int
    """Blocks of memory that Python has given out."""
    descriptors: int
    """Open ones, the files of the database apart."""
    workers: int
    """Processes below it."""
    tasks: Counter[str]
    objects: Counter[str]
    """Objects by class, garbage in cycles included."""
    garbage: int
    """Objects in cycles that nobody could reach."""

    def more_than(self, before: Holdings, *, slack: int = 0) -> dict[str, tuple[int, int]]:
        """Return of what there is more than before, as (before, now).

        Args:
            slack: How many more objects of a class are nothing.
        """
        things = {
            "descriptors": (before.descriptors, self.descriptors),
            "workers": (before.workers, self.workers),
            "tasks": (before.tasks.total(), self.tasks.total()),
        }
        objects = {
            name: (before.objects[name], now)
            for name, now in self.objects.items()
            if name.startswith("llmspell.")
        }
        return {
            **{name: (then, now) for name, (then, now) in things.items() if now > then + FEW},
            **{name: (then, now) for name, (then, now) in objects.items() if now > then + slack},
        }


def rss_of(pid: int) -> int:
    """Return the bytes of anonymous memory a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no RssAnon of {pid}")


def _descriptors_of(pid: int) -> int:
    count = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            count += "/db/" not in os.readlink(path)
    return count


async def holdings_of(pid: int, directory: Path) -> Holdings:
    """Return what an owner holds now.

    Args:
        directory: Where it writes its count; see `environ_of`.
    """
    rss = rss_of(pid)
    path = directory / str(pid)
    path.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    async with asyncio.timeout(COUNT_SECONDS):
        while not path.exists():  # noqa: ASYNC110  # another process makes it
            await asyncio.sleep(0.01)
    said = json.loads(path.read_text(encoding="utf-8"))
    return Holdings(
        rss,
        said["database"],
        said["blocks"],
        _descriptors_of(pid),
        len(list(descendants(pid))),
        Counter(said["tasks"]),
        Counter(said["objects"]),
        said["garbage"],
    )
