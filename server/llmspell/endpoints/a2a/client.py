"""A client of the WebSocket binding, for the SDK's `ClientFactory`.

    config = ClientConfig(supported_protocol_bindings=[*BINDING_ALIASES, "JSONRPC"])
    client = register(ClientFactory(config)).create(card)

One socket carries every call of a client. It is opened by the first call and
again by the first call after it was lost; a lost socket fails the calls that
wait on it and nothing is repeated: the tasks go on, `subscribe` finds them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypeVar, cast

from a2a.client.client import ClientCallContext, ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.client.errors import A2AClientError, A2AClientTimeoutError
from a2a.client.transports.base import ClientTransport
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import JSON_RPC_ERROR_CODE_MAP, A2AError
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message as ProtobufMessage
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from llmspell.values import Object
from llmspell_protocols.a2a.connection import (
    BINDING_ALIASES,
    SUBPROTOCOL,
    Answered,
    Close,
    Connection,
    Failed,
    Item,
    Requested,
    Send,
    StreamEnded,
)
from llmspell_protocols.jsonrpc import METHOD_NOT_FOUND, Error, Id, ProtocolError

OPEN_SECONDS = 10.0
"""Longest time a handshake may take."""

_log = logging.getLogger(__name__)
_ERRORS = {code: kind for kind, code in JSON_RPC_ERROR_CODE_MAP.items()}
_P = TypeVar("_P", bound=ProtobufMessage)


class ConnectionFailedError(A2AClientError):
    """The socket could not be opened.

    Attributes:
        status: HTTP status of a refused handshake, None when nobody answered.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)  # pyright: ignore[reportUnknownMemberType]  # the SDK says `dict`
        self.status = status


class ConnectionLostError(A2AClientError):
    """The socket ended while calls waited on it. Their tasks may still be at work."""


class WebSocketTransport(ClientTransport):
    """The SDK's operations over one socket.

    Args:
        url: `ws://` or `wss://`, from the agent's card.
        headers: Headers of the handshake, e.g. `Authorization`. Service parameters of
            the call that opens the socket are added; credentials travel nowhere else.
    """

    def __init__(
        self, card: pb.AgentCard, url: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._card = card
        self._url = url
        self._headers = {"a2a-version": "1.0", **_headers(headers or {})}
        self._socket: _Socket | None = None
        self._opening = asyncio.Lock()

    async def open(self, context: ClientCallContext | None = None) -> None:
        """Open the socket unless it is open; calls do this themselves.

        Raises:
            ConnectionFailedError: Nobody answers, or the handshake was refused.
        """
        await self._connected(context)

    async def send_message(
        self, request: pb.SendMessageRequest, *, context: ClientCallContext | None = None
    ) -> pb.SendMessageResponse:
        """Send a message and return the task or message that answers it."""
        return await self._call("SendMessage", request, pb.SendMessageResponse(), context)

    async def send_message_streaming(
        self, request: pb.SendMessageRequest, *, context: ClientCallContext | None = None
    ) -> AsyncGenerator[pb.StreamResponse]:
        """Send a message and yield what happens; leaving the iterator keeps the task going."""
        async for item in self._stream("SendStreamingMessage", request, context):
            yield item

    async def get_task(
        self, request: pb.GetTaskRequest, *, context: ClientCallContext | None = None
    ) -> pb.Task:
        """Return a task."""
        return await self._call("GetTask", request, pb.Task(), context)

    async def list_tasks(
        self, request: pb.ListTasksRequest, *, context: ClientCallContext | None = None
    ) -> pb.ListTasksResponse:
        """Return a page of tasks."""
        return await self._call("ListTasks", request, pb.ListTasksResponse(), context)

    async def cancel_task(
        self, request: pb.CancelTaskRequest, *, context: ClientCallContext | None = None
    ) -> pb.Task:
        """Stop a task and return it."""
        return await self._call("CancelTask", request, pb.Task(), context)

    async def subscribe(
        self, request: pb.SubscribeToTaskRequest, *, context: ClientCallContext | None = None
    ) -> AsyncGenerator[pb.StreamResponse]:
        """Yield a task as it stands, then what happens to it."""
        async for item in self._stream("SubscribeToTask", request, context):
            yield item

    async def create_task_push_notification_config(
        self, request: pb.TaskPushNotificationConfig, *, context: ClientCallContext | None = None
    ) -> pb.TaskPushNotificationConfig:
        """Set where a task's updates are posted to."""
        method = "CreateTaskPushNotificationConfig"
        return await self._call(method, request, pb.TaskPushNotificationConfig(), context)

    async def get_task_push_notification_config(
        self,
        request: pb.GetTaskPushNotificationConfigRequest,
        *,
        context: ClientCallContext | None = None,
    ) -> pb.TaskPushNotificationConfig:
        """Return where a task's updates are posted to."""
        method = "GetTaskPushNotificationConfig"
        return await self._call(method, request, pb.TaskPushNotificationConfig(), context)

    async def list_task_push_notification_configs(
        self,
        request: pb.ListTaskPushNotificationConfigsRequest,
        *,
        context: ClientCallContext | None = None,
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        """Return every place a task's updates are posted to."""
        method = "ListTaskPushNotificationConfigs"
        answer = pb.ListTaskPushNotificationConfigsResponse()
        return await self._call(method, request, answer, context)

    async def delete_task_push_notification_config(
        self,
        request: pb.DeleteTaskPushNotificationConfigRequest,
        *,
        context: ClientCallContext | None = None,
    ) -> None:
        """Stop posting a task's updates somewhere."""
        await self._result("DeleteTaskPushNotificationConfig", request, context)

    async def get_extended_agent_card(
        self, request: pb.GetExtendedAgentCardRequest, *, context: ClientCallContext | None = None
    ) -> pb.AgentCard:
        """Return the card for authenticated clients; the public one where there is no other."""
        if not self._card.capabilities.extended_agent_card:
            return self._card
        return await self._call("GetExtendedAgentCard", request, pb.AgentCard(), context)

    async def close(self) -> None:
        """Close the socket. Closing twice is no error."""
        if self._socket is not None:
            socket, self._socket = self._socket, None
            await socket.close()

    async def _call(
        self,
        method: str,
        request: ProtobufMessage,
        answer: _P,
        context: ClientCallContext | None,
    ) -> _P:
        return _parsed(await self._result(method, request, context), answer)

    async def _result(
        self, method: str, request: ProtobufMessage, context: ClientCallContext | None
    ) -> Any:
        socket = await self._connected(context)
        seconds = context.timeout if context else None
        try:
            async with asyncio.timeout(seconds):
                return await socket.call(method, MessageToDict(request), _parameters(context))
        except TimeoutError:
            raise A2AClientTimeoutError(f"{method} took longer than {seconds} seconds") from None

    async def _stream(
        self, method: str, request: ProtobufMessage, context: ClientCallContext | None
    ) -> AsyncGenerator[pb.StreamResponse]:
        socket = await self._connected(context)
        items = socket.stream(method, MessageToDict(request), _parameters(context))
        try:
            async for item in items:
                yield _parsed(item, pb.StreamResponse())
        finally:
            await items.aclose()

    async def _connected(self, context: ClientCallContext | None) -> _Socket:
        if self._socket is None or self._socket.is_lost:
            async with self._opening:
                if self._socket is None or self._socket.is_lost:
                    headers = {**self._headers, **_headers(_parameters(context))}
                    self._socket = await _open(self._url, headers)
        return self._socket


def register(factory: ClientFactory, *, headers: Mapping[str, str] | None = None) -> ClientFactory:
    """Teach a factory this binding under all its names, and return the factory.

    The names must also stand in the `supported_protocol_bindings` of its config.

    Args:
        headers: Headers of every handshake, e.g. `Authorization`.
    """

    def transport(card: pb.AgentCard, url: str, config: ClientConfig) -> ClientTransport:
        return WebSocketTransport(card, url, headers=headers)

    for name in BINDING_ALIASES:
        factory.register(name, transport)
    return factory


class _Socket:
    """An open socket and the calls that wait on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._connection = Connection()
        self._calls: dict[Id, asyncio.Future[Any]] = {}
        self._streams: dict[Id, asyncio.Queue[Item | StreamEnded | Exception]] = {}
        self._lost: ConnectionLostError | None = None
        self._reader = asyncio.get_running_loop().create_task(self._read())

    @property
    def is_lost(self) -> bool:
        return self._lost is not None

    async def call(self, method: str, params: Object, parameters: Mapping[str, str]) -> Any:
        id, frame = self._request(method, params, parameters)
        answer = self._calls[id] = asyncio.get_running_loop().create_future()
        try:
            await self._send(frame)
            return await answer
        finally:
            del self._calls[id]

    async def stream(
        self, method: str, params: Object, parameters: Mapping[str, str]
    ) -> AsyncGenerator[Any]:
        id, frame = self._request(method, params, parameters)
        queue = self._streams[id] = asyncio.Queue()
        try:
            await self._send(frame)
            while True:
                event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, StreamEnded):
                    if event.reason != "completed":
                        raise A2AClientError(f"the agent ended the stream early: {event.reason}")
                    return
                yield event.result
        finally:
            del self._streams[id]
            farewell = self._connection.cancel_stream(id)
            if farewell is not None and not self.is_lost:
                await self._send(farewell)

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    def _request(
        self, method: str, params: Object, parameters: Mapping[str, str]
    ) -> tuple[Id, str]:
        if self._lost is not None:
            raise self._lost
        try:
            return self._connection.request(method, params, parameters)
        except ProtocolError as error:
            raise _problem(error.error) from None

    async def _send(self, frame: str) -> None:
        try:
            await self._socket.send(frame)
        except ConnectionClosed as closed:
            raise ConnectionLostError(_describe(closed)) from None

    async def _read(self) -> None:
        reason = "the socket was closed"
        try:
            async for frame in self._socket:
                for event in self._connection.receive(frame):
                    await self._take(event)
        except ConnectionClosed as closed:
            reason = _describe(closed)
        except ConnectionLostError as lost:
            reason = lost.message
        finally:
            self._lose(ConnectionLostError(reason))

    async def _take(self, event: Any) -> None:
        match event:
            case Answered(id, result):
                future = self._calls.get(id)
                if future is not None and not future.done():
                    future.set_result(result)
            case Item(id) | StreamEnded(id):
                if id in self._streams:
                    self._streams[id].put_nowait(event)
            case Failed(id, error):
                self._failed(id, error)
            case Requested(id, method):
                error = Error(METHOD_NOT_FOUND, f"this client has no method {method!r}")
                await self._send(self._connection.fail(id, error))
            case Send(frame):
                await self._send(frame)
            case Close(code, reason):
                await self._socket.close(code, reason)
            case _:
                pass  # the end of a stream of ours: this end serves none

    def _failed(self, id: Id | None, error: Error) -> None:
        if id is None:
            _log.warning("the agent could not read a frame: %s", error.message)
            return
        future = self._calls.get(id)
        if future is not None and not future.done():
            future.set_exception(_problem(error))
        elif id in self._streams:
            self._streams[id].put_nowait(_problem(error))

    def _lose(self, error: ConnectionLostError) -> None:
        self._lost = error
        for future in self._calls.values():
            if not future.done():
                future.set_exception(error)
        for queue in self._streams.values():
            queue.put_nowait(error)


async def _open(url: str, headers: Mapping[str, str]) -> _Socket:
    try:
        socket = await connect(
            url,
            subprotocols=[SUBPROTOCOL],  # pyright: ignore[reportArgumentType]  # a NewType of str
            additional_headers=dict(headers),
            compression=None,
            max_size=Connection().max_frame_bytes,
            open_timeout=OPEN_SECONDS,
            proxy=None,
        )
    except InvalidStatus as refused:
        status = refused.response.status_code
        body = (refused.response.body or b"")[:300].decode(errors="replace").strip()
        message = f"{url} refused the handshake with HTTP {status}: {body}"
        raise ConnectionFailedError(message, status=status) from None
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        raise ConnectionFailedError(f"{url} cannot be reached: {error}") from None
    if socket.subprotocol != SUBPROTOCOL:
        await socket.close(1002, f"subprotocol {SUBPROTOCOL} required")
        raise ConnectionFailedError(f"{url} does not speak the subprotocol {SUBPROTOCOL!r}")
    return _Socket(socket)


def _parameters(context: ClientCallContext | None) -> dict[str, str]:
    return (context and context.service_parameters) or {}


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    """Return headers by their names in lower case, so that none is sent in two spellings."""
    return {name.lower(): value for name, value in given.items()}


def _parsed(value: Any, answer: _P) -> _P:
    try:
        if not isinstance(value, dict):
            raise ParseError("it is no object")
        return ParseDict(cast("Object", value), answer, ignore_unknown_fields=True)
    except ParseError as error:
        raise A2AClientError(f"the agent's answer is not A2A: {error}") from None


def _problem(error: Error) -> A2AError:
    """Return the SDK's exception for an error, as its JSON-RPC transport has it."""
    kind = _ERRORS.get(error.code)
    if kind is None:
        return A2AClientError(f"{error.message} (code {error.code})")
    return kind(error.message, _metadata(error.data))


def _metadata(data: Any) -> Object | None:
    details = cast("list[Any]", data) if isinstance(data, list) else []
    found: list[Object] = [detail for detail in details if isinstance(detail, dict)]
    return next((detail["metadata"] for detail in found if detail.get("metadata")), None)


def _describe(closed: ConnectionClosed) -> str:
    received = closed.rcvd
    if received is None:
        return "the connection to the agent was lost"
    return f"the agent closed the connection: {received.code} {received.reason}".rstrip()
