"""`llmspell stdio`: lines between an MCP client on stdin/stdout and the owner's socket.

It forwards bytes and understands as little as it can: which lines are requests
and which answers, so that no request stays without one when the owner dies or
can't be reached, and the handshake of the older protocol revisions, which a new
owner must be shown. Nothing but JSON-RPC goes to stdout; messages go to stderr.

An unanswered request is never sent twice: whether it was performed is unknown,
so the client is told, with `retryable`, and decides.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from typing import Any

from llmspell.bridge.lines import Lines, answers, cancelled_key, error_line, key_of, messages
from llmspell.bridge.meeting import Address, UnreachableError, connect_or_spawn

MAX_LINE_BYTES = 32 << 20
"""Longest line taken from a client: well above every limit the owner has."""

HIGH_WATER = 4 << 20
"""Bytes waiting for one side at which the other is no longer read."""

LAST_ANSWER_SECONDS = 2.0
"""How long the owner may take to hang up once everything has been answered."""

CHUNK = 1 << 16
PIPE_CHUNK = 4096
"""What a pipe that is ready takes without blocking; stdout itself may not be set non-blocking,
because other processes may share it."""

ANSWER_SECONDS = 30.0

_STANDING = "subscriptions/listen"
"""A request that is answered when it ends. Like a cancelled one, which may stay without an
answer, it is not waited for at the end of input."""


class Bridge:
    """One client's life at the bridge.

    Args:
        address: The owner to meet; it is met again, or started, when it has gone
            and the client asks something.
        stdin: Descriptor the client writes to.
        stdout: Descriptor the client reads from.
    """

    def __init__(self, address: Address, stdin: int = 0, stdout: int = 1) -> None:
        self._address = address
        self._stdin = stdin
        self._stdout = stdout
        self._owner: socket.socket | None = None
        self._client_lines = Lines(MAX_LINE_BYTES)
        self._owner_lines = Lines()
        # Whole lines with the requests they hold; the first may be partly sent.
        self._to_owner: deque[tuple[bytes, dict[str, Any]]] = deque()
        self._waiting = 0
        self._sent = 0
        self._to_client = bytearray()
        self._unanswered: dict[str, Any] = {}
        self._standing: set[str] = set()
        self._ended = False
        self._hang_up_at: float | None = None
        self._watched: set[int] = set()
        # The handshake of revisions up to 2025-11-25: the line, its key, whether it was accepted.
        self._initialize: dict[str, Any] | None = None
        self._initialized: bytes | None = None
        self._accepted = False

    def run(self) -> int:
        """Pass lines until the client is done; return the exit status."""
        try:
            self._meet()
        except UnreachableError as error:
            self._say(error)
        poll = select.poll()
        while not self._done():
            self._watch(poll)
            for descriptor, event in poll.poll(self._patience()):
                if descriptor == self._stdout:
                    if event & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                        return 0  # nobody reads any more
                    self._write_client()
                elif descriptor == self._stdin:
                    self._read_client()
                elif self._owner is not None and descriptor == self._owner.fileno():
                    if event & ~select.POLLOUT:
                        self._read_owner()
                    if event & select.POLLOUT:
                        self._write_owner()
        return 0

    # -- the loop -------------------------------------------------------------

    def _watch(self, poll: select.poll) -> None:
        wanted: dict[int, int] = {self._stdout: select.POLLOUT if self._to_client else 0}
        room = len(self._to_client) < HIGH_WATER
        if not self._ended and room and self._waiting < HIGH_WATER:
            wanted[self._stdin] = select.POLLIN
        if self._owner is not None:
            events = select.POLLIN if room else 0
            if self._to_owner:
                events |= select.POLLOUT
            if events:
                wanted[self._owner.fileno()] = events
        for descriptor in self._watched - wanted.keys():
            poll.unregister(descriptor)
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        self._watched = set(wanted)

    def _patience(self) -> float | None:
        if self._hang_up_at is None:
            return None
        return max(0.0, self._hang_up_at - time.monotonic()) * 1000

    def _done(self) -> bool:
        """Whether input has ended and every answer has been passed on."""
        if not self._ended or self._to_client or self._to_owner:
            return False
        if self._owner is None:
            return True
        if self._unanswered.keys() - self._standing:
            return False
        if self._hang_up_at is None:
            self._hang_up_at = time.monotonic() + LAST_ANSWER_SECONDS
            self._owner.shutdown(socket.SHUT_WR)
        return time.monotonic() >= self._hang_up_at

    # -- from the client ------------------------------------------------------

    def _read_client(self) -> None:
        try:
            data = os.read(self._stdin, CHUNK)
        except OSError:
            data = b""
        if data:
            lines = self._client_lines.feed(data)
        else:
            self._ended = True
            lines = self._client_lines.end()
        for line in lines:
            if line is None:
                self._to_client += error_line(
                    None,
                    -32600,
                    f"a message may be {MAX_LINE_BYTES} bytes long",
                    {"code": "input.too_large"},
                )
            elif line.strip():
                self._take(line)

    def _take(self, line: bytes) -> None:
        """Queue a client's line, or answer it when there is no owner."""
        found = messages(line)
        requests: dict[str, Any] = {}
        for message in found or ():
            method = message.get("method")
            if method is None:
                continue
            if "id" in message and not isinstance(message["id"], str | int):
                continue  # no answer can name such an id: the owner refuses it without one
            if "id" not in message:
                if method == "notifications/initialized":
                    self._initialized = line
                elif method == "notifications/cancelled":
                    self._standing.add(cancelled_key(message))
                continue
            key = key_of(message["id"])
            requests[key] = message["id"]
            if method == _STANDING:
                self._standing.add(key)
            elif method == "initialize":
                self._initialize = message
                self._accepted = False
        if self._owner is None:
            # A notification or an answer concerns an owner that is gone.
            if found is not None and not requests:
                return
            try:
                self._meet()
            except UnreachableError as error:
                self._say(error)
                self._refuse(requests, error)
                return
        self._to_owner.append((line + b"\n", requests))
        self._waiting += len(line) + 1

    def _refuse(self, requests: dict[str, Any], error: UnreachableError) -> None:
        data: dict[str, Any] = {"code": error.code, "hint": error.hint}
        if error.cause is not None:
            data["cause"] = error.cause
        if not requests:
            self._to_client += error_line(None, -32700, "not JSON", None)
        for key, identifier in requests.items():
            self._standing.discard(key)
            self._to_client += error_line(identifier, -32000, error.message, data)

    def _write_client(self) -> None:
        try:
            done = os.write(self._stdout, memoryview(self._to_client)[:PIPE_CHUNK])
        except BrokenPipeError:
            self._ended = True
            self._to_client.clear()
            return
        del self._to_client[:done]

    # -- the owner ------------------------------------------------------------

    def _meet(self) -> None:
        """Connect to an owner and show it the handshake the client has made with another one.

        Raises:
            UnreachableError: There is none, or it refuses the handshake.
        """
        connection = connect_or_spawn(self._address, "mcp").socket
        self._owner_lines = Lines()
        try:
            if self._accepted and self._initialize is not None:
                self._introduce(connection)
        except OSError as error:
            connection.close()
            raise UnreachableError(f"the owner went away: {error}") from error
        except UnreachableError:
            connection.close()
            raise
        connection.setblocking(False)
        self._owner = connection
        self._sent = 0

    def _introduce(self, connection: socket.socket) -> None:
        """Repeat the handshake under an id of our own; its answer stays here."""
        identifier = f"llmspell-bridge-{os.getpid()}"
        connection.settimeout(ANSWER_SECONDS)
        message = {**(self._initialize or {}), "id": identifier}
        connection.sendall(json.dumps(message).encode() + b"\n")
        answer: dict[str, Any] | None = None
        while answer is None:
            data = connection.recv(CHUNK)
            if not data:
                raise UnreachableError("the owner hung up")
            for line in self._owner_lines.feed(data):
                found = messages(line or b"") or []
                ours = [each for each in found if each.get("id") == identifier]
                if ours:
                    answer = ours[0]
                elif line is not None:
                    self._to_client += line + b"\n"
        if "result" not in answer:
            raise UnreachableError("the owner refuses the client's handshake")
        if self._initialized is not None:
            connection.sendall(self._initialized + b"\n")

    def _write_owner(self) -> None:
        if self._owner is None:
            return  # it was found to have gone in the same round
        while self._to_owner:
            line, requests = self._to_owner[0]
            try:
                self._sent += self._owner.send(memoryview(line)[self._sent :])
            except BlockingIOError:
                return
            except OSError:
                # It has gone, but what it said before is still to be read.
                while self._read_owner():
                    pass
                return
            if self._sent == len(line):
                self._to_owner.popleft()
                self._waiting -= len(line)
                self._sent = 0
                self._unanswered.update(requests)

    def _read_owner(self) -> bool:
        """Take what the owner sent; return whether there was any."""
        assert self._owner is not None
        try:
            data = self._owner.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._lose()
            return False
        for line in self._owner_lines.feed(data):
            if line is not None:
                self._note_answer(line)
                self._to_client += line
                self._to_client += b"\n"
        return True

    def _note_answer(self, line: bytes) -> None:
        if not self._unanswered:
            return
        for key, good in answers(line):
            if self._initialize is not None and key == key_of(self._initialize["id"]):
                self._accepted = self._accepted or good
            self._unanswered.pop(key, None)
            self._standing.discard(key)

    def _lose(self) -> None:
        """The owner has gone: answer what it did not, keep what it was never sent."""
        assert self._owner is not None
        self._owner.close()
        self._owner = None
        for identifier in self._unanswered.values():
            self._to_client += error_line(
                identifier,
                -32000,
                "the owner ended before it answered",
                {
                    "code": "run.interrupted",
                    "retryable": True,
                    "hint": "it may have been performed; send it again if that does no harm",
                },
            )
        self._standing -= self._unanswered.keys()
        self._unanswered.clear()
        kept = [item for item in self._to_owner if item[1]]
        self._to_owner.clear()
        self._waiting = sum(len(line) for line, _ in kept)
        self._to_owner.extend(kept)
        # Without a request in hand the next one brings back an owner: 'llmspell stop' must last.
        if kept:
            try:
                self._meet()
            except UnreachableError as error:
                self._say(error)
                self._to_owner.clear()
                self._waiting = 0
                for _, requests in kept:
                    self._refuse(requests, error)

    def _say(self, error: UnreachableError) -> None:
        print(f"llmspell: {error.message}\n  hint: {error.hint}", file=sys.stderr, flush=True)


def main(address: Address) -> int:
    """Be the bridge on stdin and stdout; return the exit status."""
    try:
        return Bridge(address).run()
    except KeyboardInterrupt:
        return 130
