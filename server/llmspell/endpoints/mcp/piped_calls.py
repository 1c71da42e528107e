"""`tools/call` over a pair of streams, in both eras, without the layers of the SDK's server.

The SDK's dispatcher reads, cancels and answers; what lies between costs as much
as a small spell. Every other method takes the SDK's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.connection import Connection
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import LOG_LEVEL_META_KEY, InitializeRequestParams
from mcp_types.methods import validate_client_request

from llmspell.endpoints.mcp.exchange import Client, NoBackChannel
from llmspell.endpoints.mcp.http.message import Message, is_object
from llmspell.endpoints.mcp.http.rules import Clients
from llmspell.endpoints.mcp.results import stamped
from llmspell.endpoints.mcp.sdk_exchange import caller_at, client_said
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.mcp.streams import Piped
from llmspell.values import JSON, Object

Context = DispatchContext[TransportContext]


class PipedCall:
    """One call: an `Exchange`.

    Args:
        context: What the dispatcher knows of it.
        level: The log level that the client of the connection has set, before 2026-07-28.
    """

    def __init__(
        self,
        context: Context,
        client: Client,
        meta: Object,
        *,
        is_modern: bool,
        level: str | None = None,
    ) -> None:
        self._context = context
        self._piped = _piped(context)
        self.is_modern = is_modern
        self.client = client
        self.meta = meta
        self.caller = caller_at(self._piped.caller, client, meta, None)
        asked = meta.get(LOG_LEVEL_META_KEY)
        own = asked if isinstance(asked, str) else None
        self.log_level = own if is_modern else level

    @property
    def progress_token(self) -> JSON:
        """The token under which the client wants to hear of progress, or None."""
        return self.meta.get("progressToken")

    @property
    def key(self) -> str | None:
        """The idempotency key of a request that a bridge asks, or None."""
        return self._piped.key(self._context.request_id)

    @property
    def was_cancelled(self) -> bool:
        """Whether the client has cancelled the request, as opposed to lost its connection."""
        return self._piped.take_cancelled(self._context.request_id)

    async def notify(self, method: str, params: Object) -> None:
        """Send a notification that belongs to this request."""
        await self._context.notify(method, params)

    async def request(self, method: str, params: Object) -> Object:
        """Ask the client something and return its result.

        Raises:
            NoBackChannel: There is no way, or the client has left.
            MCPError: The client answered with an error.
        """
        if self.is_modern or not self._context.can_send_request:
            raise NoBackChannel
        try:
            return await self._context.send_raw_request(method, params)
        except NoBackChannelError as error:
            raise NoBackChannel from error


class PipedCalls:
    """Serves the calls that come over one pair of streams."""

    def __init__(self, endpoint: McpEndpoint) -> None:
        self._endpoint = endpoint
        self._clients = Clients()
        self._stamp = endpoint.server.server_info_stamp
        self._said: InitializeRequestParams | None = None
        self._client = Client()

    async def serve(self, context: Context, params: Mapping[str, Any] | None) -> Object:
        """Return the result of a `tools/call` of 2026-07-28 whose envelope was checked.

        Raises:
            ValidationError: The params are not those of a `tools/call`.
            MCPError: See `McpEndpoint.call_tool`.
        """
        said = dict(params or {})
        meta = said.get("_meta")
        message = Message("request", {}, "", "tools/call", said, meta if is_object(meta) else {})
        client = self._clients.check_call(message)
        call = PipedCall(context, client, message.meta, is_modern=True)
        return stamped(await self._endpoint.call_tool(call, said), self._stamp)

    async def serve_initialized(
        self, context: Context, connection: Connection, params: Mapping[str, Any] | None
    ) -> Object:
        """Return the result of a `tools/call` on a connection that was initialized.

        Raises:
            ValidationError: The params are not those of a `tools/call`.
            MCPError: See `McpEndpoint.call_tool`.
        """
        said = dict(params or {})
        validate_client_request("tools/call", connection.protocol_version, said)
        meta = said.get("_meta")
        call = PipedCall(
            context,
            self._initialized_as(connection),
            meta if is_object(meta) else {},
            is_modern=False,
            level=self._endpoint.log_levels.get(connection),
        )
        return await self._endpoint.call_tool(call, said)

    def _initialized_as(self, connection: Connection) -> Client:
        said = connection.client_params
        if said is not None and said is not self._said:
            self._said = said
            self._client = client_said(said.client_info, said.capabilities)
        return self._client


def _piped(context: Context) -> Piped:
    metadata = context.message_metadata
    carried = metadata.request_context if isinstance(metadata, ServerMessageMetadata) else None
    if not isinstance(carried, Piped):
        raise TypeError(f"a request without a caller: {type(carried).__name__}")
    return carried
