"""The two ends of a pipe as the SDK's dispatcher wants them: messages in, messages out.

The SDK's own stdio transport reads lines without a bound, drops what is not
JSON-RPC in silence, and works on the process's descriptors only.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from llmspell.bridge.hello import BRIDGE, MAX_MESSAGE, PING, PONG, PRIVATE
from llmspell.bridge.lines import is_request, message_of
from llmspell.endpoints.mcp.lines import LineReader, TooLong
from llmspell.errors import InputTooLarge
from llmspell.security.principals import Caller

MOST_UNANSWERED = 1024
MOST_UNANSWERED_BYTES = 32 << 20
"""Requests of one client under way, and their bytes. The next one waits until there is room, and
what the client says after that waits behind it."""

AT_ONCE = 16
"""Requests of one client that are begun one behind the other, and lines of it that are read without
anybody else having a turn. Beyond that it is served at the pace of its answers."""

PACE_SECONDS = 0.005
"""How long a request beyond `AT_ONCE` waits for an answer to one before it: those that wait for
something else than this server, a model or a person, are not answered for long."""

MOST_UNREAD_BYTES = 1 << 20
"""Bytes that a client may leave unread before its next request waits until it reads."""

SIGN_SECONDS = 1.0
"""How often a bridge whose request waits is given a sign of life: it cannot be heard asking."""

ANSWER_SECONDS = 1.0
"""How long calls under way may still answer after the client closed its side."""

_NO_JSON = PARSE_ERROR, "Parse error: the line is not JSON"
_NO_MESSAGE = INVALID_REQUEST, "Invalid request: the line is not a JSON-RPC message"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Piped:
    """What every message of a pipe carries: who is at its other end."""

    caller: Caller
    bridge: str = ""
    """The id under which a bridge asks; "" when the client itself is at the other end."""
    cancelled: set[RequestId] = field(default_factory=set[RequestId])
    """Requests the client has cancelled, as opposed to those that merely lost their connection."""

    def key(self, id: RequestId | None) -> str | None:
        """Return the idempotency key of a request: a bridge asks again after its owner died."""
        if not self.bridge or id is None:
            return None
        return f"bridge:{self.bridge}:{json.dumps(id)}"

    def is_cancelled(self, id: RequestId | None) -> bool:
        """Return whether the client cancelled a request."""
        return id is not None and coerce_request_id(id) in self.cancelled

    def forget(self, id: RequestId | None) -> None:
        """Note that a request has ended: its id may come again."""
        if id is not None:
            self.cancelled.discard(coerce_request_id(id))


class MessageWriter:
    """The write side, as the SDK's dispatcher wants it: one line a message."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=MOST_UNREAD_BYTES)
        self._writer = writer
        # Sizes of requests that were read and not answered yet.
        self._unanswered: dict[RequestId, int] = {}
        self._size = 0
        self._settled = asyncio.Event()

    def owes(self, id: RequestId) -> bool:
        """Return whether a request was read and not answered yet."""
        return id in self._unanswered

    def owe(self, id: RequestId, size: int) -> None:
        """Note that a request was read.

        Args:
            size: Its length in bytes.
        """
        self.settle(id)
        self._unanswered[id] = size
        self._size += size

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message and wait while the client reads too slowly.

        Raises:
            anyio.BrokenResourceError: The client has left.
        """
        message = item.message
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self.settle(message.id)
        if self._writer.is_closing():
            raise anyio.BrokenResourceError
        line = message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            self._writer.write(line.encode() + b"\n")
            await self._writer.drain()
        except (ConnectionError, RuntimeError) as error:
            # What the dispatcher knows as "the peer has left"; uvloop says it with RuntimeError.
            raise anyio.BrokenResourceError from error

    async def refuse(self, code: int, message: str, id: RequestId | None, data: Any = None) -> None:
        """Answer something that never became a request."""
        detail = ErrorData(code=code, message=message)
        if data is not None:
            detail.data = data  # set at all, it would be written as null
        error = JSONRPCError(jsonrpc="2.0", id=id, error=detail)
        try:
            await self.send(SessionMessage(error))
        except anyio.BrokenResourceError:
            _log.debug("the client left before it was told: %s", message)

    def say(self, line: bytes) -> None:
        """Write a line that is for the bridge alone."""
        if not self._writer.is_closing():
            self._writer.write(line + b"\n")

    def settle(self, id: RequestId) -> None:
        """Note that nothing more is owed for this request."""
        self._size -= self._unanswered.pop(id, 0)
        self._settled.set()

    @property
    def is_busy(self) -> bool:
        """Whether so many requests are unanswered that the next should wait for one of them."""
        return len(self._unanswered) >= AT_ONCE

    def has_room(self, size: int) -> bool:
        """Return whether another request of so many bytes may be under way."""
        if not self._unanswered or self._writer.is_closing():
            return True
        is_small = self._size + size <= MOST_UNANSWERED_BYTES
        return is_small and len(self._unanswered) < MOST_UNANSWERED

    async def taken(self) -> None:
        """Return once the client reads what it is sent, or has left."""
        try:
            await self._writer.drain()
        except (ConnectionError, RuntimeError) as error:  # as in `send`
            _log.debug("the client left: %s", error)

    async def one_settled(self, seconds: float) -> bool:
        """Wait until something more is answered, at most so long; return whether it was."""
        self._settled.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            return False
        return True

    async def all_settled(self, seconds: float) -> None:
        """Wait until every request is answered, at most so long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._unanswered:
            if not await self.one_settled(end - loop.time()):
                _log.debug("the client left %d requests behind", len(self._unanswered))
                return

    async def aclose(self) -> None:
        """Close the connection, once what was written is sent or the client reads no more."""
        self._writer.close()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._writer.wait_closed()
        except ConnectionError:
            pass  # it is closed, by the other side
        except TimeoutError:
            self._writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


def _id_in(line: bytes) -> RequestId | None:
    """Return the id of a request that is no good, so that its client does not wait for ever.

    Found with less rigour than a message is read, as a bridge finds it.
    """
    message = message_of(line)
    if message is None:
        return TooLong.of(line).request_id() if b'"method"' in line else None
    return message["id"] if is_request(message) else None


def _is_strict(line: bytes) -> bool:
    try:
        json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


class MessageReader:
    """The read side, as the SDK's dispatcher wants it: an iterator of messages.

    Every message carries where it is from, as the HTTP transport's carry the request.

    Args:
        pace: See `PACE_SECONDS`.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        output: MessageWriter,
        piped: Piped,
        *,
        pace: float = PACE_SECONDS,
    ) -> None:
        self._lines = LineReader(reader, MAX_MESSAGE)
        self._taken = 0
        self._output = output
        self._pace = pace
        self._piped = piped
        self._metadata = ServerMessageMetadata(request_context=piped)

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message; what is none is answered here.

        Raises:
            anyio.EndOfStream: The client closed its side.
        """
        while True:
            line = await self._lines.next()
            self._taken += 1
            if self._taken % AT_ONCE == 0:
                await asyncio.sleep(0)  # whoever sends without end holds up nobody else
            if line is None:
                # Whoever pipes requests in and closes still gets the answers.
                await self._output.all_settled(ANSWER_SECONDS)
                raise anyio.EndOfStream
            if isinstance(line, TooLong):
                error = InputTooLarge(f"a message is longer than {MAX_MESSAGE} bytes")
                await self._output.refuse(
                    INVALID_REQUEST, error.message, line.request_id(), error.to_value()
                )
            elif self._piped.bridge and line.startswith(PRIVATE):
                self._hear(line)
            elif line.strip():
                message = await self._parse(line)
                if message is not None:
                    await self._note(message, len(line))
                    return SessionMessage(message, metadata=self._metadata)

    def _hear(self, line: bytes) -> None:
        """Take what the bridge says for itself."""
        if line == PING:
            self._output.say(PONG)
        elif line.startswith(BRIDGE):
            bridge = line.removeprefix(BRIDGE).decode(errors="replace")
            self._piped = Piped(self._piped.caller, bridge, self._piped.cancelled)
            self._metadata = ServerMessageMetadata(request_context=self._piped)

    async def _parse(self, line: bytes) -> JSONRPCMessage | None:
        if (b"NaN" in line or b"Infinity" in line) and not _is_strict(line):
            # JSON has no such numbers; the SDK takes them, and no record of a run can hold them.
            await self._output.refuse(*_NO_JSON, _id_in(line))
            return None
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            if isinstance(message, JSONRPCNotification) and "id" in json.loads(line):
                # The SDK takes a request whose id is neither text nor number for a notification.
                await self._output.refuse(
                    INVALID_REQUEST, "Invalid request: the id is neither a text nor a number", None
                )
                return None
            return message
        except ValidationError as error:
            parts = error.errors(include_url=False)
            is_json = all(part["type"] != "json_invalid" for part in parts)
            await self._output.refuse(*(_NO_MESSAGE if is_json else _NO_JSON), _id_in(line))
            return None

    async def _note(self, message: JSONRPCMessage, size: int) -> None:
        if isinstance(message, JSONRPCRequest):
            await self._wait_for_room(size)
            # A listen stream has no answer before it is ended.
            if message.method != "subscriptions/listen":
                self._output.owe(message.id, size)
        elif (
            isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled"
        ):
            cancelled = cancelled_request_id_from_params(message.params)
            if cancelled is not None:
                if self._output.owes(cancelled):
                    # Known before the dispatcher, which cancels the call, has the notification.
                    self._piped.cancelled.add(coerce_request_id(cancelled))
                self._output.settle(cancelled)

    async def _wait_for_room(self, size: int) -> None:
        while not self._output.has_room(size):
            if not await self._output.one_settled(SIGN_SECONDS) and self._piped.bridge:
                self._output.say(PONG)
        if self._output.is_busy:
            await self._output.one_settled(self._pace)
        await self._output.taken()

    async def aclose(self) -> None:
        """The writer closes the connection for both sides."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()
