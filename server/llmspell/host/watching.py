"""Watching the files of spells: whoever follows them is called after each change.

The system tells of changes; they are looked for as well, since it does not everywhere, and
never of what changed before it was asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeAlias

DEBOUNCE_MS = 80
"""How long changes are collected before they are told of."""

LOOK_MS = 1000
"""How often changes are looked for that nothing told of."""

Stamps: TypeAlias = dict[Path, tuple[int, int]]
"""When each file was last written, in ns, and its size."""


async def watch_files(
    root: Path, directories: Callable[[], Iterable[Path]], changed: Callable[[], Awaitable[object]]
) -> None:
    """Call `changed` at once and whenever a Lua file changed, until cancelled.

    Args:
        root: Where a directory may appear while there is none.
        directories: Those to watch now; any may be absent.
    """
    from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]  # its filter

    while True:
        watched = [path for path in directories() if path.is_dir()]
        if not watched:
            await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True)
        known: Stamps | None = None
        async for changes in awatch(
            *(watched or [root]),
            debounce=DEBOUNCE_MS,
            step=20,
            recursive=bool(watched),
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
        ):
            found = await asyncio.to_thread(_stamps, watched)
            if changes or found != known:
                known = found
                await changed()
            if [path for path in directories() if path.is_dir()] != watched:
                break


def _stamps(directories: Iterable[Path]) -> Stamps:
    found: Stamps = {}
    for top in directories:
        for directory, _, files in os.walk(top):
            for file in files:
                if file.endswith(".lua"):
                    path = Path(directory, file)
                    try:
                        status = path.stat()
                    except OSError:
                        continue  # it was deleted meanwhile
                    found[path] = (status.st_mtime_ns, status.st_size)
    return found
