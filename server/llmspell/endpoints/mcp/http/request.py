"""One HTTP request as it arrives: its headers, what it accepts, its body.

What is wrong with it as HTTP is found here; what is wrong with it as MCP is
found by the transport of its era.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from llmspell.errors import InputTooLarge
from llmspell.security.principals import Caller

MAX_BODY = 4 << 20
"""Largest request body in bytes."""

_SINGLE = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "host",
        "last-event-id",
        "mcp-session-id",
        "origin",
    }
)
"""What decides who asks, for whom, and what: of two values a proxy before this server may have
heeded the one, and this server the other. RFC 9112 3.2 says so of `Host`. Those that 2026-07-28
repeats from a message are judged with it (`rules`)."""

_decode = msgspec.json.Decoder().decode


class NotJson(Exception):
    """The body is no JSON text."""


class Departed(Exception):
    """The client has left before its request was there."""


class HttpHeaders(dict[str, str]):
    """The headers of a request by their names in lower case, without blanks around the values.

    httptools passes trailing blanks on; RFC 9110 5.5 says they are no part of
    a value. The values of a header that stands there more than once are one list
    (5.3), which for a header that is no list means nothing: see `ambiguous`.
    """

    __slots__ = ("repeated",)

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.repeated: set[str] = set()
        """Names of the headers that stand there more than once."""
        for raw, value in scope["headers"]:
            name = raw.decode("latin-1")
            text = value.decode("latin-1").strip(" \t")
            if name in self:
                self.repeated.add(name)
                self[name] = f"{self[name]}, {text}"
            else:
                self[name] = text

    @property
    def ambiguous(self) -> str:
        """The name of a header that has one value and stands there more than once, or ""."""
        return min(self.repeated & _SINGLE, default="") if self.repeated else ""


@dataclass(slots=True)
class HttpRequest:
    """A request that was let in."""

    scope: Scope
    receive: Receive
    send: Send
    headers: HttpHeaders
    caller: Caller

    @property
    def accepts_json(self) -> bool:
        """Whether the client takes an answer of JSON."""
        return _accepted(self.headers.get("accept"))[0]

    @property
    def accepts_stream(self) -> bool:
        """Whether the client takes a stream of events."""
        return _accepted(self.headers.get("accept"))[1]

    @property
    def is_json(self) -> bool:
        """Whether the body is said to be JSON."""
        return _is_json(self.headers.get("content-type", ""))

    async def json(self) -> Any:
        """Read the body and return what it says.

        Raises:
            InputTooLarge: It is larger than `MAX_BODY`; the rest of it was not read.
            NotJson: It is no JSON.
            Departed: The client has left meanwhile.
        """
        body = await self._body()
        try:
            return _decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise NotJson(str(error)) from None

    async def _body(self) -> bytes:
        declared = self.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > MAX_BODY:
            raise _too_large()
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body = message.get("body", b"")
            if len(body) > MAX_BODY:
                raise _too_large()
            return body
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] != "http.request":
                raise Departed
            part = message.get("body", b"")
            size += len(part)
            if size > MAX_BODY:
                raise _too_large()
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self.receive()


def _too_large() -> InputTooLarge:
    return InputTooLarge(f"the request is larger than {MAX_BODY} bytes")


@lru_cache(maxsize=256)
def _accepted(header: str | None) -> tuple[bool, bool]:
    """Return whether JSON and whether a stream of events is accepted (RFC 9110 12.5.1)."""
    if header is None:
        return True, True
    types = {part.split(";")[0].strip().lower() for part in header.split(",")}
    anything = "*/*" in types
    return (
        anything or not types.isdisjoint(("application/json", "application/*")),
        anything or not types.isdisjoint(("text/event-stream", "text/*")),
    )


@lru_cache(maxsize=256)
def _is_json(header: str) -> bool:
    return header.split(";")[0].strip().lower() == "application/json"
