"""What the bridge understands of the lines it passes: where they end, which ask, which answer."""

from __future__ import annotations

import json
import re
from typing import Any, cast

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


def message_of(line: bytes) -> dict[str, Any] | None:
    """Return the JSON-RPC message of a line; None when it is none, as a batch is not."""
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]  # JSON


def is_request(message: dict[str, Any]) -> bool:
    """Return whether a message is owed an answer under an id that JSON-RPC allows in MCP."""
    identifier = message.get("id")
    if not isinstance(message.get("method"), str) or isinstance(identifier, bool):
        return False
    return isinstance(identifier, int) or (isinstance(identifier, str) and _is_text(identifier))


def _is_text(value: str) -> bool:
    """Return whether a text can be written down: half a surrogate pair, as JSON has it, can't."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def key_of(identifier: object) -> str:
    """Return a request id in one form, whatever its type."""
    return json.dumps(identifier)


def member(value: object, *names: str) -> Any:
    """Return what stands at a path of names inside JSON objects; None where there is none."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(name)
    return value


def cancelled_key(notification: dict[str, Any]) -> str:
    """Return the key of the request that `notifications/cancelled` names."""
    identifier = member(notification, "params", "requestId")
    return "" if identifier is None else key_of(identifier)


def answered(line: bytes) -> tuple[str, bool] | None:
    """Return which request a line answers, by key, and whether with a result."""
    plain = _PLAIN_ANSWER.match(line)
    if plain is not None:
        return key_of(json.loads(plain[1])), plain[2] == b"result"
    message = message_of(line)
    if message is None or "id" not in message or "method" in message:
        return None
    return key_of(message["id"]), "result" in message


def result_line(identifier: object, result: dict[str, Any]) -> bytes:
    """Return a JSON-RPC answer as a line, with its newline."""
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "result": result}).encode() + b"\n"


def error_line(identifier: object, code: int, message: str, data: dict[str, Any] | None) -> bytes:
    """Return a JSON-RPC error as a line, with its newline."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data:
        error["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "error": error}).encode() + b"\n"
