"""MCP `tools/call` of an echo: a Lua spell of llmspell, the bare SDK, FastMCP.

    python benchmarks/mcp_echo.py

Each server is a process of its own on a free loopback port. The same raw client
sends the same request of protocol 2026-07-28 on one connection; what is counted
is the CPU time of the server and all its processes. For llmspell that includes
a fresh Lua state in a worker process for every call; the others call a Python
function.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import in_turn, table
from servers import TOKEN, ServerProcess, free_port, llmspell_command, serving

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
VERSION = "2026-07-28"
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "echo",
            "arguments": {"text": "hello"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": VERSION,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            },
        },
    }
).encode()


def serve_sdk(port: int) -> None:
    """Serve the SDK's low-level server with a Python handler."""
    import mcp_types as types
    import uvicorn
    from mcp.server.lowlevel import Server

    tools = [types.Tool(name="echo", description="Say a text back.", input_schema=SCHEMA)]

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(_: Any, params: Any) -> types.CallToolResult:
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=params.arguments["text"])]
        )

    server = Server(
        "bench",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=lambda _: SCHEMA,
    )
    uvicorn.run(server.streamable_http_app(), port=port, log_level="error", access_log=False)


def serve_fastmcp(port: int) -> None:
    """Serve FastMCP with a decorated Python function."""
    import uvicorn
    from fastmcp import FastMCP

    server = FastMCP("bench")

    @server.tool
    async def echo(text: str) -> str:
        """Say a text back."""
        return text

    uvicorn.run(server.http_app(), port=port, log_level="error", access_log=False)


def calls(server: ServerProcess, token: str = "") -> Callable[[int], tuple[float, float]]:
    """Return what makes `count` calls, one after the other, and says what they took."""

    def run(count: int) -> tuple[float, float]:
        before, began = server.cpu(), time.perf_counter()
        asyncio.run(_calls(server.port, token, count))
        wall = time.perf_counter() - began
        return server.cpu() - before, wall

    return run


async def _calls(port: int, token: str, count: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {VERSION}\r\nMcp-Method: tools/call\r\nMcp-Name: echo\r\n"
        + (f"Authorization: Bearer {token}\r\n" if token else "")
        + f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode()
    for _ in range(count):
        writer.write(head + BODY)
        body = await _response(reader)
        if b'"hello"' not in body:
            raise SystemExit(f"port {port} answered: {body[:300]!r}")
    writer.close()


async def _response(reader: asyncio.StreamReader) -> bytes:
    headers = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length:" in headers:
        length = int(headers.split(b"content-length:")[1].split(b"\r\n")[0])
        return await reader.readexactly(length)
    body = b""
    while True:
        size = int(await reader.readline(), 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            return body


def main() -> None:
    """Start the servers, measure them in turn, print the table."""
    with tempfile.TemporaryDirectory() as directory:
        ports = [free_port(), free_port()]
        commands = [
            ([sys.executable, __file__, kind, str(port)], port)
            for kind, port in zip(("sdk", "fastmcp"), ports, strict=True)
        ]
        with serving(*commands, llmspell_command(Path(directory), free_port())) as servers:
            figures = in_turn(
                [
                    ("bare SDK, Python handler", calls(servers[0])),
                    ("FastMCP, Python function", calls(servers[1])),
                    ("llmspell, Lua spell in a worker", calls(servers[2], TOKEN)),
                ],
                count=200,
            )
    table("MCP tools/call of an echo over HTTP, one connection", figures, base=figures[0].name)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sdk", port]:
            serve_sdk(int(port))
        case ["fastmcp", port]:
            serve_fastmcp(int(port))
        case _:
            main()
