"""What a client is told of a request that no owner will answer, as errors of JSON-RPC."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmspell.bridge.hello import MAX_MESSAGE, UnreachableError


class Refusal(NamedTuple):
    """The error that answers a request."""

    code: int
    message: str
    data: dict[str, Any] | None = None


NOT_JSON = Refusal(-32700, "the line is not JSON")
NO_MESSAGE = Refusal(-32700, "not a message of JSON-RPC")
TOO_LONG = Refusal(
    -32600, f"a message may be {MAX_MESSAGE} bytes long", {"code": "input.too_large"}
)

WAS_STOPPED = Refusal(
    -32000,
    "the owner was stopped before it answered",
    {
        "code": "owner.stopping",
        "retryable": True,
        "hint": "it may have been performed in part; send it again to start the server anew",
    },
)
"""The owner was told to end: what it has not answered it will not, and no other will."""

HAS_DIED = Refusal(
    -32000,
    "the owner ended before it answered",
    {
        "code": "run.interrupted",
        "retryable": True,
        "hint": "it may have been performed; send it again if that does no harm",
    },
)
"""The owner has died, and too much was asked to ask another one all of it."""


def unreachable(error: UnreachableError) -> Refusal:
    """Return what is told when there is no owner, and none can be started."""
    data: dict[str, Any] = {"code": error.code, "hint": error.hint}
    if error.cause is not None:
        data["cause"] = error.cause
    if error.retryable:
        data["retryable"] = True
    return Refusal(-32000, error.message, data)
