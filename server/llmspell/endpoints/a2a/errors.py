"""How an error looks on the wire: the one table from our errors and A2A's to JSON-RPC codes.

Codes and reasons are those of the A2A specification, section 5.4; `data` is a
list that begins with a `google.rpc.ErrorInfo` (section 9.5).
"""

from __future__ import annotations

import logging
from typing import Any, cast

from a2a.utils.errors import (
    A2A_ERROR_REASONS,
    JSON_RPC_ERROR_CODE_MAP,
    A2AError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from llmspell.errors import (
    AccessError,
    AskInvalid,
    InputInvalid,
    LlmspellError,
    RunNotCancelable,
    RunNotFound,
    RunNotWaiting,
    SpellNotFound,
    StateTooLarge,
    UsageError,
)
from llmspell.values import Object
from llmspell_protocols.jsonrpc import INTERNAL_ERROR, Error, ProtocolError

_log = logging.getLogger(__name__)

ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
A2A_DOMAIN = "a2a-protocol.org"

_KINDS: tuple[tuple[type[LlmspellError], type[A2AError]], ...] = (
    (RunNotFound, TaskNotFoundError),
    (RunNotCancelable, TaskNotCancelableError),
    (RunNotWaiting, UnsupportedOperationError),
    (InputInvalid, InvalidParamsError),
    (AskInvalid, InvalidParamsError),
    (SpellNotFound, InvalidParamsError),
    (StateTooLarge, InvalidParamsError),  # a message too large to be kept
    (UsageError, InvalidParamsError),
    # A2A has no words for these: over HTTP they are a status, here `data` tells them apart.
    (AccessError, InvalidRequestError),
    (LlmspellError, InternalError),
)
"""What each of our errors is in A2A's words; the first that fits counts."""


def invalid_params(field: str, reason: str, *, hint: str = "") -> InvalidParamsError:
    """Return the error for a parameter that has no meaning, named as on the wire."""
    data: Object = {"errors": [{"field": field, "message": reason}]}
    if hint:
        data["hint"] = hint
    return InvalidParamsError(f"{field}: {reason}", data)


def error_of(error: Exception) -> Error:
    """Return the JSON-RPC error that tells a client what went wrong.

    What is no error of the catalogue is logged and shown without its text,
    which may hold anything.
    """
    if isinstance(error, ProtocolError):
        return error.error
    if isinstance(error, A2AError):
        return _of_a2a(error)
    if isinstance(error, LlmspellError):
        return _of_ours(error)
    _log.error("an A2A request failed inside llmspell", exc_info=error)
    return Error(INTERNAL_ERROR, "internal error", [_error_info("INTERNAL_ERROR", {})])


def _of_a2a(error: A2AError) -> Error:
    data = cast("Object", getattr(error, "data", None) or {})  # the SDK types it as bare `dict`
    texts = {name: value for name, value in data.items() if isinstance(value, str)}
    details: list[Object] = [
        _error_info(A2A_ERROR_REASONS.get(type(error), "INTERNAL_ERROR"), texts)
    ]
    if data.get("errors"):
        details.append(_bad_request(data["errors"]))
    code = JSON_RPC_ERROR_CODE_MAP.get(type(error), INTERNAL_ERROR)
    return Error(code, error.message, details)


def _of_ours(error: LlmspellError) -> Error:
    kind = next(theirs for ours, theirs in _KINDS if isinstance(error, ours))
    details: list[Object] = [_error_info(A2A_ERROR_REASONS[kind], _detail(error))]
    found: Any = error.data.get("errors")
    if isinstance(error, InputInvalid) and isinstance(found, list):
        details.append(_bad_request(cast("list[Any]", found)))
    return Error(JSON_RPC_ERROR_CODE_MAP[kind], error.message, details)


def _detail(error: LlmspellError) -> dict[str, str]:
    detail = {"code": error.code}
    if error.hint:
        detail["hint"] = error.hint
    if error.run_id:
        detail["run_id"] = error.run_id
    if error.retryable:
        detail["retryable"] = "true"
    return detail


def _error_info(reason: str, metadata: dict[str, str]) -> Object:
    return {"@type": ERROR_INFO, "reason": reason, "domain": A2A_DOMAIN, "metadata": metadata}


def _bad_request(errors: list[Any]) -> Object:
    violations = [
        {"field": str(each.get("field", "")), "description": str(each.get("message", ""))}
        for each in errors
    ]
    return {"@type": BAD_REQUEST, "fieldViolations": violations}
