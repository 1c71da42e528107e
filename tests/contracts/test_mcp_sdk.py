"""What the adapter takes from the MCP SDK beyond its public names: held here, seen at once."""

from __future__ import annotations

from typing import Any

import anyio
from mcp.client.client import Client
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import ListToolsResult, PaginatedRequestParams

from llmspell.endpoints.mcp.changes import connection_of

Context = ServerRequestContext[Any, Any]


async def test_a_request_leads_to_its_connection_which_lives_as_long_as_the_client() -> None:
    met: list[Connection] = []

    async def tools(context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        met.append(connection_of(context))
        return ListToolsResult(tools=[])

    server: Server[Any] = Server("probe", on_list_tools=tools)
    with anyio.fail_after(10):
        async with Client(server, mode="legacy") as client:
            await client.list_tools()
            await client.list_tools()
    first, second = met
    assert isinstance(first, Connection)
    assert first is second
    assert first.initialized.is_set()


def test_the_sdks_span_is_the_only_middleware_the_adapter_removes() -> None:
    server: Server[Any] = Server("probe")
    assert [type(middleware).__name__ for middleware in server.middleware] == [
        "OpenTelemetryMiddleware"
    ]
