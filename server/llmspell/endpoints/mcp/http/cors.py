"""What lets a web page of an allowed origin read the answers (CORS).

Whether a page may call at all is decided before, by `auth.host_rule`; this only
tells its browser. No cookies are used, so credentials are never allowed.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Message, Send

from llmspell.endpoints.mcp.http.answers import Head
from llmspell.endpoints.mcp.http.request import HttpHeaders

_METHODS = b"GET, POST, DELETE"
_SENT = frozenset(
    {
        "accept",
        "authorization",
        "content-type",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "traceparent",
        "tracestate",
    }
)
_SENT_PREFIX = "mcp-param-"
_READ = b"Mcp-Session-Id, WWW-Authenticate, Retry-After"
_MAX_AGE = b"7200"


class Cors:
    """The answers to browsers.

    Args:
        origins: The setting `server.allowed_origins`.
    """

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def allows(self, headers: HttpHeaders) -> bool:
        """Return whether a request is from a page that may read its answer."""
        origin = headers.get("origin")
        return origin is not None and origin.rstrip("/").lower() in self._origins

    @staticmethod
    def is_preflight(method: str, headers: HttpHeaders) -> bool:
        """Return whether a browser asks what a page may send."""
        return method == "OPTIONS" and "access-control-request-method" in headers

    @staticmethod
    def preflight(headers: HttpHeaders) -> Head:
        """Return the headers that answer it."""
        asked = headers.get("access-control-request-headers", "").lower().split(",")
        names = {name.strip() for name in asked}
        sent = sorted(name for name in names if name in _SENT or name.startswith(_SENT_PREFIX))
        return (
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", ", ".join(sent).encode("latin-1")),
            (b"access-control-max-age", _MAX_AGE),
        )

    @staticmethod
    def sending(headers: HttpHeaders, send: Send) -> Send:
        """Return a `send` that lets the page read the answer."""
        head = (
            (b"access-control-allow-origin", headers["origin"].encode("latin-1")),
            (b"access-control-expose-headers", _READ),
            (b"vary", b"Origin"),
        )

        async def allowing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *head]
            await send(message)

        return allowing
