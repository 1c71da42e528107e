"""The bridge's end towards its client: lines from stdin, lines to stdout.

What the lines mean is the bridge's concern.
"""

from __future__ import annotations

import os
import select

from llmspell.bridge.lines import Lines, error_line
from llmspell.bridge.link import CHUNK
from llmspell.bridge.refusals import Refusal

MAX_LINE_BYTES = 32 << 20
"""Longest line read from a client. One that an owner does not take is refused by the id in it."""

HIGH_WATER = 4 << 20
"""Bytes waiting for one side at which the other is no longer read."""

PIPE_CHUNK = 4096
"""What a pipe that is ready takes without blocking; stdout itself may not be set non-blocking,
because other processes may share it."""


class Client:
    """The client of one bridge.

    Args:
        stdin: Descriptor it writes to.
        stdout: Descriptor it reads from.
    """

    def __init__(self, stdin: int, stdout: int) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.has_ended = False
        """Whether nothing more comes from it."""
        self._incoming = Lines(MAX_LINE_BYTES)
        self._outgoing = bytearray()
        self._ready = select.poll()
        self._ready.register(stdout, select.POLLOUT)

    @property
    def waiting(self) -> int:
        """Bytes that are still to be written to it."""
        return len(self._outgoing)

    @property
    def has_room(self) -> bool:
        """Whether more may be sent to it."""
        return len(self._outgoing) < HIGH_WATER

    def read(self) -> list[bytes | None]:
        """Return the lines that have come since; None stands for one too long to be kept."""
        try:
            data = os.read(self.stdin, CHUNK)
        except BlockingIOError:
            return []  # somebody else who shares it was quicker
        except OSError:
            data = b""
        if data:
            return self._incoming.feed(data)
        self.has_ended = True
        return self._incoming.end()

    def send(self, *parts: bytes) -> None:
        """Queue a line in its parts, the newline included."""
        for part in parts:
            self._outgoing += part

    def refuse(self, identifier: object, refusal: Refusal) -> None:
        """Queue the answer that a request has failed.

        Args:
            identifier: The request's id; None where it has none that could be sent back.
        """
        self.send(error_line(identifier, *refusal))

    def write(self) -> None:
        """Write what is queued, as much as a pipe that is ready takes."""
        try:
            done = os.write(self.stdout, memoryview(self._outgoing)[:PIPE_CHUNK])
        except BlockingIOError:
            return  # somebody else who shares it was quicker
        except OSError:  # nobody reads any more
            self.has_ended = True
            self._outgoing.clear()
            return
        del self._outgoing[:done]

    def write_if_ready(self) -> None:
        """Write what is queued when that can be at once."""
        if self._outgoing and self._ready.poll(0) == [(self.stdout, select.POLLOUT)]:
            self.write()
