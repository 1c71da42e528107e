"""A2A over a WebSocket, without the socket: frames in, events out, and the reverse.

One object is one end of one connection, and both ends are the same object:
either may call the other, and the ids of the two directions are apart. It
keeps what is in flight, the limits and the rules of the binding
(docs/reference/a2a-websocket-binding.md). It does not know what a method
does, who is calling, or how to wait; the socket loop around it knows nothing
else.

    received text  -> receive() -> events: a call to perform, an answer to hand on,
                                   a frame to send, an order to close
    a wish         -> request(), respond(), stream_item(), stream_end(), ... -> a frame to send
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from llmspell_protocols import jsonrpc
from llmspell_protocols.a2a.methods import is_streaming
from llmspell_protocols.jsonrpc import Error, Id, Object, ProtocolError

SUBPROTOCOL = "a2a.v1"
"""What both sides name in `Sec-WebSocket-Protocol`."""

BINDING = "urn:llmspell:a2a:websocket:v1"
"""`protocolBinding` of this binding in an agent card."""

BINDING_ALIASES = (
    BINDING,
    "https://a2a-protocol.org/bindings/websocket/v1",
    "https://a2a-protocol.org/bindings/websocket",
    "WEBSOCKET",
)
"""Every name under which a client takes an interface for this binding, ours first."""

UNSUPPORTED_DATA = 1003
MESSAGE_TOO_BIG = 1009

ANSWER_TOO_LARGE = 4413
EXHAUSTED = 4429

MAX_SERVICE_PARAMETER_BYTES = 8 << 10
"""All names and values of a request's service parameters together."""

_RESERVED = frozenset({"authorization", "cookie", "host", "origin"})
_RETRY_INFO: list[Object] = [
    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}
]

EndReason: TypeAlias = Literal["completed", "cancelled", "slowConsumer", "goAway"]
"""Why a stream ended without an error."""


@dataclass(frozen=True, slots=True)
class Requested:
    """The peer calls. Answer under `id`: with stream items and an end when `streaming`."""

    id: Id
    method: str
    params: Object
    service_parameters: Mapping[str, str]
    """Names in lower case; reserved ones are left out."""
    streaming: bool


@dataclass(frozen=True, slots=True)
class StreamCanceled:
    """The peer wants no more of this stream: stop, and answer with `stream_end("cancelled")`."""

    id: Id


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to our request. Nothing more comes under this id."""

    id: Id
    result: Any


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a stream that our request opened."""

    id: Id
    result: Any


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """A stream that our request opened has ended in order."""

    id: Id
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The peer answered with an error. `id` is None when it could not read which request."""

    id: Id | None
    error: Error


@dataclass(frozen=True, slots=True)
class Send:
    """A frame the rules demand: send it."""

    frame: str


@dataclass(frozen=True, slots=True)
class Close:
    """The rules were broken in a way that ends the connection: close with this code."""

    code: int
    reason: str


Event: TypeAlias = (
    Requested | StreamCanceled | Answered | Item | StreamEnded | Failed | Send | Close
)


class Connection:
    """One end of a connection.

    Args:
        max_frame_bytes: Largest frame either way, as UTF-8. A larger one that comes in
            closes the connection; one of ours is refused before it is sent.
        max_in_flight: Requests of one direction that may wait for their end at once.
        max_streams: How many of those may be streams.
    """

    def __init__(
        self, *, max_frame_bytes: int = 4 << 20, max_in_flight: int = 256, max_streams: int = 64
    ) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.max_in_flight = max_in_flight
        self.max_streams = max_streams
        self._serving = _InFlight(max_in_flight, max_streams)
        self._asking = _InFlight(max_in_flight, max_streams)
        self._last_id = 0
        self._closed = False

    # What the peer sent.

    def receive(self, frame: str | bytes) -> list[Event]:
        """Return what one received message means. `bytes` is a binary message.

        Nothing is raised, whatever comes in. After `Close` every frame is ignored.
        """
        if self._closed:
            return []
        if isinstance(frame, bytes):
            return [self._close(UNSUPPORTED_DATA, "text frames only")]
        if self._is_too_large(frame):
            return [
                self._close(MESSAGE_TOO_BIG, f"a frame is at most {self.max_frame_bytes} bytes")
            ]
        try:
            value = jsonrpc.load(frame)
        except ProtocolError as error:
            return [_refusal(None, error)]
        is_call = "method" in value
        try:
            event = self._event_of(value) if is_call else self._answer_of(value)
        except ProtocolError as error:
            if is_call:
                return [_refusal(error.id, error)]
            # Its id is one of ours: sent back, it would name a request of the peer's.
            id = jsonrpc.id_of(value)
            if id is not None and self._asking.finish(id):
                return [Failed(id, error.error)]
            return [_refusal(None, error)]
        return [] if event is None else [event]

    # What we answer.

    def respond(self, id: Id, result: Any) -> str:
        """Return the frame that answers a unary request.

        Raises:
            ProtocolError: The frame would be too large (4413); answer with `fail`.
        """
        frame = self._sized(_text(jsonrpc.render(jsonrpc.Result(id, result))), id)
        self._serving.finish(id)
        return frame

    def stream_item(self, id: Id, result: Any) -> str:
        """Return the frame that holds the next item of a stream.

        Raises:
            ProtocolError: The frame would be too large (4413); end the stream with `fail`.
        """
        return self._sized(_text(jsonrpc.render(jsonrpc.Result(id, result))), id)

    def stream_end(self, id: Id, reason: EndReason = "completed") -> str:
        """Return the frame that ends a stream in order."""
        self._serving.finish(id)
        body = {"jsonrpc": "2.0", "id": id, "streamEnd": True, "reason": reason}
        return _text(jsonrpc.dump(body))

    def fail(self, id: Id | None, error: Error) -> str:
        """Return the frame that answers a request, or ends a stream, with an error.

        The error's data, then the end of its text, are dropped when the frame would be too large.
        """
        if id is not None:
            self._serving.finish(id)
        frame = _text(jsonrpc.render(jsonrpc.Failure(id, error)))
        if self._is_too_large(frame):
            short = Error(error.code, error.message[:200])
            frame = _text(jsonrpc.render(jsonrpc.Failure(id, short)))
        return frame

    # What we ask.

    def request(
        self, method: str, params: Object, service_parameters: Mapping[str, str] | None = None
    ) -> tuple[Id, str]:
        """Return the id and the frame of a new request to the peer.

        Reserved service parameters are left out: credentials belong into the handshake.

        Raises:
            ProtocolError: Too much is in flight (4429), or the frame would be too large (4413).
        """
        id = self._last_id + 1
        extra: Object = {}
        if service_parameters:
            extra["serviceParameters"] = {
                name: value
                for name, value in service_parameters.items()
                if not is_reserved(name.lower())
            }
        frame = _text(jsonrpc.render(jsonrpc.Request(id, method, params, extra)))
        self._sized(frame, id)
        self._asking.begin(id, is_streaming(method))
        self._last_id = id
        return id, frame

    def cancel_stream(self, id: Id) -> str | None:
        """Return the frame that tells the peer to stop a stream, None when it has ended already.

        What is still under way of the stream is ignored from now on. The task goes on.
        """
        if not self._asking.mute(id):
            return None
        return _text(jsonrpc.render(jsonrpc.Notification("cancelStream", {"id": id})))

    def _event_of(self, value: Object) -> Event | None:
        message = jsonrpc.message_of(value)
        if isinstance(message, jsonrpc.Request):
            return self._requested(message)
        assert isinstance(message, jsonrpc.Notification)
        return self._notified(message.method, message.params)

    def _answer_of(self, value: Object) -> Event | None:
        if "streamEnd" in value:
            return self._ended(value)
        message = jsonrpc.message_of(value)
        if isinstance(message, jsonrpc.Result):
            return self._answered(message.id, message.result)
        assert isinstance(message, jsonrpc.Failure)
        id, error = message.id, message.error
        if id is None:
            return Failed(None, error)
        muted = self._asking.is_muted(id)
        return Failed(id, error) if self._asking.finish(id) and not muted else None

    def _requested(self, request: jsonrpc.Request) -> Event:
        parameters = _service_parameters(request)
        streaming = is_streaming(request.method)
        self._serving.begin(request.id, streaming)
        return Requested(request.id, request.method, request.params, parameters, streaming)

    def _notified(self, method: str, params: Object) -> Event | None:
        if method != "cancelStream":
            return None
        id = jsonrpc.id_of(params)
        return StreamCanceled(id) if id is not None and self._serving.is_stream(id) else None

    def _answered(self, id: Id, result: Any) -> Event | None:
        if self._asking.is_stream(id):
            return None if self._asking.is_muted(id) else Item(id, result)
        return Answered(id, result) if self._asking.finish(id) else None

    def _ended(self, value: Object) -> Event | None:
        id = jsonrpc.id_of(value)
        if value.get("jsonrpc") != "2.0" or value["streamEnd"] is not True or id is None:
            raise ProtocolError(jsonrpc.INVALID_REQUEST, "this is no end of a stream")
        if not self._asking.is_stream(id):
            return None
        muted = self._asking.is_muted(id)
        self._asking.finish(id)
        reason = value.get("reason", "completed")
        return None if muted else StreamEnded(id, reason if isinstance(reason, str) else "")

    def _is_too_large(self, frame: str) -> bool:
        # A character is one to four bytes: only a frame near the limit is worth encoding.
        if len(frame) * 4 <= self.max_frame_bytes:
            return False
        return len(frame.encode(errors="surrogatepass")) > self.max_frame_bytes

    def _sized(self, frame: str, id: Id) -> str:
        if self._is_too_large(frame):
            reason = f"the frame would be larger than {self.max_frame_bytes} bytes"
            raise ProtocolError(ANSWER_TOO_LARGE, reason, id=id)
        return frame

    def _close(self, code: int, reason: str) -> Close:
        self._closed = True
        return Close(code, reason)


class _InFlight:
    """The requests of one direction that have not ended."""

    def __init__(self, max_requests: int, max_streams: int) -> None:
        self._max_requests = max_requests
        self._max_streams = max_streams
        self._requests: dict[Id, bool] = {}
        self._muted: set[Id] = set()
        self._streams = 0

    def begin(self, id: Id, streaming: bool) -> None:
        if id in self._requests:
            reason = f"id {id!r} is in flight already"
            raise ProtocolError(jsonrpc.INVALID_REQUEST, reason, id=id)
        if len(self._requests) >= self._max_requests:
            reason = f"more than {self._max_requests} requests in flight"
            raise ProtocolError(EXHAUSTED, reason, id=id, data=_RETRY_INFO)
        if streaming and self._streams >= self._max_streams:
            reason = f"more than {self._max_streams} streams in flight"
            raise ProtocolError(EXHAUSTED, reason, id=id, data=_RETRY_INFO)
        self._requests[id] = streaming
        self._streams += streaming

    def finish(self, id: Id) -> bool:
        streaming = self._requests.pop(id, None)
        self._muted.discard(id)
        self._streams -= streaming or False
        return streaming is not None

    def is_stream(self, id: Id) -> bool:
        return self._requests.get(id, False)

    def is_muted(self, id: Id) -> bool:
        return id in self._muted

    def mute(self, id: Id) -> bool:
        if not self.is_stream(id) or id in self._muted:
            return False
        self._muted.add(id)
        return True


def is_reserved(name: str) -> bool:
    """Return whether a service parameter, named in lower case, is never taken from a frame."""
    return name in _RESERVED or name.startswith("sec-")


def _service_parameters(request: jsonrpc.Request) -> dict[str, str]:
    found = request.extra.get("serviceParameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        reason = "serviceParameters is an object of texts"
        raise ProtocolError(jsonrpc.INVALID_REQUEST, reason, id=request.id)
    size = 0
    parameters: dict[str, str] = {}
    for name, value in cast("Object", found).items():
        if not isinstance(value, str) or not value.isprintable():
            reason = f"service parameter {name!r} is no printable text"
            raise ProtocolError(jsonrpc.INVALID_REQUEST, reason, id=request.id)
        size += len(name.encode()) + len(value.encode())
        if not is_reserved(name.lower()):
            parameters[name.lower()] = value
    if size > MAX_SERVICE_PARAMETER_BYTES:
        reason = f"serviceParameters are larger than {MAX_SERVICE_PARAMETER_BYTES} bytes"
        raise ProtocolError(jsonrpc.INVALID_REQUEST, reason, id=request.id)
    return parameters


def _refusal(id: Id | None, error: ProtocolError) -> Send:
    return Send(_text(jsonrpc.render(jsonrpc.Failure(id, error.error))))


def _text(encoded: bytes) -> str:
    return encoded.decode()
