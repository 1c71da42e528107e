"""A run's events as MCP progress: a number that only grows, with a message where there is one."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeGuard

from llmspell.runs.record import Event

_NUDGE = 0.001
"""Added for an event that has a message and no number of its own: progress must grow, and
what the spell itself reports, whole numbers as a rule, must still be larger."""

Report = Callable[[float, float | None, str | None], Awaitable[None]]
"""Sends one notification: progress, total, message."""


class ProgressReporter:
    """Turns the events of one run into progress notifications.

    The specification asks for a value that increases with every notification;
    a report of the spell that goes back or stands still is not sent.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._last: float | None = None
        self._total: float | None = None

    async def event(self, event: Event) -> None:
        """Send what this event tells a person who waits; most kinds tell nothing."""
        if event.kind == "progress":
            await self._number(event)
            return
        message = _message(event)
        if message:
            last = self._last or 0.0
            # The second is for numbers so large that the nudge is lost in them.
            self._last = max(last + _NUDGE, math.nextafter(last, math.inf))
            await self._report(self._last, self._total, message)

    async def _number(self, event: Event) -> None:
        done, total, message = (event.data.get(key) for key in ("done", "total", "message"))
        if not _is_number(done) or (self._last is not None and done <= self._last):
            return
        self._last = done
        self._total = total if _is_number(total) else None
        await self._report(done, self._total, message if isinstance(message, str) else None)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _message(event: Event) -> str:
    data = event.data
    match event.kind:
        case "step.started":
            return f"step {data.get('name', '')}"
        case "model.started":
            return f"{data.get('source') or 'a model'} is thinking"
        case "cast.started":
            return f"casting {data.get('label') or data.get('spell', '')}"
        case "part":
            text = data.get("text")
            return text if isinstance(text, str) else ""
        case _:
            return ""
