"""What is stored with the first save of a run: its version and its idempotency key."""

from __future__ import annotations

from collections.abc import Sequence

from llmspell.host.keys import Keys
from llmspell.host.versions import Versions
from llmspell.runs.castable import Castable
from llmspell.runs.record import Run
from llmspell.state.store import Write


class FirstSave:
    """See `runs.live.FirstSave`."""

    def __init__(self, run: Run, castable: Castable, versions: Versions, keys: Keys) -> None:
        self._run = run
        self._castable = castable
        self._versions = versions
        self._keys = keys

    def writes(self) -> Sequence[Write]:
        """Return what to write."""
        return (*self._versions.writes(self._castable), *self._keys.writes(self._run))

    def done(self) -> None:
        """Note that it is stored."""
        self._versions.stored(self._castable)
