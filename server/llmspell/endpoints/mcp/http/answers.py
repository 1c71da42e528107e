"""What is written back to one HTTP request that is not a stream: JSON, or nothing but a status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from starlette.types import Send

from llmspell.values import JSON, Object

Head: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Headers of a response, names in lower case."""

RequestId: TypeAlias = str | int

encode = msgspec.json.Encoder().encode
"""Write JSON, on one line."""

_JSON = (b"content-type", b"application/json")


def result_message(id: RequestId, result: Object) -> bytes:
    """Return a JSON-RPC response."""
    return encode({"jsonrpc": "2.0", "id": id, "result": result})


def error_message(id: RequestId | None, code: int, message: str, data: JSON = None) -> bytes:
    """Return a JSON-RPC error response; `id` is None where the request's is not known."""
    error: Object = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return encode({"jsonrpc": "2.0", "id": id, "error": error})


def request_message(id: RequestId, method: str, params: Object) -> bytes:
    """Return a JSON-RPC request."""
    return encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def notification_message(method: str, params: Object | None) -> bytes:
    """Return a JSON-RPC notification."""
    message: Object = {"jsonrpc": "2.0", "method": method}
    if params is not None:  # JSON-RPC 2.0 4.2: an object, or no member at all
        message["params"] = params
    return encode(message)


def status_of(code: int) -> int:
    """Return the HTTP status of a JSON-RPC error of 2026-07-28."""
    return ERROR_CODE_HTTP_STATUS.get(code, 200)


async def send_json(send: Send, status: int, body: bytes, head: Head = ()) -> None:
    """Answer with JSON."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *head]})
    await send({"type": "http.response.body", "body": body})


async def send_status(send: Send, status: int, head: Head = ()) -> None:
    """Answer with a status and no body."""
    headers = [(b"content-length", b"0"), *head] if status != 204 else [*head]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
