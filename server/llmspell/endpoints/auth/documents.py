"""What anybody may read about how to get in: the routes of `Authenticator.documents`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from llmspell.values import Object

# A client in a page of an allowed origin reads them before it has anything to prove.
_OPEN = {"access-control-allow-origin": "*", "cache-control": "public, max-age=60"}
_PREFLIGHT = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET",
    "access-control-allow-headers": "mcp-protocol-version",
}


def documents(found: Mapping[str, Object]) -> list[BaseRoute]:
    """Return the routes of JSON documents, by path."""
    return [_route(path, msgspec.json.encode(value)) for path, value in found.items()]


def _route(path: str, body: bytes) -> Route:
    async def document(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        return Response(body, headers=_OPEN, media_type="application/json")

    return Route(path, document, methods=["GET", "OPTIONS"])
