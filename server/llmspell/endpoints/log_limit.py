"""A bound for the lines of uvicorn's log that any client can cause, as often as it likes."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet

SECONDS = 60.0
"""How long a line is not repeated."""

CAUSED_BY_CLIENTS = frozenset(
    {
        "Invalid HTTP request received.",
        "Invalid UTF-8 sequence received from client.",
        "Unsupported upgrade request.",
    }
)
"""What uvicorn logs of each request, or frame, that is none."""


class LogLimit(logging.Filter):
    """Lets one of the same lines through, then none for a while; the next says how many there were.

    Args:
        lines: Which are limited, as they are before anything is put into them.
    """

    def __init__(self, lines: AbstractSet[str] = CAUSED_BY_CLIENTS) -> None:
        super().__init__()
        self._lines = lines
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        line = record.msg
        if line not in self._lines:
            return True
        last = self._last.get(line)
        if last is not None and record.created - last < SECONDS:
            self._left_out[line] = self._left_out.get(line, 0) + 1
            return False
        self._last[line] = record.created
        left_out = self._left_out.pop(line, 0)
        if left_out:
            record.msg = f"{line} ({left_out} more since the last time it was said)"
        return True


_LIMIT = LogLimit()


def limit_log() -> None:
    """Limit what uvicorn logs in this process. Calling it again is no error."""
    logging.getLogger("uvicorn.error").addFilter(_LIMIT)
