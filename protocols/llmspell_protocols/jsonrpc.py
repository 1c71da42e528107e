"""JSON-RPC 2.0: one message from text, one text from a message.

Knows the four kinds of message and their rules, nothing of transports, ids in
flight or methods. Batches are refused: no binding that uses this module has
them. Members beyond the specification's own are kept in `extra`, because
bindings add some (`serviceParameters` of A2A over WebSocket).

Source of the rules: https://www.jsonrpc.org/specification.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import msgspec

Id: TypeAlias = str | int
"""A request's id. Whole numbers beyond 53 bits are refused: JavaScript peers would round them."""

Object: TypeAlias = dict[str, Any]
"""A JSON object."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

MAX_ID = (1 << 53) - 1

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_REQUEST_MEMBERS = frozenset({"jsonrpc", "id", "method", "params"})


@dataclass(frozen=True, slots=True)
class Error:
    """The error object of an answer."""

    code: int
    message: str
    data: Any = None


class ProtocolError(Exception):
    """A message that breaks the rules; the only exception bad input can cause.

    Args:
        code: The JSON-RPC or binding code an answer carries.
        message: What is wrong, for people.
        id: The id of the offending request, where it could be read.
        data: The answer's `error.data`.
    """

    def __init__(self, code: int, message: str, *, id: Id | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.id = id
        self.error = Error(code, message, data)


@dataclass(frozen=True, slots=True)
class Request:
    """A call that wants an answer."""

    id: Id
    method: str
    params: Object = field(default_factory=dict[str, Any])
    extra: Object = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Notification:
    """A call that wants none."""

    method: str
    params: Object = field(default_factory=dict[str, Any])
    extra: Object = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Result:
    """An answer that holds a result."""

    id: Id
    result: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that holds an error; `id` is None when the request's id could not be read."""

    id: Id | None
    error: Error


Message: TypeAlias = Request | Notification | Result | Failure


def load(text: str | bytes) -> Object:
    """Return the JSON object a text consists of.

    Raises:
        ProtocolError: -32700 when it is not JSON, -32600 when it is a batch or no object.
    """
    try:
        value = _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError(PARSE_ERROR, f"not JSON: {error}") from None
    except RecursionError:
        raise ProtocolError(PARSE_ERROR, "not JSON: nested too deeply") from None
    if isinstance(value, list):
        raise ProtocolError(INVALID_REQUEST, "batches are not supported: send one object")
    if not isinstance(value, dict):
        raise ProtocolError(INVALID_REQUEST, "a message is a JSON object")
    return cast("Object", value)


def id_of(value: Object) -> Id | None:
    """Return the id of a message where it has a usable one, else None."""
    found = value.get("id")
    if isinstance(found, str):
        return found
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) <= MAX_ID:
        return found
    return None


def message_of(value: Object) -> Message:
    """Return the message a JSON object stands for.

    Raises:
        ProtocolError: -32600 when it is none, -32602 when its params are no object.
    """
    id = id_of(value)
    if value.get("jsonrpc") != "2.0":
        raise ProtocolError(INVALID_REQUEST, 'the member "jsonrpc" must be "2.0"', id=id)
    if "id" in value and id is None and not ("error" in value and value["id"] is None):
        raise ProtocolError(INVALID_REQUEST, "an id is a string or a whole number of 53 bits")
    if "method" in value:
        return _call_of(value, id)
    if ("result" in value) == ("error" in value):
        reason = "a message has a method, a result or an error, and only one of them"
        raise ProtocolError(INVALID_REQUEST, reason, id=id)
    if "error" in value:
        return Failure(id, _error_of(value["error"], id))
    if id is None:
        raise ProtocolError(INVALID_REQUEST, "a result needs an id")
    return Result(id, value["result"])


def parse(text: str | bytes) -> Message:
    """Return the message of a text.

    Raises:
        ProtocolError: The text is not one JSON-RPC 2.0 message.
    """
    return message_of(load(text))


def to_object(message: Message) -> Object:
    """Return the JSON object that stands for a message."""
    if isinstance(message, Request):
        call: Object = {"method": message.method, "params": message.params, **message.extra}
        return {"jsonrpc": "2.0", "id": message.id, **call}
    if isinstance(message, Notification):
        call = {"method": message.method, "params": message.params, **message.extra}
        return {"jsonrpc": "2.0", **call}
    if isinstance(message, Result):
        return {"jsonrpc": "2.0", "id": message.id, "result": message.result}
    body: Object = {"code": message.error.code, "message": message.error.message}
    if message.error.data is not None:
        body["data"] = message.error.data
    return {"jsonrpc": "2.0", "id": message.id, "error": body}


def dump(value: Object) -> bytes:
    """Return a JSON object as compact UTF-8.

    Raises:
        ValueError: It holds text that has no UTF-8 form (a lone surrogate).
    """
    return _encoder.encode(value)


def render(message: Message) -> bytes:
    """Return a message as compact UTF-8 JSON.

    Raises:
        ValueError: It holds text that has no UTF-8 form (a lone surrogate).
    """
    return _encoder.encode(to_object(message))


def _call_of(value: Object, id: Id | None) -> Request | Notification:
    method = value["method"]
    if not isinstance(method, str) or "result" in value or "error" in value:
        reason = "a method is a string, and its message has neither result nor error"
        raise ProtocolError(INVALID_REQUEST, reason, id=id)
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError(INVALID_PARAMS, "params must be an object", id=id)
    extra = {name: part for name, part in value.items() if name not in _REQUEST_MEMBERS}
    if id is None:
        return Notification(method, cast("Object", params), extra)
    return Request(id, method, cast("Object", params), extra)


def _error_of(value: Any, id: Id | None) -> Error:
    body = cast("Object", value) if isinstance(value, dict) else {}
    code, message = body.get("code"), body.get("message")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(message, str):
        reason = "an error has a whole number as its code and a text as its message"
        raise ProtocolError(INVALID_REQUEST, reason, id=id)
    return Error(code, message, body.get("data"))
