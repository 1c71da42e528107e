"""What the server answers to the questions every client begins with, for bridges to keep.

The questions are asked on a stream like any client's, so the answers are those
a client would get, in each revision of the protocol.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from llmspell import __version__
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.mcp.stdio import serve_stream
from llmspell.values import Object

_CLIENT = {"name": "llmspell", "version": __version__}
_ROOM = 64 << 20
"""Longest answer taken: the list of tools stands on one line."""

ANSWER_SECONDS = 10.0


async def opening_answers(endpoint: McpEndpoint) -> dict[str, dict[str, Any]]:
    """Return the result bodies by protocol revision, by method.

    Raises:
        TimeoutError: The server does not answer itself.
    """
    found: dict[str, dict[str, Any]] = {}
    for revision in HANDSHAKE_PROTOCOL_VERSIONS:
        handshake = {
            "protocolVersion": revision,
            "capabilities": {},
            "clientInfo": _CLIENT,
        }
        found[revision] = await _ask(
            endpoint,
            [
                _request("initialize", handshake),
                {"jsonrpc": "2.0", "method": "notifications/initialized"},
                _request("tools/list", {}),
            ],
        )
    for revision in MODERN_PROTOCOL_VERSIONS:
        meta = {
            PROTOCOL_VERSION_META_KEY: revision,
            CLIENT_CAPABILITIES_META_KEY: {},
            CLIENT_INFO_META_KEY: _CLIENT,
        }
        methods = ("server/discover", "tools/list")
        found[revision] = await _ask(
            endpoint, [_request(method, {"_meta": meta}) for method in methods]
        )
    return found


def _request(method: str, params: Object) -> Object:
    return {"jsonrpc": "2.0", "id": method, "method": method, "params": params}


async def _ask(endpoint: McpEndpoint, messages: list[Object]) -> dict[str, Any]:
    """Say these messages on a stream of their own, and return the results by method."""
    ours, theirs = socket.socketpair()
    streams = await asyncio.open_connection(sock=theirs)
    serving = asyncio.ensure_future(serve_stream(*streams, endpoint))
    reader, writer = await asyncio.open_connection(sock=ours, limit=_ROOM)
    results: dict[str, Any] = {}
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            for message in messages:
                writer.write(json.dumps(message).encode() + b"\n")
                if "id" in message:
                    answer: Object = json.loads(await reader.readline())
                    if "result" in answer:
                        results[answer["id"]] = answer["result"]
    finally:
        writer.close()
        await serving
    return results
