"""The POST of 2026-07-28: one request in, one answer out, no session.

`tools/call` goes straight to the endpoint, every other method to the SDK's
server.
"""

from __future__ import annotations

from mcp.server.connection import Connection
from mcp.server.runner import serve_one
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from pydantic import ValidationError

from llmspell.endpoints.auth.admission import outlived
from llmspell.endpoints.mcp.http.answers import (
    RequestId,
    error_message,
    send_json,
    send_status,
    status_of,
)
from llmspell.endpoints.mcp.http.call import Ending, HttpCall, SdkDispatch
from llmspell.endpoints.mcp.http.message import Message
from llmspell.endpoints.mcp.http.request import HttpRequest
from llmspell.endpoints.mcp.http.rules import Clients, ParamHeaders, check_envelope, check_version
from llmspell.endpoints.mcp.http.sse import EventStream, Reader
from llmspell.endpoints.mcp.results import stamped
from llmspell.endpoints.mcp.sdk_exchange import caller_at
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.values import Object


class ModernCall(HttpCall):
    """A request of 2026-07-28. A lost connection cancels it: so the protocol says."""

    is_modern = True

    def _client_left(self) -> None:
        self.stop("left")

    def _status(self, code: int) -> int:
        return status_of(code)

    def _stream_outlived(self, reader: Reader) -> None:
        self.stop("outlived")

    async def _unanswered(self, ending: Ending) -> None:
        if ending == "outlived":
            error = outlived()
            told = error_message(self.id, INVALID_REQUEST, error.message, error.to_value())
            await self._answer(200, told)
        elif ending == "shutdown":
            await self._answer(
                503, error_message(self.id, INTERNAL_ERROR, "the server is shutting down")
            )


class ModernHttp:
    """Serves what is posted in the modern era."""

    def __init__(self, endpoint: McpEndpoint) -> None:
        self._endpoint = endpoint
        self._clients = Clients()
        self._params = ParamHeaders(endpoint.input_schema)
        self._stamp = endpoint.server.server_info_stamp

    async def notification(self, request: HttpRequest) -> None:
        """Acknowledge a notification: over HTTP this era has none that a server would heed."""
        try:
            check_version(request.headers)
        except MCPError as error:
            await _reject(request, None, error)
        else:
            await send_status(request.send, 202)

    async def call(self, request: HttpRequest, message: Message) -> ModernCall | None:
        """Return a request as a call, or None when it was refused and answered."""
        try:
            check_envelope(request.headers, message)
            meta = message.meta
            if message.method == "tools/call":
                client = self._clients.check_call(message)
                self._params.check(message, request.headers)
            else:
                client = self._clients.of(meta)
            call = ModernCall(
                request,
                message.id,
                caller=caller_at(request.caller, client, meta, None),
                client=client,
                meta=meta,
                make_stream=EventStream if request.accepts_stream else None,
            )
        except MCPError as error:
            await _reject(request, message.id, error)
            return None
        except ValidationError:
            await _reject(
                request, message.id, MCPError(INVALID_PARAMS, "Invalid request parameters", "")
            )
            return None
        call.log_level = meta.get(LOG_LEVEL_META_KEY)
        return call

    async def work(self, call: ModernCall, request: HttpRequest, message: Message) -> Object:
        """Return the result of a request."""
        if message.method == "tools/call":
            return stamped(await self._endpoint.call_tool(call, message.params or {}), self._stamp)
        meta = message.meta
        connection = Connection.from_envelope(
            meta[PROTOCOL_VERSION_META_KEY],
            meta.get(CLIENT_INFO_META_KEY),
            meta[CLIENT_CAPABILITIES_META_KEY],
        )
        return await serve_one(
            self._endpoint.server,
            SdkDispatch(call, request),
            message.method,
            message.params,
            connection=connection,
            lifespan_state={},
        )


async def _reject(request: HttpRequest, id: RequestId | None, error: MCPError) -> None:
    message = error_message(id, error.code, error.message, error.data)
    await send_json(request.send, status_of(error.code), message)
