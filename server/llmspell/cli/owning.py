"""An owner put together: the host, the doors it opens, and what the control socket can ask of it.

This is the only place that knows owner and endpoints both, so it stands above
either. The libraries of a wire are loaded when it is first spoken: they take
longer than everything else a start does, and most commands need none of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import uvloop

from llmspell import __version__
from llmspell.authoring.cell.cell import Cells
from llmspell.config import Project, ServerSettings
from llmspell.endpoints.auth import Authenticator, ensure_token, token_path
from llmspell.errors import OwnerError, UsageError
from llmspell.host.host import Host
from llmspell.host.lock import OwnerLock
from llmspell.host.owner import Owner
from llmspell.values import JSON, Object

if TYPE_CHECKING:
    from llmspell.endpoints.app import HttpServer
    from llmspell.endpoints.mcp.server import McpEndpoint

TAKE_SECONDS = 5.0
"""How long an owner that is about to end is waited for."""

_T = TypeVar("_T")


def run_loop(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a server's coroutine on the event loop servers use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class McpDoor:
    """MCP on the owner's connections."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._endpoint: McpEndpoint | None = None

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: the role `mcp`."""
        from llmspell.endpoints.mcp.server import McpEndpoint
        from llmspell.endpoints.mcp.stdio import serve_stream

        if self._endpoint is None:
            self._endpoint = McpEndpoint(self._host)
        await serve_stream(reader, writer, self._endpoint)

    async def close(self) -> None:
        """Release what the connections shared."""
        if self._endpoint is not None:
            await self._endpoint.close()


class HttpDoor:
    """The HTTP server of an owner: open or not, and opened by whom."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._server: HttpServer | None = None
        self._auth = ""
        self._changing = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def describe(self) -> Object | None:
        """Return the addresses, or None when it is closed. Holds no token."""
        if self._server is None:
            return None
        url = self._server.url
        token = str(token_path(self._host.project.state)) if self._auth == "token" else None
        return {
            "url": url,
            "mcp": f"{url}/mcp",
            "a2a": f"{url}/a2a",
            "websocket": f"ws{url.removeprefix('http')}/a2a/ws",
            "card": f"{url}/.well-known/agent-card.json",
            "auth": self._auth,
            "token_file": token,
        }

    async def open(self, settings: ServerSettings) -> HttpServer:
        """Listen.

        Raises:
            OwnerError: It is open already.
            ConfigError: The address can't be bound, or auth is `none` where others can reach it.
        """
        from llmspell.endpoints.app import serve_http

        async with self._changing:
            if self._server is not None:
                raise OwnerError(
                    f"this owner serves HTTP already, at {self._server.url}",
                    hint="use that, or end the 'llmspell serve' that opened it",
                )
            state = self._host.project.state
            token = ensure_token(state) if settings.auth == "token" else ""
            self._server = await serve_http(
                self._host,
                bind_host=settings.host,
                port=settings.port,
                auth=Authenticator(settings.auth, token),
                allowed_hosts=settings.allowed_hosts,
                allowed_origins=settings.allowed_origins,
                default_skill=self._host.project.settings.a2a.default,
            )
            self._auth = settings.auth
            return self._server

    async def close(self, server: HttpServer | None = None) -> None:
        """Stop listening; with `server`, only if it is the one that listens. Idempotent."""
        async with self._changing:
            if self._server is None or (server is not None and server is not self._server):
                return
            server, self._server = self._server, None
            await server.close()

    async def open_method(self, params: Object, until: AsyncExitStack) -> JSON:
        """`http.open`: params are those of `[server]`; closed when the connection ends."""
        try:
            settings = ServerSettings.model_validate(params)
        except ValueError as error:
            raise UsageError(f"http.open: {error}", hint="") from None
        server = await self.open(settings)
        until.push_async_callback(self.close, server)
        return self.describe()

    async def close_method(self, _: Object, __: AsyncExitStack) -> JSON:
        """`http.close`."""
        await self.close()
        return None

    async def info_method(self, _: Object, __: AsyncExitStack) -> JSON:
        """`http.info`."""
        return self.describe()


@asynccontextmanager
async def owning(
    project: Project, *, idle_seconds: float | None = None
) -> AsyncGenerator[tuple[Owner, HttpDoor]]:
    """Own a project's state directory until the context ends; its `serve` opens the socket.

    Args:
        idle_seconds: End `serve` after this long without anybody; None = never.

    Raises:
        StateOwned: Another process owns it.
        LlmspellError: Whatever `Host.open` fails with.
    """
    lock = await OwnerLock.take_soon(project.state, seconds=TAKE_SECONDS)
    try:
        async with Host.open(project) as host:
            mcp = McpDoor(host)
            http = HttpDoor(host)
            owner = Owner(
                host, project.state, environ=project.environment, idle_seconds=idle_seconds
            )

            async def info(_: Object, __: AsyncExitStack) -> JSON:
                return {
                    "version": __version__,
                    "pid": os.getpid(),
                    "http": http.describe(),
                    "spells": len(host.catalogue().spells),
                    "problems": msgspec.to_builtins(host.catalogue().problems),
                }

            async def needed() -> bool:
                return http.is_open or host.busy

            owner.roles["mcp"] = mcp.speak
            owner.methods["info"] = info
            owner.methods["cell.evaluate"] = Cells(host).evaluate
            owner.methods["http.open"] = http.open_method
            owner.methods["http.close"] = http.close_method
            owner.methods["http.info"] = http.info_method
            owner.reasons_to_stay.append(needed)
            try:
                yield owner, http
            finally:
                await http.close()
                await mcp.close()
    finally:
        lock.release()
