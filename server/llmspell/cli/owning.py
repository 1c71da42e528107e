"""An owner put together: the host, the doors it opens, and what the control socket can ask of it.

This is the only place that knows owner and endpoints both, so it stands above
either. The libraries of a wire are loaded when it is first spoken: they take
longer than everything else a start does, and most commands need none of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import uvloop

from llmspell import __version__
from llmspell.authoring.cell.cell import Cells
from llmspell.bridge.catalogue import write_catalogue
from llmspell.bridge.hello import STOPPED
from llmspell.config import Project, ServerSettings
from llmspell.endpoints.auth.bind import clear_text_warning
from llmspell.endpoints.auth.token import token_path
from llmspell.errors import OwnerError, OwnerUnreachable, UsageError
from llmspell.host.garbage import collect_seldom
from llmspell.host.host import Host
from llmspell.host.listening import Listener
from llmspell.host.lock import OwnerLock
from llmspell.host.owner import Hello, Owner
from llmspell.values import JSON, Object

if TYPE_CHECKING:
    from llmspell.endpoints.app import HttpServer
    from llmspell.endpoints.mcp.server import McpEndpoint

TAKE_SECONDS = 5.0
"""How long an owner that is about to end is waited for."""

KEEP_SECONDS = 0.5
"""How long after a change the answers for bridges are written."""

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


def run_loop(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a server's coroutine on the event loop servers use."""
    collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


class McpDoor:
    """MCP on the owner's connections, and what bridges keep of it for the next start."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._endpoints: dict[str, McpEndpoint] = {}
        """By bundle, "" = everything; each made when the first client asks for it."""
        self._detach: Callable[[], None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def speak(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello
    ) -> None:
        """Serve one connection: the role `mcp`."""
        from llmspell.endpoints.mcp.stdio import serve_stream

        endpoint = self._open(hello.bundle)
        await serve_stream(reader, writer, endpoint, bridge=hello.bridge)

    def _open(self, bundle: str) -> McpEndpoint:
        from llmspell.endpoints.mcp.server import McpEndpoint

        if self._detach is None:
            self._detach = self._host.on_change(lambda _: self._keep_answers())
        endpoint = self._endpoints.get(bundle)
        if endpoint is None:
            endpoint = self._endpoints[bundle] = McpEndpoint(self._host, bundle=bundle)
            self._keep_answers()
        return endpoint

    def _keep_answers(self) -> None:
        """Write what a client is answered first, in a moment, so that changes in a row are one."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._write_answers())

    async def _write_answers(self) -> None:
        from llmspell.endpoints.mcp.bundles import bundles_of
        from llmspell.endpoints.mcp.opening import opening_answers

        await asyncio.sleep(KEEP_SECONDS)
        project = self._host.project
        # Of those that are none nothing is kept: anybody may ask for one.
        known = bundles_of(self._host.catalogue(), project.settings.mcp.bundles)
        try:
            for bundle, endpoint in list(self._endpoints.items()):
                if not bundle or bundle in known:
                    write_catalogue(project.state, await opening_answers(endpoint), bundle)
        except (OSError, TimeoutError) as error:
            # Only a start that is slow misses it.
            _log.warning("the answers for bridges could not be kept: %s", error)

    async def close(self) -> None:
        """Release what the connections shared."""
        if self._detach is not None:
            self._detach()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        for endpoint in self._endpoints.values():
            await endpoint.close()


class HttpDoor:
    """The HTTP server of an owner: open or not, and opened by whom."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._server: HttpServer | None = None
        self._settings = ServerSettings()
        self._changing = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def describe(self) -> Object | None:
        """Return the addresses, or None when it is closed. Holds no token."""
        if self._server is None:
            return None
        url, auth = self._server.url, self._settings.auth
        token = str(token_path(self._host.project.state)) if auth == "token" else None
        return {
            "url": url,
            "mcp": f"{url}/mcp",
            "a2a": f"{url}/a2a",
            "websocket": f"ws{url.removeprefix('http')}/a2a/ws",
            "card": f"{url}/.well-known/agent-card.json",
            "auth": auth,
            "issuer": self._settings.oauth.issuer if auth == "oauth" else None,
            "token_file": token,
            "warning": clear_text_warning(self._settings.host, self._settings.public_url),
        }

    async def open(self, settings: ServerSettings) -> HttpServer:
        """Listen.

        Raises:
            OwnerError: It is open already.
            ConfigError: The address can't be bound, or auth is `none` where others can reach it.
        """
        async with self._changing:
            if self._server is not None:
                raise OwnerError(
                    f"this owner serves HTTP already, at {self._server.url}",
                    hint="use that, or end the 'llmspell serve' that opened it",
                )
            self._server = await self._serve(settings)
            self._settings = settings
            return self._server

    async def _serve(self, settings: ServerSettings) -> HttpServer:
        from llmspell.endpoints.app import address_of, listen, serve_http, url_of
        from llmspell.endpoints.auth.making import make_authenticator
        from llmspell.endpoints.connections import allow_descriptors
        from llmspell.endpoints.limits import RateLimit
        from llmspell.endpoints.mcp.http.door import HttpLimits
        from llmspell.endpoints.patience import ConnectionLimits

        project, clock = self._host.project, self._host.services.clock
        connections = ConnectionLimits(
            connections=settings.connections, request_within=settings.request_within
        )
        allow_descriptors(connections)
        listener = listen(settings.host, settings.port)
        try:
            return await serve_http(
                self._host,
                bind_host=settings.host,
                listener=listener,
                auth=await make_authenticator(
                    settings,
                    base_url=settings.public_url or url_of(*address_of(listener)),
                    state=project.state,
                    keys=self._host.api_keys,
                    clock=clock,
                ),
                allowed_hosts=settings.allowed_hosts,
                allowed_origins=settings.allowed_origins,
                default_skill=project.settings.a2a.default,
                public_url=settings.public_url,
                rate=RateLimit(settings.requests_per_minute, clock),
                limits=HttpLimits(
                    sessions=settings.sessions,
                    session_idle=settings.session_idle,
                    streams=settings.streams,
                    resume_within=settings.resume_within,
                ),
                connections=connections,
            )
        except BaseException:  # a cancelled start too must leave no socket behind
            listener.close()
            raise

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
    project: Project, *, idle_seconds: float | None = None, keeper: int | None = None
) -> AsyncGenerator[tuple[Owner, HttpDoor]]:
    """Own a project's state directory until the context ends; its `serve` answers the socket.

    Args:
        idle_seconds: End `serve` after this long without anybody; None = never.
        keeper: The process that puts another owner in this one's place when it is killed.

    Raises:
        StateOwned: Another process owns it.
        OwnerUnreachable: The state directory can't be made or locked.
        LlmspellError: Whatever `Host.open` fails with.
    """
    try:
        lock = await OwnerLock.take_soon(project.state, seconds=TAKE_SECONDS, keeper=keeper)
    except OSError as error:
        raise OwnerUnreachable(
            f"the state directory {str(project.state)!r} can't be used: {error.strerror}",
            hint="choose another with --state DIR",
        ) from None
    began = time.monotonic()
    try:
        # Bound before the database is opened, which takes longest: clients wait at it meanwhile.
        listener = Listener(project.state, project.environment)
        try:
            async with Host.open(project, lock=lock) as host:
                mcp = McpDoor(host)
                http = HttpDoor(host)
                owner = Owner(host, listener, idle_seconds=idle_seconds, is_kept=keeper is not None)

                async def info(_: Object, __: AsyncExitStack) -> JSON:
                    return {
                        "version": __version__,
                        "pid": os.getpid(),
                        "uptime_seconds": round(time.monotonic() - began, 3),
                        "http": http.describe(),
                        "spells": len(host.catalogue().spells),
                        "problems": msgspec.to_builtins(host.catalogue().problems),
                    }

                async def needed() -> bool:
                    return http.is_open or host.busy or host.due_within(idle_seconds or 0.0)

                owner.roles["mcp"] = mcp.speak
                owner.farewells["mcp"] = STOPPED + b"\n"
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
            listener.close()
    finally:
        lock.release()
