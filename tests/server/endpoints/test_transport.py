from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from llmspell.endpoints.transport import HeadHoldingTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Pair:
    """A transport, and the socket at its other end."""

    def __init__(self, transport: HeadHoldingTransport, peer: socket.socket) -> None:
        self.transport = transport
        self._peer = peer

    def received(self) -> bytes:
        """Return what has arrived by now."""
        try:
            return self._peer.recv(1 << 16)
        except BlockingIOError:
            return b""

    async def ended(self) -> bytes:
        """Return all that arrives until the end."""
        async with asyncio.timeout(5):
            found = b""
            while part := await asyncio.get_running_loop().sock_recv(self._peer, 1 << 16):
                found += part
            return found


@pytest_asyncio.fixture
async def pair() -> AsyncGenerator[Pair]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    inner, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    with theirs:
        yield Pair(HeadHoldingTransport(inner), theirs)
        inner.abort()


async def test_a_head_waits_for_what_comes_right_behind_it(pair: Pair) -> None:
    pair.transport.write(HEAD)
    assert (pair.received(), pair.transport.get_write_buffer_size()) == (b"", len(HEAD))
    pair.transport.write(b"ok")
    assert pair.received() == HEAD + b"ok"


async def test_a_head_goes_out_alone_when_nothing_follows(pair: Pair) -> None:
    pair.transport.write(HEAD)
    await asyncio.sleep(0)
    assert pair.received() == HEAD
    pair.transport.write(b"data: 1\n\n")
    assert pair.received() == b"data: 1\n\n"


async def test_what_is_no_head_is_never_held(pair: Pair) -> None:
    pair.transport.write(b"part")
    assert pair.received() == b"part"


@pytest.mark.parametrize(("ending", "arrives"), [("close", HEAD), ("abort", b"")])
async def test_closing_sends_what_is_held_and_aborting_does_not(
    pair: Pair, ending: str, arrives: bytes
) -> None:
    pair.transport.write(HEAD)
    getattr(pair.transport, ending)()
    assert await pair.ended() == arrives
