"""What a run says while it works: log lines, progress, parts of its answer, notices, changes.

All of it goes to the run's log, counted and weighed: a script can write without end.
"""

from __future__ import annotations

import sys

from llmspell.effects.effect import Record
from llmspell.errors import LimitError
from llmspell.runs.asking import check_client
from llmspell.runs.work import Work
from llmspell.values import dumps


class Lines:
    """Writes what one run says."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._count = self._bytes = 0

    def write(self, effect: Record, key: str) -> None:
        """Write one line, and tell who waits for it.

        Raises:
            LimitError: The run wrote more lines, or more bytes of them, than it may.
            LlmspellError: It speaks to the client, and there is none that listens.
        """
        if effect.kind == "notice" or "list" in effect.data:
            check_client(self._work.live.run)
        self._count += 1
        own = self._work.castable.spec.limits.log_events
        limit = min(own or sys.maxsize, self._work.services.limits.log_events)
        if self._count > limit:
            raise LimitError(
                f"the run wrote more than {limit} log lines and parts",
                hint="write less, or raise the setting limits.log_events",
                data={"limit": "limits.log_events"},
            )
        self._bytes += len(dumps(effect.data))
        limit = self._work.services.limits.log_bytes
        if self._bytes > limit:
            raise LimitError(
                f"the run wrote more than {limit} bytes of log lines and parts",
                hint="write less, or raise limits.log_bytes",
            )
        self._work.live.note(effect.kind, effect.data, key)
        if effect.kind == "changed" and "list" in effect.data:
            self._work.services.list_changed(effect.data["list"])
        elif effect.kind == "changed":
            self._work.services.resource_changed(self._work.live.run.tenant, effect.data["uri"])
