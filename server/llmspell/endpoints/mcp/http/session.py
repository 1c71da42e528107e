"""One session of the handshake era over HTTP: the connection to a client that comes and goes.

A session is no task and holds no connection open. It knows which requests are
under way, which answers may still be fetched, and what the client was asked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import json
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeAlias

from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions, as_request_id, coerce_request_id
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import INTERNAL_ERROR

from llmspell.endpoints.mcp.exchange import NoBackChannel, client_of
from llmspell.endpoints.mcp.http.answers import (
    RequestId,
    notification_message,
    request_message,
)
from llmspell.endpoints.mcp.http.call import HttpCall
from llmspell.endpoints.mcp.http.message import is_object
from llmspell.endpoints.mcp.http.sse import ROOM, EventStream
from llmspell.values import Object

KEPT_SECONDS = 300.0
"""How long the answer of a stream that has ended may be fetched again."""

_MOST_KEPT = 32
_LONGEST_RUN_ID = 64
_STANDALONE = "g"
_STANDALONE_ROOM = 64 << 10

_log = logging.getLogger(__name__)

Owner: TypeAlias = tuple[str, str]
"""Tenant and principal."""


class Session:
    """What the server knows of a client between its requests.

    Args:
        owner: Whose it is: to everybody else it does not exist.
        params: What the client said in `initialize`.
    """

    def __init__(
        self, id: str, owner: Owner, server: Server[dict[str, Any]], params: Object
    ) -> None:
        self.id = id
        self.owner = owner
        self.params = params
        self.used_at = 0.0
        self.saved_at = 0.0
        capabilities = params.get("capabilities")
        self.client = client_of(
            params.get("clientInfo"), capabilities if is_object(capabilities) else {}
        )
        # Streams of an earlier process, or of before this session was put away, are not ours.
        self._mark = secrets.token_hex(4)
        self.standalone = EventStream(f"{self._mark}.{_STANDALONE}", room=_STANDALONE_ROOM)
        """What no request asked for."""
        self.connection = Connection.for_loop(_Standalone(self), session_id=id)
        self.runner = ServerRunner(server, self.connection, dict[str, Any]())
        self._calls: dict[RequestId, HttpCall] = {}
        self._kept: OrderedDict[str, tuple[EventStream, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Object]] = {}
        self._numbers = itertools.count(1)

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way or a stream open."""
        return bool(self._calls) or self.standalone.is_read

    # -- requests of the client

    def has_call(self, id: RequestId) -> bool:
        """Return whether a request with this id is under way."""
        return coerce_request_id(id) in self._calls

    def stream(self, id: RequestId, run_id: str = "") -> EventStream:
        """Return a stream for the answer to a request.

        Args:
            run_id: The run that the answer comes from, where it is known by now.
        """
        key = base64.urlsafe_b64encode(json.dumps(id).encode()).decode().rstrip("=")
        return EventStream(".".join([self._mark, key, run_id] if run_id else [self._mark, key]))

    def begin(self, call: HttpCall) -> None:
        """Note that a request is under way."""
        self._calls[coerce_request_id(call.id)] = call

    def finish(self, call: HttpCall, now: float) -> None:
        """Note that a request has ended, and keep its stream for a client that lost it."""
        self._calls.pop(coerce_request_id(call.id), None)
        if call.has_begun_stream and call.stream is not None:
            self._kept[call.stream.name] = (call.stream, now)
            self._kept.move_to_end(call.stream.name)
            self._forget(now)

    def cancel(self, request_id: object) -> None:
        """Cancel a request that the client names, if it is under way."""
        id = as_request_id(request_id)
        call = self._calls.get(coerce_request_id(id)) if id is not None else None
        if call is not None:
            call.stop("cancelled")

    # -- streams that are read again

    def find_stream(self, event_id: str) -> tuple[EventStream, int | None] | None:
        """Return the stream an event was of, and its number there; None when the stream is gone.

        The stream of what no request asked for is always there, an event of an earlier process
        has no number in it.
        """
        name, _, number = event_id.rpartition(".")
        stream = self._stream_named(name)
        if stream is not None:
            is_number = number.isascii() and number.isdigit()
            return stream, int(number[:18]) if is_number else None
        if name.endswith(f".{_STANDALONE}"):
            return self.standalone, None  # what was on it is lost
        return None

    def _stream_named(self, name: str) -> EventStream | None:
        if name == self.standalone.name:
            return self.standalone
        for call in self._calls.values():
            if call.stream is not None and call.stream.name == name:
                return call.stream
        kept = self._kept.get(name)
        return kept[0] if kept is not None else None

    @staticmethod
    def told_by(event_id: str) -> tuple[RequestId | None, str]:
        """Return the request whose stream an event was of, and the run its answer is from.

        That is what the id says, which its client may have made up: None and "" where it says
        nothing.
        """
        _, key, run_id, *_ = [*event_id.split("."), "", "", ""]
        try:
            asked = json.loads(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)))
        except (binascii.Error, ValueError, RecursionError):
            return None, ""
        is_run = event_id.count(".") > 2 and run_id.isascii() and run_id.isalnum()
        return as_request_id(asked), run_id if is_run and len(run_id) <= _LONGEST_RUN_ID else ""

    def _forget(self, now: float) -> None:
        size = sum(stream.size for stream, _ in self._kept.values())
        while self._kept:
            name, (stream, since) = next(iter(self._kept.items()))
            if len(self._kept) <= _MOST_KEPT and size <= ROOM and now - since < KEPT_SECONDS:
                return
            if len(self._kept) == 1 and now - since < KEPT_SECONDS:
                return  # one answer may be larger than the room for all
            size -= stream.size
            del self._kept[name]

    def tidy(self, now: float) -> None:
        """Forget answers that nobody has fetched for long."""
        self._forget(now)

    # -- requests of the server

    def ask(self, stream: EventStream, method: str, params: Object) -> Asking:
        """Send a request of ours to the client on a stream."""
        # Unlike any id of an earlier process, whose answers may still come.
        id = f"{self._mark}-{next(self._numbers)}"
        future = self._asked[id] = asyncio.get_running_loop().create_future()
        stream.add(request_message(id, method, params))
        return Asking(self, id, future, stream)

    def forget_asked(self, id: str) -> None:
        """Heed no answer to this request of ours any more."""
        self._asked.pop(id, None)

    def take_answer(self, body: Object) -> None:
        """Take an answer of the client to a request of ours; one to no such request is dropped."""
        future = self._asked.get(str(body.get("id")))
        if future is None or future.done():
            return
        result, error = body.get("result"), body.get("error")
        if is_object(result):
            future.set_result(result)
        elif is_object(error):
            code = error.get("code")
            text = str(error.get("message", ""))
            future.set_exception(
                MCPError(code if isinstance(code, int) else INTERNAL_ERROR, text, error.get("data"))
            )

    def end(self, *, is_shutdown: bool) -> None:
        """End everything that is under way."""
        for call in list(self._calls.values()):
            call.stop("shutdown" if is_shutdown else "deleted")
        for future in self._asked.values():
            if not future.done():
                future.set_exception(NoBackChannel())
                future.exception()  # seen: perhaps nobody waits for it any more
        self.standalone.end()

    async def aclose(self) -> None:
        """Let go of what handlers hold for the connection."""
        await aclose_shielded(self.connection)


class Asking:
    """A request of the server to the client. Awaited for its result."""

    def __init__(
        self, session: Session, id: str, future: asyncio.Future[Object], stream: EventStream
    ) -> None:
        self._session = session
        self._id = id
        self._future = future
        self._stream = stream

    async def result(self) -> Object:
        """Wait for the client's answer. Cancelling the wait cancels the request there.

        Raises:
            MCPError: The client answered with an error.
            NoBackChannel: The session has ended.
        """
        try:
            return await self._future
        except asyncio.CancelledError:
            reason: Object = {"requestId": self._id, "reason": "the answer is needed no more"}
            self._stream.add(notification_message("notifications/cancelled", reason))
            raise
        finally:
            self._session.forget_asked(self._id)


class _Standalone:
    """The way to the client that no request opened: its GET streams (`Outbound`)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Ask the client something, while it has a stream open."""
        if not self._session.standalone.is_read:
            raise NoBackChannelError(method)
        asking = self._session.ask(self._session.standalone, method, dict(params or {}))
        try:
            async with asyncio.timeout((opts or {}).get("timeout")):
                return await asking.result()
        except NoBackChannel:
            raise NoBackChannelError(method) from None

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Tell the client something, now or when it next opens a stream."""
        body = None if params is None else dict(params)
        self._session.standalone.add(notification_message(method, body), is_droppable=True)
