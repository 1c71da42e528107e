"""A host with a few small spells, and a raw MCP client on a pipe, for tests of the MCP door."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.mcp.stdio import serve_stream
from llmspell.host.host import Host
from llmspell.runs.record import Run
from llmspell.security.principals import local_caller

SECONDS = 20.0
"""Bound of every wait."""

MODERN = "2026-07-28"
LEGACY = "2025-11-25"

CONTROL_TOOLS = ["cast", "run_cancel", "run_result"]
"""What is listed beside a few spells."""

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
}

SPELLS = {
    "echo": """
-- Say a text back.
return Spell.create {
  title = "Echo", read_only = true, open_world = false,
  input = { text = Schema.string "What to say" },
  run = function(input) return input.text end,
}
""",
    "count": """
-- Count the words of a text.
return Spell.create {
  input = { text = Schema.string "The text to count" },
  output = { words = Schema.integer "Number of words" },
  read_only = true, open_world = false,
  run = function(input)
    local _, words = input.text:gsub("%S+", "")
    return { words = words }
  end,
}
""",
    "fails": """
-- Always raises an error.
return Spell.create {
  input = {}, read_only = true, open_world = false,
  run = function() error { code = "no.luck", message = "no luck today", hint = "try tomorrow" } end,
}
""",
    "steps": """
-- Reports progress three times.
return Spell.create {
  input = {}, read_only = true, open_world = false,
  run = function(_, ctx)
    for step = 1, 3 do ctx:progress(step, 3, "step " .. step) end
    return "done"
  end,
}
""",
    "waits": """
-- Waits for a minute.
return Spell.create {
  input = {}, read_only = true, open_world = false,
  run = function(_, ctx)
    ctx:progress(1, 2, "waiting")
    sleep(60)
    return "late"
  end,
}
""",
    "who": """
-- Say who is calling.
return Spell.create {
  input = {}, read_only = true, open_world = false,
  run = function(_, ctx)
    return { user = ctx.user, session = ctx.session, message = ctx.message }
  end,
}
""",
}


def write_spell(directory: Path, name: str, source: str) -> None:
    """Write `spells/NAME.lua` of a project."""
    (directory / "spells").mkdir(parents=True, exist_ok=True)
    (directory / "spells" / f"{name}.lua").write_text(source.lstrip(), encoding="utf-8")


@asynccontextmanager
async def open_host(
    directory: Path,
    spells: Mapping[str, str] = SPELLS,
    *,
    watch: bool = False,
    settings: str = "",
) -> AsyncGenerator[Host]:
    """Open a project with these spells and nothing from outside it, its state in memory.

    Args:
        settings: The text of its `llmspell.toml`.
    """
    (directory / "llmspell.toml").write_text(settings, encoding="utf-8")
    (directory / "spells").mkdir(exist_ok=True)
    for name, source in spells.items():
        write_spell(directory, name, source)
    environ = {"HOME": str(directory), "LLMSPELL_ALLOW_NETWORK": "0"}
    async with Host.open(directory, state="memory", watch=watch, environ=environ) as host:
        yield host


async def ended_run(host: Host) -> Run:
    """Return the record of the only run, once it has ended."""
    async with asyncio.timeout(SECONDS):
        while True:
            for run in (await host.runs(caller=local_caller())).runs:
                if run.is_final:
                    return run
            await asyncio.sleep(0)  # its task goes on


class Pipe:
    """The client's end of a pipe: one JSON message a line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._ids = itertools.count(1)

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def send(self, method: str, params: dict[str, Any] | None = None, **rest: Any) -> None:
        """Send a message; with `id=` it is a request."""
        message = {"jsonrpc": "2.0", **rest, "method": method}
        if params is not None:
            message["params"] = params
        await self.write(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            EOFError: The server closed the pipe.
        """
        async with asyncio.timeout(SECONDS):
            line = await self.reader.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    async def request(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return the next message, which must answer it."""
        number = next(self._ids)
        await self.send(method, params, id=number)
        answer = await self.receive()
        assert answer.get("id") == number, answer
        return answer

    async def initialize(self) -> dict[str, Any]:
        """Complete the handshake of the legacy era and return the server's answer."""
        answer = await self.request(
            "initialize",
            {
                "protocolVersion": LEGACY,
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            },
        )
        await self.send("notifications/initialized")
        return answer


@asynccontextmanager
async def pipe_to(endpoint: McpEndpoint, *, bridge: str = "") -> AsyncGenerator[Pipe]:
    """Serve a socket pair and return its other end, that of a bridge when it is named."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    serving = asyncio.ensure_future(serve_stream(reader, writer, endpoint, bridge=bridge))
    # Room for answers of any size on one line.
    client = Pipe(*await asyncio.open_connection(sock=ours, limit=64 << 20))
    try:
        yield client
    finally:
        client.writer.close()
        async with asyncio.timeout(SECONDS):
            await serving


Received: TypeAlias = "MemoryObjectReceiveStream[SessionMessage | Exception]"
Sent: TypeAlias = "MemoryObjectSendStream[SessionMessage]"


@asynccontextmanager
async def client_transport(endpoint: McpEndpoint) -> AsyncGenerator[tuple[Received, Sent]]:
    """Serve a socket pair; yield its other end as the streams an official `Client` takes."""
    incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_send, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    async with pipe_to(endpoint) as pipe:

        async def read() -> None:
            async with incoming:
                while line := await pipe.reader.readline():
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                    await incoming.send(SessionMessage(message))

        async def write() -> None:
            async with outgoing:
                async for item in outgoing:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await pipe.write(text.encode() + b"\n")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(write)
            yield received, to_send
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def raw_pipe(
    directory: Path, spells: Mapping[str, str] = SPELLS
) -> AsyncGenerator[tuple[Host, Pipe]]:
    """Open a host and a pipe to it."""
    async with open_host(directory, spells) as host:
        endpoint = McpEndpoint(host)
        try:
            async with pipe_to(endpoint) as pipe:
                yield host, pipe
        finally:
            await endpoint.close()
