"""The two ends of a pipe on their own: what is taken from a client that takes nothing itself."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import cast

from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest, jsonrpc_message_adapter

from llmspell.endpoints.mcp.streams import (
    MOST_UNANSWERED,
    MessageReader,
    MessageWriter,
    Piped,
)
from llmspell.security.principals import local_caller

SECONDS = 10.0


def request(id: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "ping"}).encode() + b"\n"


async def test_who_owes_many_answers_and_reads_none_is_read_no_further_until_then() -> None:
    ours, theirs = socket.socketpair()
    incoming, outgoing = await asyncio.open_connection(sock=theirs)
    client, to_server = await asyncio.open_connection(sock=ours, limit=1 << 26)
    line = cast("asyncio.Transport", to_server.transport)
    output = MessageWriter(outgoing)
    reader = MessageReader(incoming, output, Piped(local_caller("mcp")))
    async with asyncio.timeout(SECONDS):
        for number in range(MOST_UNANSWERED):
            to_server.write(request(number))
            item = await reader.receive()
            assert isinstance(item, SessionMessage)
            assert isinstance(item.message, JSONRPCRequest)
        to_server.write(request(MOST_UNANSWERED))
        assert isinstance(await reader.receive(), SessionMessage)  # it may yet read
        line.pause_reading()
        answer = {"jsonrpc": "2.0", "id": 0, "result": {"x": "x" * (16 << 20)}}
        sending = asyncio.ensure_future(
            output.send(SessionMessage(jsonrpc_message_adapter.validate_python(answer)))
        )
        to_server.write(request(MOST_UNANSWERED + 1))
        receiving = asyncio.ensure_future(reader.receive())
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not receiving.done()
        line.resume_reading()
        assert len(await client.readline()) > 16 << 20
        await asyncio.gather(sending, receiving)
    to_server.close()
    await output.aclose()
