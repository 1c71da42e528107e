"""The control socket: the host's own methods as JSON-RPC 2.0, one message a line.

This is what the command line and `Host.connect` speak with the owner; no edge
does. Whoever can open the socket is the person the process belongs to, so every
caller is `local:<uid>`, whatever a message says. The methods are in
`host.control_methods`, `host.control_state` and `host.control_keys`; the client
half is `host.remote`.

Ending a connection ends what waits through it: its casts stop, and runs it
began with `attached`. Runs begun with `start` alone go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import msgspec

from llmspell.errors import InputTooLarge, InternalError, LlmspellError, OutputTooLarge, UsageError
from llmspell.host import control_keys, control_methods, control_state
from llmspell.host.control_methods import Client
from llmspell.host.interface import HostInterface
from llmspell.values import JSON, Object

MAX_LINE_BYTES = 16 << 20
"""Longest line either side may send."""

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
FAILED = -32000
"""The code of every error of ours; `data` is its error object."""

_log = logging.getLogger(__name__)

_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes of a stranger: bad JSON, bad UTF-8, nesting without end."""

Method: TypeAlias = Callable[[Object, AsyncExitStack], Awaitable[JSON]]
"""A method added from above, e.g. `http.open`: takes the params and a stack that is unwound
when the connection ends, returns the result."""


_METHODS = {**control_methods.METHODS, **control_state.METHODS, **control_keys.METHODS}


class Request(msgspec.Struct):
    """A request, or a notification when it has no id."""

    method: str
    id: int | str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Cancel(msgspec.Struct, forbid_unknown_fields=True):
    id: int | str


async def read_lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes | None]:
    """Yield the lines of a stream whose limit is `MAX_LINE_BYTES`, until it ends.

    A longer line is dropped whole, and `None` stands in its place.
    """
    too_long = False
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as overrun:
            too_long = True
            await reader.readexactly(overrun.consumed)
            continue
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        if too_long:
            too_long = False
            yield None
        elif line.strip():
            yield line


class Control:
    """Serves a host on control connections.

    Args:
        host: What is asked for.
        methods: Methods beside the host's own, by name.
    """

    def __init__(self, host: HostInterface, methods: Mapping[str, Method]) -> None:
        self.host = host
        self.methods = methods

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        await _Connection(self, reader, writer).run()


class _Connection:
    """One control connection and its requests under way."""

    def __init__(
        self, control: Control, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._methods = control.methods
        self._reader = reader
        self._writer = writer
        self._tasks: dict[int | str, asyncio.Task[None]] = {}
        self._client = Client(control.host, self._notify, writer.drain)
        self._cleanup = AsyncExitStack()
        self._encoder = msgspec.json.Encoder()

    async def run(self) -> None:
        try:
            async for line in read_lines(self._reader):
                if line is None:
                    error = InputTooLarge(f"a message may be {MAX_LINE_BYTES} bytes long")
                    self._fail(None, INVALID_REQUEST, error)
                else:
                    self._receive(line)
                await self._writer.drain()
        except ConnectionError:
            pass  # the client went away between two lines
        finally:
            await self._end()

    async def _end(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.leave()
        await self._cleanup.aclose()

    def _receive(self, line: bytes) -> None:
        try:
            request = msgspec.json.decode(line, type=Request)
        except msgspec.ValidationError as error:
            self._fail(None, INVALID_REQUEST, UsageError(f"not a request: {error}"))
            return
        except _NOT_JSON as error:
            self._fail(None, PARSE_ERROR, UsageError(f"not JSON: {error}"))
            return
        if request.id is None:
            if request.method == "cancel":
                self._cancel(request.params)
            return
        if request.id in self._tasks:
            self._fail(request.id, INVALID_REQUEST, UsageError(f"id {request.id!r} is in use"))
            return
        task = asyncio.create_task(self._answer(request.id, request))
        self._tasks[request.id] = task

    def _cancel(self, params: msgspec.Raw) -> None:
        try:
            task = self._tasks.get(msgspec.json.decode(params, type=_Cancel).id)
        except _NOT_JSON:
            return  # a notification has no answer
        if task is not None:
            task.cancel()

    async def _answer(self, identifier: int | str, request: Request) -> None:
        try:
            result = await self._perform(identifier, request)
            self._send({"jsonrpc": "2.0", "id": identifier, "result": result})
        except LlmspellError as error:
            self._fail(identifier, FAILED, error)
        except msgspec.ValidationError as error:
            text = f"{request.method}: {error}"
            self._fail(identifier, INVALID_PARAMS, UsageError(text, hint=""))
        # A fault of ours must reach its caller, and must not end the connection for others.
        except Exception as error:
            _log.exception("control method %r", request.method)
            text = f"{type(error).__name__}: {error}"
            self._fail(identifier, FAILED, InternalError(text))
        finally:
            self._tasks.pop(identifier, None)

    async def _perform(self, identifier: int | str, request: Request) -> JSON:
        known = _METHODS.get(request.method)
        if known is not None:
            kind, method = known
            params = msgspec.json.decode(request.params, type=kind)
            return await method(self._client, identifier, params)
        added = self._methods.get(request.method)
        if added is None:
            raise UsageError(f"the owner has no method {request.method!r}", hint="")
        return await added(msgspec.json.decode(request.params, type=dict[str, Any]), self._cleanup)

    def _notify(self, method: str, params: JSON) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def _send(self, message: Object) -> None:
        if self._writer.is_closing():
            return
        try:
            line = self._encoder.encode(message)
        except TypeError as error:
            raise InternalError(f"an answer is not JSON: {error}") from error
        if len(line) >= MAX_LINE_BYTES:
            # The other side would drop it and wait on.
            raise OutputTooLarge(
                f"the answer has {len(line)} bytes, and a message may be {MAX_LINE_BYTES} long",
                hint="ask for less at a time",
            )
        self._writer.write(line + b"\n")

    def _fail(self, identifier: int | str | None, code: int, error: LlmspellError) -> None:
        body = {"code": code, "message": error.message, "data": error.to_value()}
        self._send({"jsonrpc": "2.0", "id": identifier, "error": body})
