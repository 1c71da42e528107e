"""One request under way over HTTP: how it is answered, and what happens when its client leaves.

The answer is plain JSON as long as that can be. It becomes a stream with the
first notification, or when it takes long: then the stream carries pings until
the result is there. No task is made for a request that is answered at once.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias

import anyio
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, REQUEST_TIMEOUT
from pydantic import ValidationError
from starlette.requests import Request

from llmspell.endpoints.auth.admission import CLOSE_SECONDS
from llmspell.endpoints.auth.gate import Gate
from llmspell.endpoints.mcp.exchange import Client, NoBackChannel
from llmspell.endpoints.mcp.http.answers import (
    Head,
    RequestId,
    error_message,
    notification_message,
    result_message,
    send_json,
)
from llmspell.endpoints.mcp.http.request import HttpRequest
from llmspell.endpoints.mcp.http.sse import PING_SECONDS, EventStream, Reader
from llmspell.endpoints.mcp.sdk_exchange import CALLER_SCOPE
from llmspell.errors import AccessError
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object

WATCH_SECONDS = 0.1
"""How long a request runs before anything looks whether its client is still there."""

_log = logging.getLogger(__name__)

Ending: TypeAlias = Literal["cancelled", "left", "deleted", "shutdown", "outlived"]
"""Why a request ends without a result: its client cancelled it, has left, has ended the session,
the server ends, or the credential that its stream was opened with counts no more."""


class HttpCall(ABC):
    """A request under way: an `Exchange`, and the response to one POST.

    Made in the task that serves the request, which is cancelled when the request ends early.

    Args:
        make_stream: Returns the stream it is answered with when JSON won't do; None where the
            client takes no stream.
        head: Headers of the response.
    """

    is_modern: bool
    _reader: Reader
    key: str | None = None
    log_level: str | None = None
    _is_outlived = False
    _run_id = ""

    def __init__(
        self,
        request: HttpRequest,
        id: RequestId,
        *,
        caller: Caller,
        client: Client,
        meta: Object,
        make_stream: Callable[[], EventStream] | None,
        head: Head = (),
    ) -> None:
        self.id = id
        self.caller = caller
        self.client = client
        self.meta = meta
        self.was_cancelled = False
        self._make_stream = make_stream
        self._stream: EventStream | None = None
        self._request = request
        self._head = head
        self._ending: Ending | None = None
        self._has_left = False
        self._is_answering = False
        self._writer: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.current_task()

    @property
    def stream(self) -> EventStream | None:
        """What it is answered with when JSON won't do; None where the client takes no stream."""
        if self._stream is None and self._make_stream is not None:
            self._stream = self._make_stream()
        return self._stream

    @property
    def progress_token(self) -> JSON:
        """The token under which the client wants to hear of progress, or None."""
        token = self.meta.get("progressToken")
        return None if isinstance(token, bool) else token

    @property
    def can_request(self) -> bool:
        """Whether the client can be asked something while this request is under way."""
        return False

    @property
    def has_begun_stream(self) -> bool:
        """Whether the response is a stream already."""
        return self._writer is not None

    def began(self, run_id: str) -> None:
        """Note the run: a stream that begins after this names it in the ids of its events."""
        self._run_id = run_id

    async def notify(self, method: str, params: Object) -> None:
        """Send a notification on the stream of this request; where there is none, it is lost."""
        if self.stream is not None and not self.stream.has_ended:
            self.stream.add(notification_message(method, params), is_droppable=True)
            self._begin()

    async def request(self, method: str, params: Object) -> Object:
        """Refuse: nothing can be asked in this era.

        Raises:
            NoBackChannel: Always.
        """
        raise NoBackChannel

    def stop(self, ending: Ending) -> None:
        """End the request without a result. Only the first reason counts.

        One that is being answered is left to that, except when the server ends.
        """
        if self._is_answering:
            if ending == "shutdown" and self._writer is not None:
                self._writer.cancel()
        elif self._ending is None and self._task is not None:
            self._ending = ending
            self.was_cancelled = ending not in ("shutdown", "outlived")
            self._task.cancel()

    async def perform(self, work: Awaitable[Object], gate: Gate) -> None:
        """Wait for the result of the request and answer it.

        Args:
            gate: Refuses what its caller may not do, and ends a stream that outlives its right.
        """
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WATCH_SECONDS, self._watch, gate)
        refused: AccessError | None = None
        message, status = b"", 200
        try:
            message = result_message(self.id, await work)
        except asyncio.CancelledError:
            if self._ending is None:
                raise
        except AccessError as error:
            refused = error
        except Exception as error:
            # The edge of the product: whatever it is, the client gets an answer, and no secrets.
            code, text, data = self._told(error)
            message, status = error_message(self.id, code, text, data), self._status(code)
            if isinstance(error.__cause__, AccessError):
                refused = error.__cause__  # came through the SDK, which knows no such error
        finally:
            self._unwatch()
            self._is_answering = True
        if self._ending is not None:
            if self._task is not None:
                self._task.uncancel()
            await self._unanswered(self._ending)
        elif refused is not None and not self.has_begun_stream:
            request = self._request
            await gate.refusal(refused, "mcp")(request.scope, request.receive, request.send)
        elif refused is not None:
            told = error_message(self.id, INVALID_REQUEST, refused.message, refused.to_value())
            await self._answer(200, told)
        else:
            await self._answer(status, message)

    @abstractmethod
    def _client_left(self) -> None:
        """Called once when the connection of the request is lost while it is under way."""

    @abstractmethod
    def _stream_outlived(self, reader: Reader) -> None:
        """Called once when the credential of the stream that this connection reads has ended."""

    @abstractmethod
    async def _unanswered(self, ending: Ending) -> None:
        """End the response of a request that has no result."""

    @abstractmethod
    def _status(self, code: int) -> int:
        """Return the HTTP status of a JSON-RPC error."""

    def _is_primed(self) -> bool:
        """Return whether the stream begins soon, and with an event that only has an id."""
        return False

    async def _answer(self, status: int, message: bytes) -> None:
        """Send the one answer: on the stream, when it has begun."""
        if self.has_begun_stream and self.stream is not None:
            self.stream.add(message)
            await self._end_stream()
        elif not self._has_left:
            await send_json(self._request.send, status, message, self._head)

    async def _end_stream(self) -> None:
        """Let the stream end and wait until the connection of this request has all of it."""
        if self.stream is not None:
            self.stream.end()
        if self._writer is not None:
            try:
                await asyncio.wait([self._writer])
            finally:
                self._writer.cancel()

    def _begin(self) -> None:
        """Begin the stream, unless it has or can't."""
        if self._writer is None and self.stream is not None and not self._has_left:
            self._reader = Reader()
            self._writer = asyncio.ensure_future(
                self.stream.write(
                    self._request.send,
                    self._head,
                    is_primed=self._is_primed(),
                    reader=self._reader,
                )
            )
            self._writer.add_done_callback(_written)
            if self._is_outlived:
                self._outlive()

    def _outlive(self) -> None:
        """End the stream: its credential counts no more. One that begins later ends at once.

        A request that is none is answered all the same: it was let in, and is answered once.
        """
        self._is_outlived = True
        if self._writer is not None:
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._writer.cancel)
            self._stream_outlived(self._reader)

    def _watch(self, gate: Gate) -> None:
        """Begin to look whether the client is still there, and may still be told."""
        if self._is_primed():
            self._begin()
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PING_SECONDS - WATCH_SECONDS, self._begin)
        self._watcher = asyncio.ensure_future(self._attend())
        held = gate.hold(self._request.headers, "mcp", self._outlive)
        self._watcher.add_done_callback(lambda _: held.release())

    async def _attend(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        if self._writer is not None:
            self._writer.cancel()
        self._client_left()

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _told(self, error: Exception) -> tuple[int, str, JSON]:
        """Return an exception as code, message and data of a JSON-RPC error."""
        if isinstance(error, MCPError):
            return error.error.code, error.error.message, error.error.data
        if isinstance(error, ValidationError):
            return INVALID_PARAMS, "Invalid request parameters", ""
        _log.error("a request failed inside llmspell", exc_info=error)
        return INTERNAL_ERROR, "Internal error", None


def _written(writer: asyncio.Task[None]) -> None:
    if not writer.cancelled() and (error := writer.exception()) is not None:
        _log.error("a stream could not be written", exc_info=error)


class SdkDispatch:
    """A call as the SDK's server wants it: its `DispatchContext`."""

    def __init__(self, call: HttpCall, request: HttpRequest) -> None:
        self._call = call
        self.transport = transport_of(request, can_send_request=call.can_request)
        self.message_metadata = metadata_of(request)
        self.cancel_requested = anyio.Event()

    @property
    def request_id(self) -> RequestId:
        """The id of the request."""
        return self._call.id

    @property
    def can_send_request(self) -> bool:
        """Whether the client can be asked something now."""
        return self._call.can_request

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client something; see `Exchange.request`."""
        try:
            async with asyncio.timeout((opts or {}).get("timeout")):
                return await self._call.request(method, dict(params or {}))
        except TimeoutError:
            raise MCPError(REQUEST_TIMEOUT, f"Request {method!r} timed out") from None
        except NoBackChannel:
            raise NoBackChannelError(method) from None

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Send a notification that belongs to the request."""
        await self._call.notify(method, dict(params or {}))

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Report progress, if the client wants to hear of it."""
        if self._call.progress_token is not None:
            params = {"progressToken": self._call.progress_token, "progress": progress}
            more = {"total": total, "message": message}
            params |= {key: value for key, value in more.items() if value is not None}
            await self._call.notify("notifications/progress", params)


def transport_of(request: HttpRequest, *, can_send_request: bool) -> TransportContext:
    """Return what the SDK's handlers may know of the transport."""
    return TransportContext(
        kind="streamable-http", can_send_request=can_send_request, headers=request.headers
    )


def metadata_of(request: HttpRequest) -> ServerMessageMetadata:
    """Return what the SDK hands to its handlers as the request, with the caller in its scope."""
    scope = {
        **request.scope,
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in request.headers.items()],
        CALLER_SCOPE: request.caller,
    }
    return ServerMessageMetadata(request_context=Request(scope))
