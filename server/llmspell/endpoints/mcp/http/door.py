"""MCP over Streamable HTTP, both protocol eras, as one ASGI application.

The transport is ours; the protocol is the SDK's server. Here is what both eras
have in common: who is let in, what is no message at all, which era a message
is of, and an orderly end with calls under way and streams open.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import PARSE_ERROR
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import Receive, Scope, Send

from llmspell.endpoints.auth.gate import Gate
from llmspell.endpoints.mcp.http.answers import send_status
from llmspell.endpoints.mcp.http.call import HttpCall
from llmspell.endpoints.mcp.http.cors import Cors
from llmspell.endpoints.mcp.http.legacy import (
    RESUME_WITHIN,
    LegacyHttp,
    described,
    owner_of,
    refuse,
)
from llmspell.endpoints.mcp.http.message import Message, id_of, read_message
from llmspell.endpoints.mcp.http.modern import ModernHttp
from llmspell.endpoints.mcp.http.request import (
    MAX_BODY,
    Departed,
    HttpHeaders,
    HttpRequest,
    NotJson,
)
from llmspell.endpoints.mcp.http.rules import is_modern
from llmspell.endpoints.mcp.http.session import Owner, Session
from llmspell.endpoints.mcp.http.sessions import IDLE_SECONDS, SESSIONS, Sessions
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.responses import error_response
from llmspell.errors import AccessError, AccessRateLimited, InputTooLarge, OwnerStopping
from llmspell.host.door_records import DoorRecords
from llmspell.values import Object

__all__ = ["MAX_BODY", "STREAMS", "HttpLimits", "McpHttp"]

STREAMS = 1000
"""Streams that one principal may hold open, unless the settings say otherwise."""

_LISTEN = "subscriptions/listen"
_HANDSHAKE = frozenset(HANDSHAKE_PROTOCOL_VERSIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one client may have here, and how long, in the words of `[server]`."""

    sessions: int = SESSIONS
    session_idle: float = IDLE_SECONDS
    streams: int = STREAMS
    resume_within: float = RESUME_WITHIN


class McpHttp:
    """The ASGI application. `Host` and `Origin` are checked before it, for the whole server.

    Args:
        endpoint: What is served. Its life is the caller's concern.
        gate: Who may call, and how often.
        records: Where sessions survive the process.
        bundle: The bundle that the endpoint serves; "" = everything.
        origins: Web origins whose pages may read the answers.
    """

    def __init__(
        self,
        endpoint: McpEndpoint,
        gate: Gate,
        records: DoorRecords,
        *,
        bundle: str = "",
        limits: HttpLimits | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        self._endpoint = endpoint
        self._gate = gate
        self._limits = limits or HttpLimits()
        self._cors = Cors(origins)
        self._sessions = Sessions(
            records,
            self._open,
            self._describe,
            bundle=bundle,
            most=self._limits.sessions,
            idle=self._limits.session_idle,
        )
        self._modern = ModernHttp(endpoint)
        self._legacy = LegacyHttp(
            endpoint, self._sessions, resume_within=self._limits.resume_within
        )
        self._calls: set[HttpCall] = set()
        self._open_streams: Counter[Owner] = Counter()
        self._draining = False
        self._idle = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Serve while the context is open, until `drain`."""
        await self._sessions.load()
        tidying = asyncio.ensure_future(self._sessions.tidying())
        try:
            yield
        finally:
            self._draining = True
            tidying.cancel()
            self._end()
            await asyncio.wait([tidying])

    async def drain(self, seconds: float) -> None:
        """Take nothing new, let calls under way end for so long, then end every stream."""
        self._draining = True
        await self._endpoint.end_streams()
        self._idle.clear()
        if self._calls:
            try:
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass  # the time is up: what still runs is cancelled with its stream
        self._end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self.serve(scope, receive, send, HttpHeaders(scope))

    async def serve(self, scope: Scope, receive: Receive, send: Send, headers: HttpHeaders) -> None:
        """Serve one request whose headers have been read."""
        if "origin" in headers and self._cors.allows(headers):
            send = self._cors.sending(headers, send)
            if self._cors.is_preflight(scope["method"], headers):
                await send_status(send, 204, self._cors.preflight(headers))
                return
        try:
            caller = await self._gate.admit(scope, headers, "mcp")
        except AccessError as error:
            await self._gate.refusal(error, "mcp")(scope, receive, send)
            return
        if self._draining:
            error = OwnerStopping("the server is shutting down")
            await error_response(error, 503)(scope, receive, send)
            return
        request = HttpRequest(scope, receive, send, headers, caller)
        match scope["method"]:
            case "POST":
                await self._post(request)
            case "GET" | "DELETE" if self._is_legacy(request):
                await self._in_session(request)
            case _:
                allowed = b"GET, POST, DELETE" if self._is_legacy(request) else b"POST"
                await refuse(request, 405, "Method Not Allowed", head=[(b"allow", allowed)])

    # -- messages

    async def _post(self, request: HttpRequest) -> None:
        if not request.accepts_json:
            await refuse(request, 406, "Not Acceptable: Client must accept application/json")
            return
        if not request.is_json:
            told = "Unsupported Media Type: Content-Type must be application/json"
            await refuse(request, 415, told)
            return
        try:
            body = await request.json()
        except InputTooLarge as error:
            await error_response(error, 413)(request.scope, request.receive, request.send)
        except NotJson:
            await refuse(request, 400, "Parse error", code=PARSE_ERROR)
        except Departed:
            pass  # nobody is there to be answered
        else:
            await self._message(request, body)

    async def _message(self, request: HttpRequest, body: Any) -> None:
        """Serve what was posted, in the era it is of."""
        message = read_message(body)
        if message is None:
            told = "Body must be a single JSON-RPC request, notification or response"
            await refuse(request, 400, told, id=id_of(body))
        elif self._is_legacy(request) and not is_modern(message.meta):
            await self._legacy_message(request, message)
        elif message.kind == "request":
            await self._modern_request(request, message)
        elif message.kind == "notification":
            await self._modern.notification(request)
        else:
            # 2026-07-28, streamable HTTP: no server asks, so no client answers.
            await refuse(request, 400, "no response is expected in this protocol version")

    async def _modern_request(self, request: HttpRequest, message: Message) -> None:
        listens = message.method == _LISTEN
        if listens and not request.accepts_stream:
            told = "Not Acceptable: Client must accept text/event-stream"
            await refuse(request, 406, told, id=message.id)
            return
        call = await self._modern.call(request, message)
        if call is None:
            return
        try:
            if listens:
                with self._stream_of(owner_of(request)):
                    await self._perform(call, self._modern.work(call, request, message))
            else:
                await self._perform(call, self._modern.work(call, request, message))
        except AccessRateLimited as error:
            await self._refuse(error, request)

    async def _legacy_message(self, request: HttpRequest, message: Message) -> None:
        if message.method == "initialize" and message.kind == "request":
            try:
                await self._legacy.initialize(request, message)
            except AccessError as error:
                await self._refuse(error, request)
            return
        session = await self._legacy.session(request)
        if session is None:
            return
        if message.kind != "request":
            await self._legacy.message(session, request, message)
            return
        call = await self._legacy.call(session, request, message)
        if call is not None:
            session.begin(call)
            try:
                await self._perform(call, self._legacy.work(session, call, request, message))
            finally:
                call.forget()
                self._sessions.finished(session, call)

    async def _in_session(self, request: HttpRequest) -> None:
        """Serve a GET or a DELETE."""
        if request.scope["method"] == "GET" and not request.accepts_stream:
            await refuse(request, 406, "Not Acceptable: Client must accept text/event-stream")
            return
        session = await self._legacy.session(request)
        if session is None:
            return
        if request.scope["method"] == "DELETE":
            await self._legacy.delete(session, request)
            return
        try:
            with self._stream_of(session.owner):
                await self._legacy.listen(session, request, self._gate)
        except AccessRateLimited as error:
            await self._refuse(error, request)

    # -- life

    async def _perform(self, call: HttpCall, work: Awaitable[Object]) -> None:
        self._calls.add(call)
        try:
            await call.perform(work, self._gate)
        finally:
            self._calls.discard(call)
            if not self._calls:
                self._idle.set()

    @contextmanager
    def _stream_of(self, owner: Owner) -> Generator[None]:
        """Count a stream that is held open.

        Raises:
            AccessRateLimited: Its owner holds too many.
        """
        if self._open_streams[owner] >= self._limits.streams:
            raise AccessRateLimited(
                f"{self._limits.streams} streams are open",
                hint="close one, or raise the setting server.streams",
                data={"retry_after": 1.0},
            )
        self._open_streams[owner] += 1
        try:
            yield
        finally:
            self._open_streams[owner] -= 1
            if not self._open_streams[owner]:
                del self._open_streams[owner]

    def _end(self) -> None:
        for call in list(self._calls):
            call.stop("shutdown")
        self._sessions.close()

    def _open(self, id: str, owner: Owner, params: Object) -> Session:
        return Session(id, owner, self._endpoint.server, params)

    def _describe(self, session: Session) -> Object:
        return described(session, self._endpoint)

    async def _refuse(self, error: AccessError, request: HttpRequest) -> None:
        answer = self._gate.refusal(error, "mcp")
        await answer(request.scope, request.receive, request.send)

    @staticmethod
    def _is_legacy(request: HttpRequest) -> bool:
        version = request.headers.get(MCP_PROTOCOL_VERSION_HEADER)
        return version is None or version in _HANDSHAKE
