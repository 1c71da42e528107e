"""WebSocket connections on bare sockets: those that ask wrongly, and those that read nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from llmspell.endpoints.app import HttpServer, serve_http
from llmspell.endpoints.auth.token import TokenAuthenticator
from llmspell.endpoints.patience import ConnectionLimits
from tests.support.mcp import SECONDS, open_host
from tests.support.raw_http import Connection

UPGRADE = {
    "host": "localhost",
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-protocol": "a2a.v1",
    "authorization": "Bearer s3cret",
    "a2a-version": "1.0",
}


@asynccontextmanager
async def serving(directory: Path, within: float = 20) -> AsyncGenerator[HttpServer]:
    async with open_host(directory) as host:
        limits = ConnectionLimits(request_within=within)
        auth = TokenAuthenticator("s3cret")
        server = await serve_http(host, port=0, auth=auth, connections=limits)
        try:
            yield server
        finally:
            async with asyncio.timeout(SECONDS):
                await server.close()


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"content-length": "2"}, 400),
        ({"transfer-encoding": "chunked"}, 400),
        ({"x-long": "y" * 10_000}, 431),
        ({f"x-{number}": "y" for number in range(200)}, 431),
    ],
    ids=["a body", "chunks", "a long line", "many lines"],
)
async def test_an_upgrade_that_cannot_be_read_is_answered_and_its_connection_ends(
    tmp_path: Path, more: dict[str, str], status: int
) -> None:
    async with serving(tmp_path) as server:
        connection = await Connection.to(server.port)
        try:
            async with asyncio.timeout(SECONDS):
                answer = await connection.request("GET", "/a2a/ws", {**UPGRADE, **more})
                assert answer.status == status
                await answer.read()
                assert await connection.is_ended()
        finally:
            connection.abort()
        await server.close()
        await server.wait()  # and nothing has gone wrong


async def test_a_socket_whose_client_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path, within=0.2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 10)
        head = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
        writer.write(f"GET /a2a/ws HTTP/1.1\r\n{head}\r\n".encode())
        async with asyncio.timeout(SECONDS):
            await reader.readuntil(b"\r\n\r\n")
            cast("asyncio.Transport", writer.transport).pause_reading()
            # Each is answered with an error that repeats its id.
            frame = _frame(json.dumps({"jsonrpc": "2.0", "id": "x" * 50_000, "method": "no"}))
            with pytest.raises(ConnectionError):
                await _send_for_ever(writer, frame)
        writer.transport.abort()


async def _send_for_ever(writer: asyncio.StreamWriter, frame: bytes) -> None:
    while True:
        writer.write(frame)
        await writer.drain()


def _frame(text: str) -> bytes:
    """Return a text frame of a client (RFC 6455 5.2), masked with zeros."""
    data = text.encode()
    return b"\x81" + bytes([0x80 | 126]) + len(data).to_bytes(2, "big") + bytes(4) + data
