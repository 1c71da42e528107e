"""The HTTP server: every door on one port, behind one check of `Host` and `Origin`.

Routes and the life of the server, nothing of any protocol. Which process
listens, and until when, is the owner's concern: no signal is caught here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from llmspell import __version__
from llmspell.endpoints.a2a.dispatch import Dispatcher
from llmspell.endpoints.a2a.handler import TaskHandler
from llmspell.endpoints.a2a.routes import routes as a2a_routes
from llmspell.endpoints.auth.authenticator import Authenticator
from llmspell.endpoints.auth.bind import check_bind
from llmspell.endpoints.auth.documents import documents
from llmspell.endpoints.auth.gate import Gate
from llmspell.endpoints.auth.host_rule import HostRule
from llmspell.endpoints.connections import PatientProtocol, PatientServer
from llmspell.endpoints.limits import RateLimit
from llmspell.endpoints.mcp.http.by_bundle import BundleHttp
from llmspell.endpoints.mcp.http.door import HttpLimits, McpHttp
from llmspell.endpoints.mcp.http.request import HttpHeaders
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.patience import ConnectionLimits
from llmspell.endpoints.responses import error_response
from llmspell.endpoints.sockets import PatientSocket
from llmspell.errors import (
    ConfigError,
    InternalError,
    LlmspellError,
    OwnerStopping,
    UsageError,
)
from llmspell.host.interface import DoorHost

SECURITY_HEADERS = [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]
"""On every answer, of whichever door."""

# Both, because a redirect of a POST is one that clients do not follow.
_MCP_PATHS = frozenset({"/mcp", "/mcp/"})

DRAIN_SECONDS = 3.0
"""How long calls under way may go on when the server is closed."""


class _App(Starlette):
    """Starlette behind the check of `Host` and `Origin`, with a short way to MCP.

    Most requests are for MCP, and Starlette's layers and routes cost as much as a small spell.
    """

    def __init__(self, mcp: McpHttp, rule: HostRule, **options: Any) -> None:
        super().__init__(**options)
        self._mcp = mcp
        self._rule = rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 400, 421 or 403."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        headers = HttpHeaders(scope)
        refusal = _ambiguity(headers) or self._rule.refusal(headers)
        if refusal is not None:
            status, error = refusal
            if status == 421 and scope["type"] == "websocket":
                status = 403  # as the document of the A2A binding has it
            await error_response(error, status)(scope, receive, send)
        elif scope["path"] in _MCP_PATHS and scope["type"] == "http":
            try:
                await self._mcp.serve(scope, receive, send, headers)
            except Exception:  # as Starlette does it: answered, raised again, and logged by uvicorn
                with contextlib.suppress(RuntimeError):  # the response has begun
                    await _failure(scope["path"])(scope, receive, send)
                raise
        else:
            await super().__call__(scope, receive, send)


@dataclass
class Doors:
    """What an application is made of, for whoever runs it."""

    app: Starlette
    mcp: McpHttp
    bundles: BundleHttp
    a2a: Dispatcher
    ready: bool = False
    """Whether new work is taken; what `/readyz` answers."""

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let calls under way end for so long, then end every stream."""
        self.ready = False
        await asyncio.gather(*(door.drain(seconds) for door in (self.mcp, self.bundles, self.a2a)))


def build_doors(
    host: DoorHost,
    *,
    gate: Gate,
    rule: HostRule,
    default_skill: str = "",
    public_url: str = "",
    limits: HttpLimits | None = None,
    origins: Sequence[str] = (),
) -> Doors:
    """Return the application over an open host, with the handles to end it in order."""

    def http(endpoint: McpEndpoint, bundle: str = "") -> McpHttp:
        return McpHttp(endpoint, gate, host.records, bundle=bundle, limits=limits, origins=origins)

    endpoint = McpEndpoint(host)
    mcp = http(endpoint)
    bundles = BundleHttp(host, gate, http)
    a2a = Dispatcher(TaskHandler(host, default_skill=default_skill))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        try:
            async with mcp.running():
                doors.ready = True
                yield
        finally:
            doors.ready = False
            await bundles.close()
            await endpoint.close()

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def readyz(_: Request) -> Response:
        if doors.ready:
            return JSONResponse({"status": "ready"})
        return error_response(OwnerStopping("the server takes no new work"), 503)

    routes: list[BaseRoute] = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/mcp/{bundle}", bundles),
        Route("/mcp/{bundle}/", bundles),
        *documents(gate.auth.documents()),
        *a2a_routes(host, a2a, gate, public_url=public_url),
    ]
    app = _App(
        mcp,
        rule,
        routes=routes,
        exception_handlers={HTTPException: _refused, Exception: _failed},
        lifespan=lifespan,
    )
    doors = Doors(app, mcp, bundles, a2a)
    return doors


def build_app(
    host: DoorHost,
    *,
    auth: Authenticator,
    rule: HostRule | None = None,
    default_skill: str = "",
) -> Starlette:
    """Return the ASGI application over an open host.

    Args:
        auth: Who may call; `/healthz`, `/readyz` and the public cards need nobody.
        rule: Which `Host` and `Origin` are answered; loopback only when None.
        default_skill: The setting `a2a.default`: the spell of a message that names none.
    """
    rule = rule or HostRule()
    return build_doors(host, gate=Gate(auth), rule=rule, default_skill=default_skill).app


def _ambiguity(headers: HttpHeaders) -> tuple[int, LlmspellError] | None:
    """Return the HTTP status and error to refuse headers with that say two things, or None."""
    name = headers.ambiguous
    if not name:
        return None
    hint = "send it once; is there a proxy before this server that adds one?"
    return 400, UsageError(f"the header {name!r} appears more than once", hint=hint)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    if status == 405:
        problem = UsageError(
            f"{request.method} is not allowed on {request.url.path}",
            hint="the header Allow names what is",
        )
    else:
        problem = UsageError(
            f"there is nothing at {request.url.path}",
            hint="MCP is at /mcp, A2A at /a2a, the card at /.well-known/agent-card.json",
        )
    return error_response(problem, status, headers)


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises the error again once this is sent, and uvicorn logs it.
    return _failure(request.url.path)


def _failure(path: str) -> Response:
    return error_response(InternalError(f"{path} failed inside llmspell"), 500)


class HttpServer:
    """A server that listens. Made by `serve_http`."""

    def __init__(
        self,
        doors: Doors,
        server: PatientServer,
        task: asyncio.Task[None],
        address: tuple[str, int],
    ) -> None:
        self._doors = doors
        self._server = server
        self._task = task
        self.host, self.port = address
        """The address it is bound to; the port is the real one where 0 was asked for."""

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return url_of(self.host, self.port)

    async def wait(self) -> None:
        """Return once the server has ended.

        Raises:
            Exception: What it ended of, when nobody closed it.
        """
        await asyncio.shield(self._task)

    async def close(self) -> None:
        """Stop listening, let calls end for `DRAIN_SECONDS`, end what is left. Idempotent."""
        await self._doors.drain(DRAIN_SECONDS)
        self._server.should_exit = True
        await asyncio.wait([self._task])


async def serve_http(
    host: DoorHost,
    *,
    bind_host: str = "127.0.0.1",
    port: int = 7777,
    auth: Authenticator,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    default_skill: str = "",
    public_url: str = "",
    rate: RateLimit | None = None,
    limits: HttpLimits | None = None,
    connections: ConnectionLimits | None = None,
    listener: socket.socket | None = None,
) -> HttpServer:
    """Listen, and return once requests are answered.

    Args:
        port: 0 takes any free one.
        allowed_hosts: Host names answered besides loopback ones and `bind_host`.
        allowed_origins: Web origins that may call besides loopback ones, and read the answers.
        default_skill: The setting `a2a.default`: the spell of a message that names none.
        public_url: The setting of this name: what clients reach the server under.
        rate: How often each principal may ask; as the settings have it by default when None.
        limits: What each may hold open of MCP; as the settings have it by default when None.
        connections: What clients may keep open and waiting; as the settings have it when None.
        listener: What `listen` returned, in place of the port.

    Raises:
        ConfigError: The address cannot be bound, or auth is `none` where others can reach it.
    """
    check_bind(auth.mode, bind_host)
    listener = listener or listen(bind_host, port)
    public = [urlsplit(public_url).netloc] if public_url else []
    rule = HostRule(bind_host, [*allowed_hosts, *public], allowed_origins)
    doors = build_doors(
        host,
        gate=Gate(auth, rate),
        rule=rule,
        default_skill=default_skill,
        public_url=public_url,
        limits=limits,
        origins=allowed_origins,
    )
    server = PatientServer(
        uvicorn.Config(
            doors.app,
            http=PatientProtocol,
            ws=PatientSocket,
            ws_per_message_deflate=False,
            # Ours: uvicorn would end the process when the lifespan fails to start.
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=SECURITY_HEADERS,
            timeout_graceful_shutdown=1,
        ),
        connections or ConnectionLimits(),
    )

    async def run() -> None:
        async with doors.app.router.lifespan_context(doors.app):
            await server.serve([listener])

    task = asyncio.ensure_future(run())
    listening = asyncio.ensure_future(server.listening.wait())
    try:
        await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
    except BaseException:  # a cancelled start too must leave no socket behind
        task.cancel()
        listener.close()
        raise
    finally:
        listening.cancel()
    return HttpServer(doors, server, task, address_of(listener))


def listen(host: str, port: int) -> socket.socket:
    """Bind an address.

    Args:
        port: 0 takes any free one.

    Raises:
        ConfigError: It cannot be bound.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server((str(address[0]), port), family=family, backlog=2048)
    except OSError as error:
        # Of a failed bind, Python's text names the address once more.
        number = None if isinstance(error, socket.gaierror) else error.errno
        told = os.strerror(number) if number else error.strerror or error
        raise ConfigError(
            f"cannot listen on {host}:{port}: {told}",
            hint="is another server running there? choose a port with --port, or 0 for a free one",
        ) from None


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Return the address and the port that a socket is bound to."""
    address = listener.getsockname()
    return str(address[0]), int(address[1])


def url_of(host: str, port: int) -> str:
    """Return the URL of an address."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"
