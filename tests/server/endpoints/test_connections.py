"""Connections whose clients keep the server waiting: they end, and everybody else is served.

Time is what a test says, except where the server's own looking is the subject.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from llmspell.cli.owning import HttpDoor
from llmspell.config import ServerSettings
from llmspell.endpoints.connections import MAX_HEAD, PatientProtocol
from llmspell.endpoints.patience import ConnectionLimits, PatientState
from tests.support.mcp import SECONDS, SPELLS, open_host

HEAD = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n"
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


@dataclass
class Application:
    """An application that echoes bodies once it may."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    heard: list[bytes] = field(default_factory=list[bytes])
    has_begun: bool = False
    answer: bytes = b"done"
    streams: bool = False
    """Whether an answer is begun at once, and goes on until it may end or its client has left."""
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.has_begun = True
        while (message := await receive())["type"] == "http.request":
            self.heard.append(message["body"])
            if not message["more_body"]:
                if self.streams:
                    await self._stream(receive, send)
                    return
                await self.may_answer.wait()
                length = str(len(self.answer)).encode()
                headers = [(b"content-length", length)]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": self.answer})
                return

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        leaving = asyncio.ensure_future(self._watch(receive))
        answering = asyncio.ensure_future(self.may_answer.wait())
        await asyncio.wait([leaving, answering], return_when=asyncio.FIRST_COMPLETED)
        for waiting in (leaving, answering):
            waiting.cancel()
        await send({"type": "http.response.body", "body": b"last"})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


@dataclass
class Site:
    """A server whose connections are looked at when a test says so."""

    port: int
    state: PatientState
    application: Application

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """Connect, and wait until the server knows."""
        before = set(self.state.connections)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await soon(lambda: len(self.state.connections) > len(before))
        [protocol] = set(self.state.connections) - before
        assert isinstance(protocol, PatientProtocol)
        try:
            yield Client(reader, writer, protocol)
        finally:
            writer.transport.abort()


@dataclass
class Client:
    """One connection, seen from both ends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: PatientProtocol

    async def send(self, data: bytes, arrived: Callable[[], bool]) -> None:
        """Send bytes and wait until they have arrived."""
        self.writer.write(data)
        await soon(arrived)

    async def rest(self) -> bytes:
        """Return what is sent until the connection is closed."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.read()

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it."""
        return not self.protocol.transport.is_closing()


async def soon(holds: Callable[[], bool]) -> None:
    """Return once something holds."""
    async with asyncio.timeout(SECONDS):
        while True:
            if holds():
                return
            await asyncio.sleep(0)  # the socket goes on


@pytest.fixture
async def site() -> AsyncGenerator[Site]:
    application = Application()
    state = PatientState(ConnectionLimits(connections=2, request_within=20))
    config = uvicorn.Config(application, http=PatientProtocol, log_config=None, lifespan="off")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: PatientProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        yield Site(server.sockets[0].getsockname()[1], state, application)


async def test_half_a_head_is_refused_however_its_bytes_trickle(site: Site) -> None:
    async with site.client() as client:
        await client.send(HEAD, lambda: bool(client.protocol.scope))
        client.protocol.look(100)
        before = len(client.protocol.headers)
        await client.send(b"a: b\r\nc", lambda: len(client.protocol.headers) > before)
        client.protocol.look(119)
        assert client.is_open
        client.protocol.look(120)
        answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer


async def test_a_connection_that_says_nothing_is_closed_without_a_word(site: Site) -> None:
    async with site.client() as client:
        client.protocol.look(100)
        client.protocol.look(119)
        assert client.is_open
        client.protocol.look(120)
        assert await client.rest() == b""


async def test_a_body_that_stalls_is_refused_and_one_that_goes_on_is_not(site: Site) -> None:
    site.application.may_answer.set()
    async with site.client() as client:
        await client.send(HEAD + b"content-length: 4\r\n\r\n", lambda: site.application.has_begun)
        for number, time in enumerate((100, 119, 138)):
            heard = len(site.application.heard)
            await client.send(b"x", lambda heard=heard: len(site.application.heard) > heard)
            client.protocol.look(time)
            assert client.is_open, number
        client.protocol.look(157)
        assert client.is_open
        client.protocol.look(158)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_request_that_is_worked_on_is_waited_for_as_long_as_it_takes(site: Site) -> None:
    async with site.client() as client:
        await client.send(GET, lambda: bool(site.application.heard))
        for time in (100, 200, 300):
            client.protocol.look(time)
        site.application.may_answer.set()
        async with asyncio.timeout(SECONDS):
            assert (await client.reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        assert client.is_open


async def test_the_next_head_of_a_connection_has_its_own_time(site: Site) -> None:
    site.application.may_answer.set()
    async with site.client() as client:
        for time in (100, 119, 138):
            await client.send(GET[:-2], lambda: client.protocol.timeout_keep_alive_task is None)
            client.protocol.look(time)
            client.writer.write(GET[-2:])
            async with asyncio.timeout(SECONDS):
                await client.reader.readuntil(b"done")
        assert client.is_open
        client.protocol.look(200)  # idle between two requests: uvicorn's own time
        client.protocol.look(300)
        assert client.is_open
        await client.send(b"GET", lambda: client.protocol.timeout_keep_alive_task is None)
        client.protocol.look(400)
        client.protocol.look(420)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(site: Site) -> None:
    site.application.answer = b"x" * (32 << 20)  # more than the buffers of both systems hold
    site.application.may_answer.set()
    async with site.client() as client:
        cast("asyncio.Transport", client.writer.transport).pause_reading()
        await client.send(GET, lambda: client.protocol.flow.write_paused)
        await still(client.protocol.transport.get_write_buffer_size)
        client.protocol.look(100)
        client.protocol.look(119)
        assert client.is_open
        client.protocol.look(120)
        await soon(lambda: client.protocol not in site.state.connections)


async def still(size: Callable[[], int]) -> None:
    """Return once a size does not change any more."""
    async with asyncio.timeout(SECONDS):
        last, same = -1, 0
        while same < 1000:
            await asyncio.sleep(0)
            last, same = size(), same + 1 if size() == last else 0


async def test_a_head_without_an_end_is_refused_before_it_fills_the_memory(site: Site) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", site.port))
        async with asyncio.timeout(SECONDS):
            with suppress(ConnectionError):  # what was sent after it was refused
                await loop.sock_sendall(client, HEAD + b"x: " + b"y" * (2 * MAX_HEAD))
            answer = await loop.sock_recv(client, 1000)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_long_head_within_the_limit_is_read(site: Site) -> None:
    site.application.may_answer.set()
    async with site.client() as client:
        client.writer.write(GET[:-2] + b"x: " + b"y" * (MAX_HEAD // 2) + b"\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            assert (await client.reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")


async def test_a_head_behind_a_long_body_is_not_as_long_as_that(site: Site) -> None:
    site.application.may_answer.set()
    async with site.client() as client:
        size = 2 * MAX_HEAD
        body = HEAD + b"content-length: %d\r\n\r\n" % size + b"x" * size
        client.protocol.data_received(body + GET[:-2])  # as one piece, which a socket may cut
        await client.send(GET[-2:], lambda: len(site.application.heard) > 1)
        async with asyncio.timeout(SECONDS):
            for _ in range(2):
                answer = await client.reader.readuntil(b"done")
                assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_request_hears_that_its_client_left_though_another_waits_behind_it(
    site: Site,
) -> None:
    site.application.streams = True
    async with site.client() as client:
        client.writer.write(GET + GET)
        async with asyncio.timeout(SECONDS):
            await client.reader.readuntil(b"first")
    async with asyncio.timeout(SECONDS):
        await site.application.left.wait()


async def test_a_request_that_stalls_behind_another_is_waited_for_from_its_turn_on(
    site: Site,
) -> None:
    site.application.streams = True
    async with site.client() as client:
        client.writer.write(GET)
        async with asyncio.timeout(SECONDS):
            await client.reader.readuntil(b"first")
        first = client.protocol.cycle
        stalls = HEAD + b"content-length: 4\r\n\r\nx"
        await client.send(stalls, lambda: client.protocol.cycle is not first)
        client.protocol.look(100)
        client.protocol.look(200)
        site.application.may_answer.set()
        await soon(lambda: len(site.application.heard) > 1)
        client.protocol.look(300)
        client.protocol.look(320)
        answers = await client.rest()
    assert answers.index(b"last") < answers.index(b"HTTP/1.1 408 ")


async def test_one_connection_too_many_is_refused_until_another_has_ended(site: Site) -> None:
    async with site.client() as first, site.client():
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        async with asyncio.timeout(SECONDS):
            assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        first.writer.close()
        await soon(lambda: len(site.state.connections) == 1)
        async with site.client() as another:
            assert another.is_open


async def test_the_server_looks_at_its_connections_as_the_settings_say(tmp_path: Path) -> None:
    settings = ServerSettings(port=0, auth="none", connections=1, request_within=0.1)
    async with open_host(tmp_path, SPELLS) as host:
        server = await HttpDoor(host).open(settings)
        try:
            async with asyncio.timeout(SECONDS):
                first, second = [
                    await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)
                ]
                assert (await second[0].read()).startswith(b"HTTP/1.1 503 ")
                first[1].write(HEAD)
                assert (await first[0].read()).startswith(b"HTTP/1.1 408 ")
                for _, writer in (first, second):
                    writer.close()
                answer = await get(server.port)
            assert answer.startswith(b"HTTP/1.1 200 ")
        finally:
            await server.close()


def test_a_process_may_open_as_many_files_as_it_serves_connections() -> None:
    program = """
import resource
from llmspell.endpoints.connections import allow_descriptors
from llmspell.endpoints.patience import ConnectionLimits
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_descriptors(ConnectionLimits(connections=500))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] in (500 + 1024, hard))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n"


async def get(port: int) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer
