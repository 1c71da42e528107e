"""MCP over HTTP for bundles: `/mcp/NAME` serves the spells of one, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from starlette.types import Receive, Scope, Send

from llmspell.endpoints.auth.gate import Gate
from llmspell.endpoints.mcp.bundles import bundles_of
from llmspell.endpoints.mcp.http.door import McpHttp
from llmspell.endpoints.mcp.http.request import HttpHeaders
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.responses import error_response
from llmspell.errors import AccessError, OwnerStopping, UsageError
from llmspell.host.interface import DoorHost


class BundleHttp:
    """The ASGI application. A bundle's own is made when the first request for it comes.

    Args:
        gate: Who may call, and how often.
        make: Returns the application over the endpoint of a bundle, by its name.
    """

    def __init__(
        self, host: DoorHost, gate: Gate, make: Callable[[McpEndpoint, str], McpHttp]
    ) -> None:
        self._host = host
        self._gate = gate
        self._make = make
        self._open: dict[str, McpHttp] = {}
        self._opening = asyncio.Lock()
        self._until_closed = AsyncExitStack()
        self._is_draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        name: str = scope["path_params"]["bundle"]
        names = bundles_of(self._host.catalogue(), self._host.project.settings.mcp.bundles)
        if name in names and not self._is_draining:
            http = self._open.get(name) or await self._opened(name)
            await http(scope, receive, send)
            return
        try:  # which bundles there are is told to nobody else
            await self._gate.admit(scope, HttpHeaders(scope), "mcp")
        except AccessError as error:
            await self._gate.refusal(error, "mcp")(scope, receive, send)
            return
        if self._is_draining:
            error = OwnerStopping("the server is shutting down")
            await error_response(error, 503)(scope, receive, send)
            return
        known = f"there are {', '.join(names)}" if names else "there is none: see [mcp.bundles]"
        problem = UsageError(f"there is no bundle {name!r}", hint=f"{known}; everything is at /mcp")
        await error_response(problem, 404)(scope, receive, send)

    async def _opened(self, name: str) -> McpHttp:
        async with self._opening:
            http = self._open.get(name)
            if http is None:
                endpoint = McpEndpoint(self._host, bundle=name)
                self._until_closed.push_async_callback(endpoint.close)
                http = self._make(endpoint, name)
                await self._until_closed.enter_async_context(http.running())
                self._open[name] = http
            return http

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let calls under way end for so long, then end every stream."""
        self._is_draining = True
        await asyncio.gather(*(http.drain(seconds) for http in self._open.values()))

    async def close(self) -> None:
        """End what was made. Closing twice is no error."""
        self._is_draining = True
        await self._until_closed.aclose()
