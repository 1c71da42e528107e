"""`tools/call` of 2026-07-28 over a pair of streams, without the layers of the SDK's server.

The SDK's dispatcher reads, cancels and answers; what lies between costs as much
as a small spell. Every other method, and the older protocol, take the SDK's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.shared.dispatcher import DispatchContext
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import LOG_LEVEL_META_KEY

from llmspell.endpoints.mcp.exchange import Client, NoBackChannel
from llmspell.endpoints.mcp.http.message import Message, is_object
from llmspell.endpoints.mcp.http.rules import Clients
from llmspell.endpoints.mcp.results import stamped
from llmspell.endpoints.mcp.sdk_exchange import caller_at
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.mcp.streams import Piped
from llmspell.values import JSON, Object

Context = DispatchContext[TransportContext]


class PipedCall:
    """One call: an `Exchange`.

    Args:
        context: What the dispatcher knows of it.
        piped: Who is at the other end.
    """

    is_modern = True

    def __init__(self, context: Context, piped: Piped, client: Client, meta: Object) -> None:
        self._context = context
        self._piped = piped
        self.client = client
        self.meta = meta
        self.caller = caller_at(piped.caller, client, meta, None)
        level = meta.get(LOG_LEVEL_META_KEY)
        self.log_level = level if isinstance(level, str) else None

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
        """Refuse: nothing can be asked in this era.

        Raises:
            NoBackChannel: Always.
        """
        raise NoBackChannel


class PipedCalls:
    """Serves the calls that come over one pair of streams."""

    def __init__(self, endpoint: McpEndpoint) -> None:
        self._endpoint = endpoint
        self._clients = Clients()
        self._stamp = endpoint.server.server_info_stamp

    async def serve(self, context: Context, params: Mapping[str, Any] | None) -> Object:
        """Return the result of a `tools/call` whose envelope was checked.

        Raises:
            ValidationError: The params are not those of a `tools/call`.
            MCPError: See `McpEndpoint.call_tool`.
        """
        said = dict(params or {})
        meta = said.get("_meta")
        message = Message("request", {}, "", "tools/call", said, meta if is_object(meta) else {})
        client = self._clients.check_call(message)
        call = PipedCall(context, _piped(context), client, message.meta)
        return stamped(await self._endpoint.call_tool(call, said), self._stamp)


def _piped(context: Context) -> Piped:
    metadata = context.message_metadata
    carried = metadata.request_context if isinstance(metadata, ServerMessageMetadata) else None
    if not isinstance(carried, Piped):
        raise TypeError(f"a request without a caller: {type(carried).__name__}")
    return carried
