"""One stream of server-sent events: what is sent on it, and who reads it.

A stream outlives its connections. Its events are numbered and the last ones
kept, so that a client whose connection broke reads on where it was; a client
that does not read at all holds up nobody, for nothing here waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from starlette.types import Send

from llmspell.endpoints.mcp.http.answers import Head

PING_SECONDS = 15.0
"""Longest silence on a stream, so that no proxy takes it for dead."""

RETRY_MS = 1000
"""After how long a client whose connection broke should come back."""

ROOM = 1 << 20
"""Bytes of events that are kept of one stream."""

MOST_READERS = 4
"""Connections that read one stream. Only the newest is written to; the others may be half dead."""

_PING = b": ping\n\n"
_TYPE = (b"content-type", b"text/event-stream")
_HEAD = (
    _TYPE,
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


@dataclass(frozen=True, slots=True)
class _Event:
    number: int
    frame: bytes
    is_droppable: bool


class Reader:
    """A connection that reads a stream."""

    def __init__(self) -> None:
        self.has_left = False
        self.woken = asyncio.Event()
        """Set when there may be something to send, or no more to be sent."""

    def leave(self) -> None:
        """Let the connection end in good order; the stream goes on without it."""
        self.has_left = True
        self.woken.set()

    async def waited(self, seconds: float) -> bool:
        """Wait until it is woken, or for so long; return whether it was woken."""
        is_silent = False

        def ring() -> None:
            nonlocal is_silent
            is_silent = True
            self.woken.set()

        # Not `asyncio.timeout`, which takes as long as a part of a call.
        timer = asyncio.get_running_loop().call_later(seconds, ring)
        try:
            await self.woken.wait()
        finally:
            timer.cancel()
        return not is_silent


class EventStream:
    """The events of one stream.

    Args:
        name: What the ids of its events begin with; "" = they have none, and nothing is kept
            once it was sent.
        room: Bytes that are kept beside the newest event; beyond that the oldest that may be
            dropped are.
    """

    def __init__(self, name: str = "", *, room: int = ROOM) -> None:
        self.name = name
        self.has_ended = False
        self._room = room
        self._events: deque[_Event] = deque()
        self._size = 0
        self._number = 0
        self._sent = 0
        self._readers: list[Reader] = []

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    @property
    def is_read(self) -> bool:
        """Whether a connection reads it now."""
        return bool(self._readers)

    def add(self, message: bytes, *, is_droppable: bool = False) -> None:
        """Send a message, now or once somebody reads.

        Args:
            message: JSON on one line.
            is_droppable: Whether the stream makes sense without it.
        """
        self._number += 1
        frame = b"event: message\ndata: " + message + b"\n\n"
        if self.name:
            frame = b"id: " + self._id(self._number) + b"\n" + frame
        self._events.append(_Event(self._number, frame, is_droppable))
        self._size += len(frame)
        self._make_room()
        self._wake()

    def end(self) -> None:
        """Let the connections end once they have sent what there is."""
        self.has_ended = True
        self._wake()

    async def write(
        self,
        send: Send,
        head: Head,
        *,
        is_primed: bool = False,
        reader: Reader | None = None,
        after: int | None = None,
    ) -> None:
        """Write the stream to a connection until it ends; a newer connection takes it over.

        Args:
            is_primed: Whether an event without data comes first, which gives the client an id
                to come back with (2025-11-25; clients of before take it for a message).
            reader: What the connection leaves by before the stream has ended.
            after: Number of the event after which it reads on, as far as events are kept; None =
                it goes on where the connection before it was.
        """
        reader = reader or Reader()
        self._readers.append(reader)
        if after is not None:
            # From here on: a connection that is lost, and not known to be, takes nothing more.
            self._sent = min(after, self._number)
        if len(self._readers) > MOST_READERS:
            self._readers.pop(0).leave()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*_HEAD, *head]})
            chunk = self._priming() if is_primed and self.name else b""
            while not reader.has_left:
                reader.woken.clear()
                if reader is self._readers[-1]:
                    chunk += self._take()
                if self.has_ended:
                    break
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    chunk = b""
                elif not await reader.waited(PING_SECONDS):
                    chunk = _PING
            await send({"type": "http.response.body", "body": chunk, "more_body": False})
        finally:
            if reader in self._readers:
                self._readers.remove(reader)
                self._wake()  # the one before it goes on

    def _id(self, number: int) -> bytes:
        return f"{self.name}.{number}".encode()

    def _priming(self) -> bytes:
        return b"id: %b\nretry: %d\ndata: \n\n" % (self._id(self._sent), RETRY_MS)

    def _take(self) -> bytes:
        """Return the frames that were not sent yet, and count them as sent."""
        fresh: list[bytes] = []
        for event in reversed(self._events):  # most of those that are kept were sent long ago
            if event.number <= self._sent:
                break
            fresh.append(event.frame)
        frames = b"".join(reversed(fresh))
        self._sent = max(self._sent, self._number)
        if not self.name:
            self._events.clear()
            self._size = 0
        return frames

    def _make_room(self) -> None:
        while self._size > self._room:
            index = next((i for i, event in enumerate(self._events) if event.is_droppable), None)
            # The newest is sent, however large it is: nothing after it stands for it.
            if index is None or index == len(self._events) - 1:
                return
            self._size -= len(self._events[index].frame)
            del self._events[index]

    def _wake(self) -> None:
        for reader in self._readers:
            reader.woken.set()
