"""Processes as the operating system sees them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def descendants(pid: int) -> Iterator[int]:
    """Yield the process ids below `pid`, zombies included."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            yield int(path.name)
            yield from descendants(int(path.name))


class Watch:
    """Processes whose end can be waited for, whosoever's children they are."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._descriptors = [os.pidfd_open(pid) for pid in pids]

    async def ended(self) -> None:
        """Return once all of them have ended."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            for descriptor in self._descriptors:
                end = asyncio.Event()
                loop.add_reader(descriptor, end.set)
                await end.wait()
                loop.remove_reader(descriptor)
                os.close(descriptor)
