"""The HTTP of the handshake era (2024-11-05 to 2025-11-25): POST, GET and DELETE in a session.

A request goes on when its connection is lost, for the client may come back for
the answer (`Last-Event-ID`); only when it stays away too long is the request
given up.
"""

from __future__ import annotations

import asyncio
import logging

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST
from mcp_types.methods import validate_client_request
from mcp_types.version import is_version_at_least
from pydantic import ValidationError

from llmspell.endpoints.auth.admission import CLOSE_SECONDS
from llmspell.endpoints.auth.gate import Gate
from llmspell.endpoints.mcp.exchange import NoBackChannel
from llmspell.endpoints.mcp.http.answers import (
    Head,
    RequestId,
    encode,
    error_message,
    result_message,
    send_json,
    send_status,
)
from llmspell.endpoints.mcp.http.call import (
    Ending,
    HttpCall,
    SdkDispatch,
    metadata_of,
    transport_of,
)
from llmspell.endpoints.mcp.http.message import Message
from llmspell.endpoints.mcp.http.request import HttpRequest
from llmspell.endpoints.mcp.http.rules import MOST_SAID
from llmspell.endpoints.mcp.http.session import Owner, Session
from llmspell.endpoints.mcp.http.sessions import Sessions
from llmspell.endpoints.mcp.http.sse import EventStream, Reader
from llmspell.endpoints.mcp.results import how_to_get
from llmspell.endpoints.mcp.sdk_exchange import caller_at
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.values import Object

SESSION_HEADER = "mcp-session-id"
LAST_EVENT_HEADER = "last-event-id"

RESUME_WITHIN = 60.0
"""Seconds a request is worked on once its client has left, in case it comes back; unless the
settings say otherwise."""

REQUEST_CANCELLED = -32800
"""What a stream says on which the answer to a cancelled request is looked for."""

_SETTING = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""Methods with which a client sets something for its whole session."""

_LONGEST_ID = 512

_PRIMED_SINCE = "2025-11-25"
_PLAIN_CALL = frozenset({"name", "arguments", "_meta"})

_log = logging.getLogger(__name__)


class LegacyCall(HttpCall):
    """A request in a session.

    Args:
        resume_within: Seconds after which a client that has left does not come back.
    """

    is_modern = False

    def __init__(
        self, session: Session, request: HttpRequest, message: Message, *, resume_within: float
    ) -> None:
        super().__init__(
            request,
            message.id,
            caller=caller_at(request.caller, session.client, message.meta, session.id),
            client=session.client,
            meta=message.meta,
            make_stream=self._new_stream if request.accepts_stream else None,
            head=head_of(session),
        )
        self._session = session
        self._resume_within = resume_within
        self._orphaning: asyncio.TimerHandle | None = None

    @property
    def can_request(self) -> bool:
        """Whether the client can be asked something while this request is under way."""
        if self._make_stream is None:
            return False
        return self._stream is None or not self._stream.has_ended

    async def request(self, method: str, params: Object) -> Object:
        """Ask the client something on the stream of this request."""
        if self.stream is None or self.stream.has_ended:
            raise NoBackChannel
        asking = self._session.ask(self.stream, method, params)
        self._begin()
        return await asking.result()

    def _new_stream(self) -> EventStream:
        return self._session.stream(self.id, self._run_id)

    def forget(self) -> None:
        """Wait for no client any more: the request has ended."""
        if self._orphaning is not None:
            self._orphaning.cancel()

    def _is_primed(self) -> bool:
        return is_version_at_least(self._session.connection.protocol_version, _PRIMED_SINCE)

    def _client_left(self) -> None:
        self._wait_for_reader()

    def _stream_outlived(self, reader: Reader) -> None:
        # As when its client leaves: who comes back with a right of their own gets the answer.
        reader.leave()
        self._has_left = True
        self._client_left()

    def _wait_for_reader(self) -> None:
        self.forget()
        loop = asyncio.get_running_loop()
        self._orphaning = loop.call_later(self._resume_within, self._orphaned)

    def _orphaned(self) -> None:
        if self.stream is not None and self.stream.is_read:
            self._wait_for_reader()  # it came back, and may leave again
        else:
            self.stop("left")

    def _status(self, code: int) -> int:
        return 200

    async def _unanswered(self, ending: Ending) -> None:
        told = error_message(self.id, *_ENDINGS[ending])
        if ending == "deleted":
            await self._answer(200, told)  # another part of the client may wait for it
        elif self.stream is not None and (self.has_begun_stream or ending == "cancelled"):
            # No answer to a cancelled request; whoever looks for one later must not wait for it.
            # After a shutdown the stream of the next process says what became of it.
            self._begin()
            await self._end_stream()
            if ending != "shutdown":
                self.stream.add(told)
        else:
            await self._answer(503 if ending == "shutdown" else 200, told)


_ENDINGS: dict[Ending, tuple[int, str]] = {
    "cancelled": (REQUEST_CANCELLED, "Request cancelled"),
    "left": (REQUEST_CANCELLED, "The request was given up: nobody waited for its answer"),
    "deleted": (REQUEST_CANCELLED, "The session was ended"),
    "shutdown": (INTERNAL_ERROR, "the server is shutting down"),
}


class LegacyHttp:
    """Serves sessions.

    Args:
        resume_within: See `LegacyCall`.
    """

    def __init__(
        self, endpoint: McpEndpoint, sessions: Sessions, *, resume_within: float = RESUME_WITHIN
    ) -> None:
        self._endpoint = endpoint
        self._sessions = sessions
        self._resume_within = resume_within

    async def session(self, request: HttpRequest) -> Session | None:
        """Return the session a request is in, or None when it was refused and answered."""
        id = request.headers.get(SESSION_HEADER)
        if id is None:
            await refuse(request, 400, "Bad Request: Missing session ID")
            return None

        async def revive(session: Session, state: Object) -> bool:
            return await self._revive(session, request, state)

        session = await self._sessions.find(id, owner_of(request), revive)
        if session is None:
            await refuse(request, 404, "Session not found")
        return session

    async def initialize(self, request: HttpRequest, message: Message) -> None:
        """Begin a session.

        Raises:
            AccessRateLimited: The caller has too many.
        """
        params: Object = {
            # The rest, if there is any, need not be kept.
            key: value
            for key, value in (message.params or {}).items()
            if key in ("protocolVersion", "capabilities", "clientInfo")
        }
        if len(encode(params)) > MOST_SAID:
            told = f"what a client says of itself is at most {MOST_SAID} bytes"
            await refuse(request, 200, told, id=message.id, code=INVALID_PARAMS)
            return
        session = self._sessions.draft(owner_of(request), params)
        dispatch = _Quiet(session, request, message.id)
        try:
            result = await session.runner.on_request(dispatch, "initialize", params)
            await self._sessions.add(session)
        except MCPError as error:
            await refuse(request, 200, error.message, id=message.id, code=error.code)
        except ValidationError:
            told = "Invalid request parameters"
            await refuse(request, 200, told, id=message.id, code=INVALID_PARAMS)
        else:
            await send_json(request.send, 200, result_message(message.id, result), head_of(session))

    async def message(self, session: Session, request: HttpRequest, message: Message) -> None:
        """Take a notification, or an answer to a request of ours."""
        if message.kind == "response":
            session.take_answer(message.body)
        else:
            if message.method == "notifications/cancelled":
                session.cancel((message.params or {}).get("requestId"))
            await session.runner.on_notify(
                _Quiet(session, request, None), message.method, message.params
            )
        await send_status(request.send, 202, head_of(session))

    async def call(
        self, session: Session, request: HttpRequest, message: Message
    ) -> LegacyCall | None:
        """Return a request as a call, or None when it was refused and answered."""
        if session.has_call(message.id):
            # 2025-11-25, basic: an id must not have been used before in the same session.
            told = "the id is that of another request under way"
            await refuse(request, 400, told, id=message.id)
            return None
        if isinstance(message.id, str) and len(message.id) > _LONGEST_ID:
            await refuse(request, 400, f"the id is longer than {_LONGEST_ID} characters")
            return None
        try:
            call = LegacyCall(session, request, message, resume_within=self._resume_within)
        except MCPError as error:
            await refuse(request, 200, error.message, id=message.id, code=error.code)
            return None
        call.log_level = self._endpoint.log_levels.get(session.connection)
        return call

    async def work(
        self, session: Session, call: LegacyCall, request: HttpRequest, message: Message
    ) -> Object:
        """Return the result of a request."""
        params = message.params
        if message.method != "tools/call":
            dispatch = SdkDispatch(call, request)
            result = await session.runner.on_request(dispatch, message.method, params)
            if message.method in _SETTING:
                await self._sessions.save(session)
            return result
        params = params or {}
        if not _is_plain_call(params):
            validate_client_request(message.method, session.connection.protocol_version, params)
        return await self._endpoint.call_tool(call, params)

    async def listen(self, session: Session, request: HttpRequest, gate: Gate) -> None:
        """Serve a GET: what no request asked for, or what came after the last event seen.

        Args:
            gate: Says when the client may be told no more.
        """
        stream, after = session.standalone, None
        last = request.headers.get(LAST_EVENT_HEADER)
        if last:
            found = session.find_stream(last)
            if found is None:
                stream = session.stream("lost")
                stream.add(self._lost(*session.told_by(last)))
                stream.end()
            else:
                stream, after = found
        reader = Reader()
        writer = asyncio.ensure_future(
            stream.write(request.send, head_of(session), reader=reader, after=after)
        )
        gone = asyncio.ensure_future(_gone(request))

        def outlive() -> None:
            reader.leave()
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, writer.cancel)

        try:
            with gate.hold(request.headers, "mcp", outlive):
                await asyncio.wait([writer, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.cancel()
            gone.cancel()
            await asyncio.wait([writer, gone])

    async def delete(self, session: Session, request: HttpRequest) -> None:
        """End a session."""
        await self._sessions.delete(session)
        await send_status(request.send, 200)

    def _lost(self, id: RequestId | None, run_id: str) -> bytes:
        """Return what ends the wait for an answer that is not there any more."""
        data: Object = {"hint": "what the call began may go on; its run is in the list of runs"}
        if run_id:
            get = how_to_get(run_id, self._endpoint.tools.offers)
            data = {"hint": f"what the call began may go on: {get}", "run_id": run_id}
        told = "the answer is lost: the server was restarted, or it was fetched too late"
        return error_message(id, INTERNAL_ERROR, told, data)

    async def _revive(self, session: Session, request: HttpRequest, state: Object) -> bool:
        """Begin a session of an earlier process again; returns whether that could be."""
        try:
            await session.runner.on_request(
                _Quiet(session, request, ""), "initialize", session.params
            )
        except (MCPError, ValidationError) as error:
            _log.warning("session %s cannot go on: %s", session.id, error)
            return False
        connection = session.connection
        connection.initialized.set()
        if state.get("level"):
            self._endpoint.log_levels[connection] = state["level"]
        await self._endpoint.changes.restore(connection, request.caller, state.get("uris") or ())
        return True


class _Quiet:
    """The way back from a message that has no answer of its own: to the session's stream."""

    def __init__(self, session: Session, request: HttpRequest, id: RequestId | None) -> None:
        self.request_id = id
        self.transport = transport_of(request, can_send_request=False)
        self.message_metadata = metadata_of(request)
        self.cancel_requested = anyio.Event()
        self.can_send_request = False
        self.notify = session.connection.outbound.notify
        self.send_raw_request = session.connection.outbound.send_raw_request

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Report nothing: such a message has no token."""


def described(session: Session, endpoint: McpEndpoint) -> Object:
    """Return what a client has set in its session, for the session's record."""
    return {
        "level": endpoint.log_levels.get(session.connection),
        "uris": endpoint.changes.subscriptions_of(session.connection),
    }


def head_of(session: Session) -> Head:
    """Return the headers of an answer in a session."""
    return ((b"mcp-session-id", session.id.encode()),)


def owner_of(request: HttpRequest) -> Owner:
    """Return whose sessions a request may use."""
    return request.caller.tenant, request.caller.principal


async def refuse(
    request: HttpRequest,
    status: int,
    message: str,
    *,
    id: RequestId | None = None,
    code: int = INVALID_REQUEST,
    head: Head = (),
) -> None:
    """Answer a message that is not served."""
    await send_json(request.send, status, error_message(id, code, message), head)


def _is_plain_call(params: Object) -> bool:
    """Return whether these are the params of a `tools/call` without anything unusual."""
    return (
        params.keys() <= _PLAIN_CALL
        and isinstance(params.get("name"), str)
        and isinstance(params.get("arguments", {}), dict)
        and isinstance(params.get("_meta", {}), dict)
    )


async def _gone(request: HttpRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
