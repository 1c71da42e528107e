"""MCP over Streamable HTTP, both protocol eras, as one ASGI application for `/mcp`.

The SDK's session manager does the protocol; around it stand what it leaves to
the server: the token, a clear 413, header values as RFC 9110 means them, and
an orderly end of the streams that clients hold open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from llmspell.endpoints.auth import Authenticator
from llmspell.endpoints.mcp.server import CALLER_SCOPE, McpEndpoint
from llmspell.endpoints.responses import error_response
from llmspell.errors import InputTooLarge, OwnerStopping

MAX_BODY = 4 << 20
"""Largest request body in bytes."""


class McpHttp:
    """The ASGI application. `Host` and `Origin` are checked before it, for the whole server.

    Args:
        endpoint: What is served. Its life is the caller's concern.
        auth: Who may call.
    """

    def __init__(self, endpoint: McpEndpoint, auth: Authenticator) -> None:
        self._endpoint = endpoint
        self._auth = auth
        self._manager = StreamableHTTPSessionManager(
            endpoint.server, max_request_body_size=MAX_BODY
        )
        self._draining = False
        self._ending = asyncio.Event()
        self._posts = 0
        self._idle = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Serve while the context is open, until `drain`. Can be entered once."""
        started = asyncio.Event()

        # A task group ends in the task that began it, and `drain` is called from another one.
        async def hold() -> None:
            async with self._manager.run():
                started.set()
                await self._ending.wait()

        holder = asyncio.ensure_future(hold())
        await started.wait()
        try:
            yield
        finally:
            self._ending.set()
            await holder

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let calls under way end for so long, then end every stream."""
        self._draining = True
        await self._endpoint.end_streams()
        self._idle.clear()
        if self._posts:
            try:
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass  # the time is up: what still runs is cancelled with its stream
        self._ending.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope)
        caller = self._auth.caller(headers, "mcp")
        if caller is None:
            error, challenge = self._auth.challenge(headers)
            await error_response(error, 401, challenge)(scope, receive, send)
            return
        if self._draining:
            error = OwnerStopping("the server is shutting down")
            await error_response(error, 503)(scope, receive, send)
            return
        inner = {**scope, "headers": _stripped(scope), CALLER_SCOPE: caller}
        if scope["method"] != "POST":
            await self._manager.handle_request(inner, receive, send)
            return
        self._posts += 1
        try:
            await self._manager.handle_request(inner, receive, _explaining(scope, receive, send))
        finally:
            self._posts -= 1
            if not self._posts:
                self._idle.set()


def _stripped(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return the headers without blanks around their values (RFC 9110 5.5).

    httptools passes trailing ones on, and the SDK compares values byte by byte.
    """
    return [(name, value.strip(b" \t")) for name, value in scope["headers"]]


def _explaining(scope: Scope, receive: Receive, send: Send) -> Send:
    """Return a `send` that puts our own answer in place of the SDK's bare 413."""
    refused = False

    async def explain(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start" and message["status"] == 413:
            refused = True
            error = InputTooLarge(f"the request is larger than {MAX_BODY} bytes")
            await error_response(error, 413)(scope, receive, send)
        elif not refused:
            await send(message)

    return explain
