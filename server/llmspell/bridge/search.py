"""A search for the owner that goes on beside the bridge's other work."""

from __future__ import annotations

import time

from llmspell.bridge.meeting import Meeting
from llmspell.bridge.spawning import Waiting


class Search:
    """Drives a generator of waits as its waits end.

    Args:
        seeking: What `meeting.seek` returned.
    """

    def __init__(self, seeking: Waiting[Meeting]) -> None:
        self._seeking = seeking
        self.began = time.monotonic()
        self.descriptor = -1
        """What it waits to read from; -1 = nothing."""
        self._until = 0.0

    def remaining(self, now: float) -> float:
        """Return for how many seconds it waits at most."""
        return max(0.0, self._until - now)

    def advance(self) -> Meeting | None:
        """Go on, after a wait has ended; return the meeting it led to, or None as yet.

        Raises:
            UnreachableError: There will be none.
        """
        try:
            wait = next(self._seeking)
        except StopIteration as end:
            return end.value
        self.descriptor = wait.descriptor
        self._until = time.monotonic() + wait.seconds
        return None

    def close(self) -> None:
        """Give it up, and the locks it holds."""
        self._seeking.close()
