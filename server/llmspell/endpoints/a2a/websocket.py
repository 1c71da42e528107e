"""The WebSocket binding: the socket loop, and nothing of the protocol.

Frames and their rules are `llmspell_protocols.a2a.connection`'s part, what a
request means is `dispatch`'s. A dropped socket ends the streams on it and the
waiting of its calls; the tasks go on. So does a socket whose credential has
expired or was revoked, which is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from llmspell.endpoints.a2a.dispatch import Dispatcher, RequestFailed
from llmspell.endpoints.a2a.errors import error_of
from llmspell.endpoints.a2a.jsonrpc import service_parameters
from llmspell.endpoints.auth.admission import CLOSE_SECONDS, outlived
from llmspell.endpoints.auth.gate import Gate
from llmspell.errors import AccessError
from llmspell.security.principals import Caller
from llmspell_protocols.a2a.connection import (
    SUBPROTOCOL,
    Close,
    Connection,
    Requested,
    Send,
    StreamCanceled,
)
from llmspell_protocols.jsonrpc import Error, Id, ProtocolError

POLICY_VIOLATION = 1008
"""The close code of a socket whose credential counts no more (RFC 6455 7.4.1)."""


class WebSocketEndpoint:
    """Answers upgrade requests and serves the sockets they become.

    `Host` and `Origin` were checked before this is reached (`endpoints.app`).
    """

    def __init__(self, dispatcher: Dispatcher, gate: Gate) -> None:
        self._dispatcher = dispatcher
        self._gate = gate

    async def __call__(self, socket: WebSocket) -> None:
        """Refuse the upgrade with 400 or 401, or serve the socket until it ends."""
        if SUBPROTOCOL not in socket.scope.get("subprotocols", ()):
            text = f"the subprotocol {SUBPROTOCOL!r} is required\n"
            await socket.send_denial_response(PlainTextResponse(text, 400))
            return
        try:
            await self._gate.admit(socket.scope, socket.headers, "a2a")
        except AccessError as error:
            await socket.send_denial_response(self._gate.refusal(error, "a2a"))
            return
        await socket.accept(subprotocol=SUBPROTOCOL)
        session = _Session(socket, self._dispatcher, self._gate, service_parameters(socket))
        try:
            with self._gate.hold(socket.headers, "a2a", session.outlive):
                await session.serve()
        finally:
            await session.end()


class _Session:
    """One socket: reads frames, and performs each request in a task of its own."""

    def __init__(
        self,
        socket: WebSocket,
        dispatcher: Dispatcher,
        gate: Gate,
        parameters: Mapping[str, str],
    ) -> None:
        self._socket = socket
        self._dispatcher = dispatcher
        self._gate = gate
        self._parameters = parameters
        self._connection = Connection()
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: dict[Id, asyncio.Task[None]] = {}
        self._left: set[Id] = set()
        self._serving = asyncio.current_task()
        self._is_outlived = False

    def outlive(self) -> None:
        """End the socket: the credential it was opened with counts no more."""
        self._is_outlived = True
        if self._serving is not None:
            self._serving.cancel()

    async def serve(self) -> None:
        try:
            await self._serve()
        except asyncio.CancelledError:
            if self._serving is None or not self._is_outlived or self._serving.uncancel():
                raise
            await self.end()
            await self._close(POLICY_VIOLATION, outlived().message)

    async def _serve(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text: str | None = message.get("text")
            for event in self._connection.receive(message["bytes"] if text is None else text):
                match event:
                    case Requested():
                        self._begin(event)
                    case StreamCanceled(id):
                        self._leave(id)
                    case Send(frame):
                        await self._send(frame)
                    case Close(code, reason):
                        await self.end()
                        await self._close(code, reason)
                        return
                    case _:
                        pass  # answers: this end asks nothing

    async def end(self) -> None:
        """Leave every stream and stop waiting for every call. Calling it twice is no error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, request: Requested) -> None:
        work = self._stream(request) if request.streaming else self._call(request)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if request.streaming:
            self._streams[request.id] = task

    def _leave(self, id: Id) -> None:
        task = self._streams.get(id)
        if task is not None and id not in self._left:
            self._left.add(id)
            # Not at once: a task that is canceled before its first step never says its end.
            asyncio.get_running_loop().call_soon(task.cancel)

    async def _call(self, request: Requested) -> None:
        try:
            caller = await self._admit()
            result = await self._dispatcher.call(
                request.method, request.params, self._of(request), caller
            )
            frame = self._connection.respond(request.id, result)
        except RequestFailed as failed:
            frame = self._connection.fail(request.id, failed.error)
        except ProtocolError as error:
            frame = self._connection.fail(request.id, error.error)
        except AccessError as error:
            frame = self._connection.fail(request.id, error_of(error))
        await self._send(frame)

    async def _stream(self, request: Requested) -> None:
        id = request.id
        try:
            end = await self._items(request)
        except asyncio.CancelledError:
            if id not in self._left:
                raise
            end = None
        del self._streams[id]
        if id in self._left:
            self._left.discard(id)
            frame = self._connection.stream_end(id, "cancelled")
        elif end is not None:
            frame = self._connection.fail(id, end)
        else:
            frame = self._connection.stream_end(id)
        await self._send(frame)

    async def _items(self, request: Requested) -> Error | None:
        """Send the items of a stream, and return the error it ended with."""
        try:
            caller = await self._admit()
            stream = self._dispatcher.stream(
                request.method, request.params, self._of(request), caller
            )
            async with aclosing(stream) as items:
                async for item in items:
                    await self._send(self._connection.stream_item(request.id, item))
        except RequestFailed as failed:
            return failed.error
        except ProtocolError as error:
            return error.error
        except AccessError as error:
            return error_of(error)
        return None

    async def _admit(self) -> Caller:
        """Return the caller, who is looked at for each request: a key may have been revoked, a
        token have expired, since the socket was opened, and each request counts."""
        return await self._gate.admit(self._socket.scope, self._socket.headers, "a2a")

    def _of(self, request: Requested) -> Mapping[str, str]:
        if not request.service_parameters:
            return self._parameters
        return {**self._parameters, **request.service_parameters}

    async def _send(self, frame: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect):  # the reader finds it too, and all ends with it
                await self._socket.send_text(frame)

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._socket.close(code, reason)
