"""What the bridge understands of the lines it passes: where they end, which ask, which answer."""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN_ANSWER = re.compile(
    rb'\{"jsonrpc":"2\.0","id":(-?\d{1,18}|"[^"\\]{0,200}"),"(result|error)":'
)
"""The usual form of an answer, which says what is needed without parsing a large result."""


class Lines:
    """Cuts a stream of bytes into lines, without their newline.

    Args:
        limit: Longest line in bytes; None = any. A longer one is dropped, and
            `None` stands in its place.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that `data` completes."""
        *ends, rest = data.split(b"\n")
        lines: list[bytes | None] = []
        for end in ends:
            self._keep(end)
            lines.append(self._take())
        if rest:
            self._keep(rest)
        return lines

    def end(self) -> list[bytes | None]:
        """Return the line that the end of the stream completes, if there is one."""
        return [self._take()] if self._size else []

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._limit is not None and self._size > self._limit:
            self._parts.clear()
        else:
            self._parts.append(part)

    def _take(self) -> bytes | None:
        too_long = self._limit is not None and self._size > self._limit
        line = None if too_long else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line


def messages(line: bytes) -> list[dict[str, Any]] | None:
    """Return the JSON-RPC messages of a line, a batch's included; None when it is not JSON."""
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    values: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    return [item for item in values if isinstance(item, dict)]


def key_of(identifier: object) -> str:
    """Return a request id in one form, whatever its type."""
    return json.dumps(identifier)


def cancelled_key(notification: dict[str, Any]) -> str:
    """Return the key of the request that `notifications/cancelled` names."""
    params: Any = notification.get("params")
    return key_of(params.get("requestId")) if isinstance(params, dict) else ""  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]  # JSON


def answers(line: bytes) -> list[tuple[str, bool]]:
    """Return the requests a line answers, by key, and whether with a result."""
    plain = _PLAIN_ANSWER.match(line)
    if plain is not None:
        return [(key_of(json.loads(plain[1])), plain[2] == b"result")]
    return [
        (key_of(message["id"]), "result" in message)
        for message in messages(line) or ()
        if "id" in message and "method" not in message
    ]


def error_line(identifier: object, code: int, message: str, data: dict[str, Any] | None) -> bytes:
    """Return a JSON-RPC error as a line, with its newline."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data:
        error["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "error": error}).encode() + b"\n"
