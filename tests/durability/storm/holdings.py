"""What an owner holds at a moment: memory, descriptors, processes, tasks, objects."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import descendants

CENSUS = Path(__file__).parent / "census"
COUNT_SECONDS = 10.0


def environ_of(directory: Path) -> dict[str, str]:
    """Return what processes need in their environment to be counted."""
    return {"TEST_CENSUS": os.fspath(directory)}


@dataclass(frozen=True)
class Holdings:
    """See the module."""

    rss: int
    """Bytes of memory of its own."""
    descriptors: int
    workers: int
    """Processes below it."""
    tasks: Counter[str]
    objects: Counter[str]
    """Objects of our own classes, by class, garbage that is in cycles included."""
    kept: Counter[str]
    """As `objects`, without garbage."""
    garbage: int
    """Objects that were in cycles nobody could reach."""

    @property
    def ours(self) -> Counter[str]:
        """Objects of our classes."""
        return _ours(self.objects)

    def more_than(self, before: Holdings, *, slack: int) -> dict[str, tuple[int, int]]:
        """Return of what there is more than before, beyond `slack`, as (before, now)."""
        found: dict[str, tuple[int, int]] = {}
        for name, (then, now) in {
            "descriptors": (before.descriptors, self.descriptors),
            "workers": (before.workers, self.workers),
            "tasks": (before.tasks.total(), self.tasks.total()),
        }.items():
            if now > then + slack:
                found[name] = then, now
        for name, now in self.ours.items():
            then = before.objects[name]
            if now > then + slack:
                found[name] = then, now
        return found


def _ours(objects: Counter[str]) -> Counter[str]:
    return Counter({name: n for name, n in objects.items() if name.startswith("llmspell.")})


def rss_of(pid: int) -> int:
    """Return the bytes of anonymous memory a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no RssAnon of {pid}")


def descriptors_of(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


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
        while not path.exists():
            await asyncio.sleep(0.01)
    said = json.loads(path.read_text(encoding="utf-8"))
    return Holdings(
        rss,
        descriptors_of(pid),
        len(list(descendants(pid))),
        Counter(said["tasks"]),
        Counter(said["objects"]),
        Counter(said["kept"]),
        said["garbage"],
    )
