"""`tools/call` over a pair of streams, in both eras, without the layers of the SDK's server.

The SDK's dispatcher reads, cancels and answers; what lies between costs as much
as a small spell. Every other method takes the SDK's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp.server.connection import Connection
from mcp_types import InitializeRequestParams
from mcp_types.methods import validate_client_request

from llmspell.endpoints.mcp.exchange import Client
from llmspell.endpoints.mcp.http.message import Message, is_object
from llmspell.endpoints.mcp.http.rules import Clients
from llmspell.endpoints.mcp.results import stamped
from llmspell.endpoints.mcp.sdk_exchange import Dispatch, SdkExchange, client_said
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.values import Object


class PipedCalls:
    """Serves the calls that come over one pair of streams."""

    def __init__(self, endpoint: McpEndpoint) -> None:
        self._endpoint = endpoint
        self._clients = Clients()
        self._stamp = endpoint.server.server_info_stamp
        self._said: InitializeRequestParams | None = None
        self._client = Client()

    async def serve(self, dispatch: Dispatch, params: Mapping[str, Any] | None) -> Object:
        """Return the result of a `tools/call` of 2026-07-28 whose envelope was checked.

        Raises:
            ValidationError: The params are not those of a `tools/call`.
            MCPError: See `McpEndpoint.call_tool`.
        """
        said = dict(params or {})
        meta = said.get("_meta")
        message = Message("request", {}, "", "tools/call", said, meta if is_object(meta) else {})
        client = self._clients.check_call(message)
        call = SdkExchange(dispatch, client, message.meta, is_modern=True)
        return stamped(await self._endpoint.call_tool(call, said), self._stamp)

    async def serve_initialized(
        self, dispatch: Dispatch, connection: Connection, params: Mapping[str, Any] | None
    ) -> Object:
        """Return the result of a `tools/call` on a connection that was initialized.

        Raises:
            ValidationError: The params are not those of a `tools/call`.
            MCPError: See `McpEndpoint.call_tool`.
        """
        said = dict(params or {})
        validate_client_request("tools/call", connection.protocol_version, said)
        meta = said.get("_meta")
        call = SdkExchange(
            dispatch,
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
