"""The two ends of a pipe on their own: how much is taken from a client that takes less itself."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCRequest, jsonrpc_message_adapter

from llmspell.bridge.hello import MAX_MESSAGE, PONG
from llmspell.endpoints.mcp.streams import (
    AT_ONCE,
    MOST_UNANSWERED,
    MOST_UNANSWERED_BYTES,
    MOST_UNREAD_BYTES,
    MessageReader,
    MessageWriter,
    Piped,
)
from llmspell.security.principals import local_caller

SECONDS = 20.0
LARGE = MOST_UNREAD_BYTES + (4 << 20)
"""More than the buffers of the system take besides."""


@dataclass
class Ends:
    """The server's end of a pipe, read by hand, and the client's."""

    input: MessageReader
    output: MessageWriter
    client: asyncio.StreamReader
    to_server: asyncio.StreamWriter

    def ask(self, id: int, *, size: int = 0) -> None:
        """Have the client send a request."""
        self.say({"id": id, "method": "ping", "params": {"x": "x" * size}})

    def say(self, message: dict[str, Any]) -> None:
        """Have the client send a message."""
        self.to_server.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def read(self) -> Any:
        """Return the next message that the server takes."""
        item = await self.input.receive()
        assert isinstance(item, SessionMessage)
        return item.message

    async def reading(self) -> asyncio.Task[Any]:
        """Return the taking of the next message, once it has got as far as it gets."""
        task = asyncio.ensure_future(self.read())
        for _ in range(1000):
            await asyncio.sleep(0)
        return task

    async def answer(self, id: int, *, size: int = 0) -> None:
        """Answer a request."""
        answer = {"jsonrpc": "2.0", "id": id, "result": {"x": "x" * size}}
        message = jsonrpc_message_adapter.validate_python(answer)
        await self.output.send(SessionMessage(message))


@asynccontextmanager
async def piped(bridge: str = "", pace: float = 0.0) -> AsyncGenerator[Ends]:
    ours, theirs = socket.socketpair()
    incoming, outgoing = await asyncio.open_connection(sock=theirs)
    client, to_server = await asyncio.open_connection(sock=ours, limit=1 << 26)
    output = MessageWriter(outgoing)
    try:
        async with asyncio.timeout(SECONDS):
            reader = MessageReader(incoming, output, Piped(local_caller("mcp"), bridge), pace=pace)
            yield Ends(reader, output, client, to_server)
    finally:
        to_server.close()
        await output.aclose()


async def test_one_request_too_many_waits_until_another_was_answered() -> None:
    async with piped() as ends:
        for number in range(MOST_UNANSWERED):
            ends.ask(number)
            await ends.read()
        ends.ask(MOST_UNANSWERED)
        reading = await ends.reading()
        assert not reading.done()
        await ends.answer(7)
        assert (await reading).id == MOST_UNANSWERED


async def test_what_is_no_request_is_heard_however_many_are_under_way() -> None:
    async with piped() as ends:
        for number in range(MOST_UNANSWERED):
            ends.ask(number)
            await ends.read()
        ends.say({"id": 1, "result": {}})
        assert (await ends.read()).result == {}
        ends.say({"method": "notifications/cancelled", "params": {"requestId": 3}})
        assert (await ends.read()).method == "notifications/cancelled"
        ends.ask(MOST_UNANSWERED)  # in the room of what was cancelled
        assert (await ends.read()).id == MOST_UNANSWERED


async def test_requests_under_way_have_a_size_together_and_one_alone_may_have_any() -> None:
    size = MAX_MESSAGE - 1000
    fitting = MOST_UNANSWERED_BYTES // size
    async with piped() as ends:
        for number in range(fitting + 1):
            ends.ask(number, size=size)
            reading = await ends.reading() if number == fitting else None
            if reading is None:
                await ends.read()
            else:
                assert not reading.done()
                await ends.answer(0)
                assert (await reading).id == fitting


async def test_a_client_that_reads_nothing_is_asked_nothing_more_until_it_reads() -> None:
    async with piped() as ends:
        ends.ask(0)
        await ends.read()
        line = cast("asyncio.Transport", ends.to_server.transport)
        line.pause_reading()
        sending = asyncio.ensure_future(ends.answer(0, size=LARGE))
        ends.ask(1)
        reading = await ends.reading()
        assert not reading.done()
        line.resume_reading()
        assert len(await ends.client.readline()) > LARGE
        assert (await reading).id == 1
        await sending


@pytest.mark.parametrize("bridge", ["", "b-1"])
async def test_a_bridge_whose_request_waits_is_given_signs_of_life(bridge: str) -> None:
    async with piped(bridge) as ends:
        for number in range(MOST_UNANSWERED + 1):
            ends.ask(number)
        for _ in range(MOST_UNANSWERED):
            await ends.read()
        reading = await ends.reading()
        if bridge:
            assert await ends.client.readline() == PONG + b"\n"
        assert not reading.done()
        await ends.answer(0)
        await reading


async def test_a_client_that_leaves_while_its_request_waits_is_noticed() -> None:
    async with piped("b-1") as ends:
        for number in range(MOST_UNANSWERED + 1):
            ends.ask(number)
        for _ in range(MOST_UNANSWERED):
            await ends.read()
        reading = await ends.reading()
        ends.to_server.transport.abort()
        await reading


async def test_beyond_a_few_a_request_waits_for_an_answer_to_one_before_it() -> None:
    async with piped(pace=60) as ends, asyncio.timeout(SECONDS):
        for id in range(AT_ONCE + 1):
            ends.ask(id)
        for id in range(AT_ONCE):
            assert (await ends.read()).id == id
        reading = await ends.reading()
        assert not reading.done()
        await ends.answer(3)
        assert (await reading).id == AT_ONCE


async def test_a_request_does_not_wait_for_answers_that_take_long() -> None:
    async with piped(pace=0.001) as ends, asyncio.timeout(SECONDS):
        for id in range(3 * AT_ONCE):
            ends.ask(id)
        assert [(await ends.read()).id for _ in range(3 * AT_ONCE)] == list(range(3 * AT_ONCE))


@pytest.mark.parametrize("line", [b"garbage", b'{"jsonrpc":"2.0","method":"notifications/x"}'])
async def test_whoever_sends_without_end_leaves_everybody_else_a_turn(line: bytes) -> None:
    count = 100 * AT_ONCE
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with piped() as ends, asyncio.timeout(SECONDS):
        ends.to_server.write((line + b"\n") * count)
        ends.ask(1)
        other = asyncio.ensure_future(take_turns())
        while not isinstance(await ends.read(), JSONRPCRequest):
            pass
        other.cancel()
        assert turns >= count // AT_ONCE
