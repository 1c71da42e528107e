"""Where a server process writes its log: stderr, one line an event, as text or JSON."""

from __future__ import annotations

import logging
import sys
import time

from llmspell.config import LogSettings
from llmspell.values import dumps


class _Text(logging.Formatter):
    converter = time.gmtime

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"
        )


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return dumps(event)


def set_up_logging(settings: LogSettings) -> None:
    """Send everything logged in this process to stderr, once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    # What others say at info of every request is ours at debug.
    if settings.level != "debug":
        for name in ("mcp", "uvicorn", "a2a", "httpx", "httpx2", "watchfiles"):
            logging.getLogger(name).setLevel(logging.WARNING)
