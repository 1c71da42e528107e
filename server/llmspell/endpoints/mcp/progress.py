"""The events of a run, as notifications to the client that called.

Progress only where the client gave a token, and then at least every
`HEARTBEAT_SECONDS`, for clients give up on a call that is silent. Log messages
only at the level the client asked for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeGuard

from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.runs.record import Event
from llmspell.values import JSON, Object

HEARTBEAT_SECONDS = 15.0
"""Longest silence of a call that reports progress."""

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""The log levels of the protocol, the least first; a spell's own are among them but `warn`."""

_NUDGE = 0.001
"""Added for an event that has a message and no number of its own: progress must grow, and
what the spell itself reports, whole numbers as a rule, must still be larger."""


class Reporter:
    """Turns the events of one run into notifications of one exchange.

    The specification asks for a value that increases with every notification;
    a report of the spell that goes back or stands still is not sent.

    Args:
        heartbeat: Longest silence in seconds while it is `beating`.
    """

    def __init__(self, exchange: Exchange, *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._exchange = exchange
        self._heartbeat = heartbeat
        self._token = exchange.progress_token
        self._last: float | None = None
        self._total: float | None = None
        self._sent_at = 0.0
        level = exchange.log_level
        self._least = LEVELS.index(level) if level in LEVELS else len(LEVELS)
        self.seen = 0
        """Number of the last event looked at."""

    @staticmethod
    def is_wanted(exchange: Exchange) -> bool:
        """Return whether the client wants to hear anything of a call before its result."""
        return exchange.progress_token is not None or exchange.log_level is not None

    async def event(self, event: Event) -> None:
        """Send what this event tells who waits; most kinds tell nothing."""
        self.seen = event.number
        match event.kind:
            case "log":
                await self._log(event.data)
            case "notice":
                await self._exchange.notify(event.data["method"], event.data.get("params") or {})
            case "progress":
                await self._number(event.data)
            case _:
                message = _message(event)
                if message:
                    await self._nudge(message)

    @asynccontextmanager
    async def beating(self) -> AsyncGenerator[None]:
        """Meanwhile, send progress whenever there was none for `HEARTBEAT_SECONDS`."""
        if self._token is None:
            yield
            return
        loop = asyncio.get_running_loop()
        began = self._sent_at = loop.time()
        beating: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal beating
            beating = loop.create_task(self._beat(began))

        timer = loop.call_later(self._heartbeat, begin)  # most calls are over before it
        try:
            yield
        finally:
            timer.cancel()
            if beating is not None:
                beating.cancel()
                await asyncio.wait([beating])

    async def _beat(self, began: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            left = self._sent_at + self._heartbeat - loop.time()
            if left > 0:
                await asyncio.sleep(left)
            else:
                await self._nudge(f"at work for {loop.time() - began:.0f} s")

    async def _nudge(self, message: str) -> None:
        if self._token is not None:
            last = self._last or 0.0
            # The second is for numbers so large that the nudge is lost in them.
            await self._send(
                max(last + _NUDGE, math.nextafter(last, math.inf)), self._total, message
            )

    async def _number(self, data: Object) -> None:
        done, total, message = (data.get(key) for key in ("done", "total", "message"))
        if self._token is None or not _is_number(done):
            return
        if self._last is not None and done <= self._last:
            return
        self._total = total if _is_number(total) else None
        await self._send(done, self._total, message if isinstance(message, str) else None)

    async def _send(self, progress: float, total: float | None, message: str | None) -> None:
        self._last = progress
        self._sent_at = asyncio.get_running_loop().time()
        params: Object = {"progressToken": self._token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self._exchange.notify("notifications/progress", params)

    async def _log(self, data: Object) -> None:
        level = "warning" if data.get("level") == "warn" else str(data.get("level", "info"))
        if LEVELS.index(level) < self._least:
            return
        text: JSON = data.get("message", "")
        fields = data.get("fields")
        await self._exchange.notify(
            "notifications/message",
            {
                "level": level,
                "logger": "llmspell",
                "data": {"message": text, **fields} if isinstance(fields, dict) else text,
            },
        )


def told_in(event: Event) -> str:
    """Return what an event of kind `progress` tells a person, in one line."""
    done, total, message = (event.data.get(key) for key in ("done", "total", "message"))
    numbers = f"{done:g}" if _is_number(done) else ""
    if numbers and _is_number(total):
        numbers += f" of {total:g}"
    return ": ".join(part for part in (numbers, message) if isinstance(part, str) and part)


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
