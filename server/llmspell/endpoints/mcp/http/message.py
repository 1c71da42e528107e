"""One JSON-RPC message by its shape (JSON-RPC 2.0 4): what it is, before anything asks what it
means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

from llmspell.endpoints.mcp.http.answers import RequestId
from llmspell.values import JSON, Object


def is_object(value: object) -> TypeGuard[Object]:
    """Return whether a JSON value is an object."""
    return isinstance(value, dict)


def id_of(body: Any) -> RequestId | None:
    """Return the id that a message has, or None where it has none that could be sent back."""
    id = body.get("id") if is_object(body) else None
    return id if isinstance(id, str | int) and not isinstance(id, bool) else None


@dataclass(slots=True)
class Message:
    """A single message."""

    kind: Literal["request", "notification", "response"]
    body: Object
    id: RequestId
    """The request's; "" for a notification."""
    method: str
    """"" for a response."""
    params: Object | None
    meta: Object = field(default_factory=dict[str, JSON])
    """Its `_meta`, `{}` when it has none."""


def read_message(body: Any) -> Message | None:
    """Return what a body says, or None when it is no message: a batch, for one."""
    if not is_object(body) or body.get("jsonrpc") != "2.0":
        return None
    params = body.get("params")
    if params is not None and not is_object(params):
        return None
    method, id = body.get("method"), id_of(body)
    if "method" not in body:
        is_answer = "id" in body and ("result" in body) != ("error" in body)
        return Message("response", body, id or "", "", None) if is_answer else None
    if not isinstance(method, str):
        return None
    meta = params.get("_meta") if params is not None else None
    if not is_object(meta):
        meta = {}
    if "id" not in body:
        return Message("notification", body, "", method, params, meta)
    return None if id is None else Message("request", body, id, method, params, meta)
