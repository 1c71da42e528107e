"""The bridge's connection to one owner: lines out, lines in, and whether it still lives."""

from __future__ import annotations

import socket
import sys
import time
from collections import deque

from llmspell.bridge.hello import PING
from llmspell.bridge.lines import Lines
from llmspell.bridge.meeting import Meeting
from llmspell.bridge.peer import Vigil

CHUNK = 1 << 16

PING_SECONDS = 2.0
"""How long an owner that owes answers may be silent before it is asked for a sign of life."""


class Link:
    """A connection to an owner, until it is lost.

    Args:
        meeting: The greeted connection.
    """

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting
        self._socket = meeting.socket
        self._socket.setblocking(False)
        self.is_kept = meeting.is_kept
        self.waiting = 0
        """Bytes that are still to be sent."""
        # Of the first line, `_sent` bytes are gone.
        self._outgoing: deque[bytes] = deque()
        self._sent = 0
        self._incoming = Lines()
        self._heard_at = time.monotonic()
        self._vigil: Vigil | None = None

    @property
    def descriptor(self) -> int:
        """What to poll."""
        return self._socket.fileno()

    def send(self, line: bytes) -> None:
        """Queue a line, given without its newline."""
        self._outgoing.append(line + b"\n")
        self.waiting += len(line) + 1

    def write(self) -> bool:
        """Send what the connection takes; return False when the owner has gone."""
        while self._outgoing:
            line = self._outgoing[0]
            try:
                self._sent += self._socket.send(memoryview(line)[self._sent :])
            except BlockingIOError:
                return True
            except OSError:
                return False
            if self._sent == len(line):
                self._outgoing.popleft()
                self.waiting -= len(line)
                self._sent = 0
        return True

    def read(self) -> list[bytes] | None:
        """Return the lines that have come since; None when the owner has gone.

        Raises:
            BlockingIOError: There is nothing to be read.
        """
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            raise
        except OSError:
            data = b""
        if not data:
            return None
        self.relax(time.monotonic())
        return [line for line in self._incoming.feed(data) if line is not None]

    def end_input(self) -> None:
        """Tell the owner that nothing more comes."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # macOS says so when the owner has gone, which the next read tells

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    # -- whether it lives -----------------------------------------------------

    def relax(self, now: float) -> None:
        """Note that it has been heard, or need not be."""
        self._heard_at = now
        self._vigil = None

    def remaining(self, now: float) -> float:
        """Return in how many seconds `watch` has something to do."""
        if self._vigil is not None:
            return self._vigil.remaining(now)
        return self._heard_at + PING_SECONDS - now

    def watch(self, now: float) -> None:
        """Ask an owner that is silent for a sign of life; end one that gives none.

        The end of the connection is what then brings the next owner.
        """
        process = self._meeting.process
        if process is None or process.pid != self._meeting.pid:
            self.relax(now)  # it could not be ended, so there is no use in asking
        elif self._vigil is None:
            if now >= self._heard_at + PING_SECONDS:
                self.send(PING)
                self._vigil = Vigil(process, now)
        elif self._vigil.is_hung(now):
            self.relax(now)
            if process.kill():
                said = f"llmspell: the owner (pid {process.pid}) hung and was ended"
                print(said, file=sys.stderr, flush=True)
