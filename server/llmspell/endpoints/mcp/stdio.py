"""MCP over a pipe: one JSON-RPC message a line, both protocol eras on the same stream.

As over HTTP, each request's own envelope decides its era; nothing locks the
stream. So a client that probes with `server/discover` and then still sends
`initialize` (Claude Code does) is served, where the SDK's own loop refuses it.

Nothing but JSON-RPC is ever written. A line that is not JSON-RPC is answered
with an error, and so is one longer than `MAX_MESSAGE`; the stream lives on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, aclose_shielded, modern_on_request
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR, PROTOCOL_VERSION_META_KEY
from pydantic import ValidationError

from llmspell.endpoints.mcp.piped_calls import PipedCalls
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.endpoints.mcp.streams import MessageReader, MessageWriter, Piped
from llmspell.host.interface import DoorHost
from llmspell.security.principals import Caller, local_caller

_CHUNK = 256 << 10

_log = logging.getLogger(__name__)


async def serve_stream(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    endpoint: McpEndpoint,
    *,
    caller: Caller | None = None,
    bridge: str = "",
) -> None:
    """Serve one client over a pair of streams until it closes its side; closes `writer`.

    Calls still under way a second after that are given up; their runs go on to their end,
    because a pipe that breaks is no cancel.

    Args:
        caller: Who is at the other end; the owner of this process when None.
        bridge: The id under which a bridge asks; "" when the client itself is at the other end.
    """
    output = MessageWriter(writer)
    piped = Piped(caller or local_caller("mcp"), bridge)
    dispatcher: JSONRPCDispatcher[TransportContext] = JSONRPCDispatcher(
        MessageReader(reader, output, piped),
        output,
        # A client may send its first request before it has the answer to initialize.
        inline_methods=frozenset({"initialize"}),
    )
    connection = Connection.for_loop(dispatcher)
    legacy = ServerRunner(endpoint.server, connection, dict[str, Any]())
    modern = modern_on_request(endpoint.server, dict[str, Any]())
    calls = PipedCalls(endpoint)

    async def on_request(
        context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        try:
            if method == "initialize" or not _is_modern(params):
                if method == "tools/call" and connection.initialize_accepted:
                    return await calls.serve_initialized(context, connection, params)
                return await legacy.on_request(context, method, params)
            route = classify_inbound_request({"method": method, "params": params})
            if isinstance(route, InboundLadderRejection):
                raise MCPError(route.code, route.message, route.data)
            if method == "tools/call":
                return await calls.serve(context, params)
            return await modern(context, method, params)
        except (MCPError, ValidationError):
            raise  # the dispatcher has the error codes of these
        except Exception:
            # The edge of the product: the dispatcher would send the exception's text.
            _log.exception("the request %r failed inside llmspell", method)
            raise MCPError(INTERNAL_ERROR, "Internal error") from None
        finally:
            if piped.cancelled:
                piped.forget(context.request_id)

    try:
        await dispatcher.run(on_request, legacy.on_notify)
    finally:
        await aclose_shielded(connection)


def _is_modern(params: Mapping[str, Any] | None) -> bool:
    """Return whether a request carries the envelope of 2026-07-28, whole or not."""
    meta = params.get("_meta") if params else None
    return isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta


async def serve_stdio(host: DoorHost, *, bundle: str = "") -> None:
    """Serve one client on this process's own stdin and stdout until stdin ends.

    What could print while it starts wants `standard_streams` around itself
    instead, and `serve_stream` inside.

    Args:
        bundle: Whose spells are served; "" = everything.
    """
    endpoint = McpEndpoint(host, bundle=bundle)
    try:
        async with standard_streams() as (reader, writer):
            await serve_stream(reader, writer, endpoint)
    finally:
        await endpoint.close()


@asynccontextmanager
async def standard_streams() -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Take stdin and stdout as the wire: from now on nothing else can read or write it.

    File descriptor 1 becomes stderr and 0 is empty, for good, so a stray print
    or a child process cannot reach the wire.
    """
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    pump: threading.Thread | None = None
    if not _can_be_awaited(sink):
        sink, pump = _pump_into(sink)
    try:
        reader = await _reader(source)
        writer = await _writer(sink)
        try:
            yield reader, writer
        finally:
            writer.close()
    finally:
        if pump is not None:
            # It ends once the pipe it reads from, closed with the writer, is empty.
            await asyncio.to_thread(pump.join)


def _can_be_awaited(descriptor: int) -> bool:
    """Return whether an event loop can wait for it: files and /dev/null it can't."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _pump_into(file: int) -> tuple[int, threading.Thread]:
    """Return the write end of a pipe whose content a thread copies to `file`."""
    source, sink = os.pipe()

    def copy() -> None:
        with os.fdopen(source, "rb", 0) as pipe, os.fdopen(file, "wb", 0) as target:
            while chunk := pipe.read(_CHUNK):
                target.write(chunk)

    thread = threading.Thread(target=copy, name="stdout", daemon=True)
    thread.start()
    return sink, thread


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    if _can_be_awaited(descriptor):
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
        )
    else:
        with os.fdopen(descriptor, "rb") as file:
            reader.feed_data(await asyncio.to_thread(file.read))
        reader.feed_eof()
    return reader


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(descriptor, "wb", 0))
    return asyncio.StreamWriter(transport, protocol, None, loop)
