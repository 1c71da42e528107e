"""The runs that clients listen to: each is read once, however many listen to it.

A run nobody listens to costs nothing here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from llmspell.errors import LlmspellError
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import Event

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Followed:
    reader: asyncio.Task[None]
    followers: int = 0


class RunFollower:
    """Reads the events of runs.

    Args:
        tell: Told of each event of a run that is followed.
    """

    def __init__(self, tell: Callable[[str, Event], None]) -> None:
        self._tell = tell
        self._followed: dict[str, _Followed] = {}

    def follow(self, handle: RunHandle, after: int) -> None:
        """Begin to tell of a run's events above `after`; each `follow` needs an `unfollow`."""
        followed = self._followed.get(handle.id)
        if followed is None or followed.reader.done():
            kept = 0 if followed is None else followed.followers
            reader = asyncio.create_task(self._read(handle, after))
            followed = self._followed[handle.id] = _Followed(reader, kept)
        followed.followers += 1

    def unfollow(self, run_id: str) -> None:
        """Take one `follow` back; with the last one the run is read no more."""
        followed = self._followed.get(run_id)
        if followed is None:
            return
        followed.followers -= 1
        if followed.followers <= 0:
            followed.reader.cancel()
            del self._followed[run_id]

    async def close(self) -> None:
        """Read nothing any more."""
        readers = [followed.reader for followed in self._followed.values()]
        self._followed.clear()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    async def _read(self, handle: RunHandle, after: int) -> None:
        try:
            async for event in handle.events(after):
                self._tell(handle.id, event)
        except LlmspellError as error:
            # The server shuts down, or the end cannot be read: whoever asks for the run is told.
            _log.debug("run %s is followed no more: %s", handle.id, error)
