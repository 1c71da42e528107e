"""The owner's socket: hellos, roles, and when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from llmspell.bridge.hello import PROTOCOL
from llmspell.bridge.meeting import connect
from llmspell.clock import ManualClock
from llmspell.host.host import Host
from llmspell.host.interface import DoorHost
from llmspell.host.listening import Listener
from llmspell.host.owner import Hello, Owner
from tests.support.hosts import open_host
from tests.support.lacking import lacking
from tests.support.servers import make_project

SECONDS = 10
CONNECT = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as wire:
    wire.connect(sys.argv[1])
    try:
        wire.sendall(sys.argv[2].encode() + b"\\n")
        heard = wire.recv(100)
    except ConnectionError:
        heard = b""
print("heard", heard.decode() or "nothing")
"""


@pytest.fixture
async def host(tmp_path: Path) -> AsyncGenerator[DoorHost]:
    project = make_project(tmp_path / "project", ("hello",))
    async with Host.open(project, state="memory", watch=False, environ={}) as opened:
        yield opened


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Hello) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


@asynccontextmanager
async def serving(owner: Owner) -> AsyncGenerator[asyncio.Task[None]]:
    ready = asyncio.Event()
    async with asyncio.timeout(SECONDS):
        task = asyncio.create_task(owner.serve(ready.set))
        await ready.wait()
        try:
            yield task
        finally:
            owner.stop()
            await task


async def say(state: Path, *lines: bytes) -> list[Any]:
    """Write lines to the socket and return what comes back until it ends."""
    reader, writer = await asyncio.open_unix_connection(state / "s.sock")
    writer.write(b"".join(line + b"\n" for line in lines))
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return [json.loads(line) for line in answer.splitlines()]


def hello(role: str, protocol: int = PROTOCOL) -> bytes:
    return json.dumps({"protocol": protocol, "build": "x", "pid": 1, "role": role}).encode()


async def test_a_role_is_served_after_both_have_said_hello(host: DoorHost, tmp_path: Path) -> None:
    owner = Owner(host, Listener(tmp_path, {}))
    owner.roles["echo"] = echo
    async with serving(owner):
        greeting, answer = await say(tmp_path, hello("echo"), b'"shout"')
    assert greeting["protocol"] == PROTOCOL
    assert greeting["pid"] == os.getpid()
    assert answer == "SHOUT"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (hello("nosuch"), "usage.invalid"),
        (hello("echo", 99), "owner.version"),
        (b"not json", "usage.invalid"),
        (b'{"role": "echo"}', "usage.invalid"),
        (b'{"x": "' + b"y" * 5000 + b'"}', "usage.invalid"),
    ],
    ids=["role", "protocol", "no json", "no hello", "long"],
)
async def test_a_hello_that_cannot_be_served_is_answered_with_an_error(
    host: DoorHost, tmp_path: Path, line: bytes, code: str
) -> None:
    owner = Owner(host, Listener(tmp_path, {}))
    owner.roles["echo"] = echo
    async with serving(owner):
        (answer,) = await say(tmp_path, line)
        assert answer["error"]["code"] == code
        assert answer["pid"] == os.getpid()
        assert len(await say(tmp_path, hello("echo"))) == 1


async def test_a_connection_without_a_hello_harms_nobody(host: DoorHost, tmp_path: Path) -> None:
    owner = Owner(host, Listener(tmp_path, {}))
    owner.roles["echo"] = echo
    async with serving(owner):
        assert await say(tmp_path) == []
        assert len(await say(tmp_path, hello("echo"))) == 1


async def test_a_fault_on_one_connection_leaves_the_others(
    host: DoorHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Hello) -> None:
        raise RuntimeError("planted")

    owner = Owner(host, Listener(tmp_path, {}))
    owner.roles |= {"echo": echo, "broken": broken}
    async with serving(owner):
        await say(tmp_path, hello("broken"))
        assert len(await say(tmp_path, hello("echo"), b"1")) == 2
    assert "planted" in caplog.text


async def test_the_socket_appears_when_it_accepts_and_is_gone_when_it_does_not(
    host: DoorHost, tmp_path: Path
) -> None:
    (tmp_path / "s.sock").write_text("left over", encoding="utf-8")
    owner = Owner(host, Listener(tmp_path, {}))
    async with serving(owner):
        assert (tmp_path / "s.sock").is_socket()
        assert (tmp_path / "s.sock").stat().st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(tmp_path) if name.startswith("s.")] == []


async def test_stopping_ends_the_connections_there_are(host: DoorHost, tmp_path: Path) -> None:
    owner = Owner(host, Listener(tmp_path, {}))
    owner.roles["echo"] = echo
    async with serving(owner):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(hello("echo") + b"\n")
        await reader.readline()
    assert await reader.read() == b""
    writer.close()


async def test_a_newer_build_makes_it_end_and_an_older_one_does_not(
    host: DoorHost, tmp_path: Path
) -> None:
    def drain(build: str, protocol: int) -> bytes:
        said = {"protocol": protocol, "build": build, "pid": 1, "role": "drain"}
        return json.dumps(said).encode()

    owner = Owner(host, Listener(tmp_path, {}))
    owner.roles["echo"] = echo
    owner.farewells["echo"] = b"bye\n"
    async with serving(owner) as task:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(hello("echo") + b"\n")
        await reader.readline()
        for refused in (drain("0.0.1", PROTOCOL), drain("999.0", PROTOCOL - 1)):
            assert (await say(tmp_path, refused))[0]["error"]["code"] == "owner.version"
        assert not task.done()
        # Whatever its protocol.
        assert (await say(tmp_path, drain("0.0.1", PROTOCOL + 1)))[0]["pid"] == os.getpid()
        await task
        # Its clients go on with the next owner, so none is told that this one is stopped.
        assert await reader.read() == b""
        writer.close()
    assert not (tmp_path / "s.sock").exists()


async def test_whoever_is_connected_when_it_is_stopped_is_told_so(
    host: DoorHost, tmp_path: Path
) -> None:
    owner = Owner(host, Listener(tmp_path, {}))
    owner.roles["echo"] = echo
    owner.farewells["echo"] = b"bye\n"
    async with serving(owner):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(hello("echo") + b"\n")
        await reader.readline()
        owner.stop()
        assert await reader.read() == b"bye\n"
        writer.close()


async def test_who_dials_before_it_serves_is_let_in_and_waits(
    host: DoorHost, tmp_path: Path
) -> None:
    listener = Listener(tmp_path, {})
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
    writer.write(hello("echo") + b"\n")
    owner = Owner(host, listener)
    owner.roles["echo"] = echo
    async with serving(owner):
        assert json.loads(await reader.readline())["pid"] == os.getpid()
        writer.close()


def test_who_dials_just_before_it_stops_is_hung_up_on(tmp_path: Path) -> None:
    async def dial() -> None:
        async with open_host(tmp_path) as host:
            owner = Owner(host, Listener(tmp_path, {}))
            async with serving(owner) as task:
                dialled = [socket.socket(socket.AF_UNIX) for _ in range(20)]
                for each in dialled:
                    each.connect(os.fspath(tmp_path / "s.sock"))
                    each.setblocking(False)
                owner.stop()
                await task
                for each in dialled:
                    with each, suppress(ConnectionError):
                        assert await asyncio.get_running_loop().sock_recv(each, 1) == b""

    # The event loop of owners: others let nobody in so late.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(dial())


async def test_a_signal_stops_it_in_order(host: DoorHost, tmp_path: Path) -> None:
    owner = Owner(host, Listener(tmp_path, {}))
    async with owner.signals(), serving(owner) as task:
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert not (tmp_path / "s.sock").exists()


async def test_it_ends_when_nobody_has_needed_it_for_a_while(
    host: DoorHost, tmp_path: Path
) -> None:
    clock = ManualClock()
    owner = Owner(host, Listener(tmp_path, {}), idle_seconds=600, clock=clock)
    async with serving(owner) as task:
        await clock.sleeper()
        await clock.advance(599)
        assert not task.done()
        await clock.advance(1)
        await task


async def test_a_connection_keeps_it_alive_and_so_does_work(host: DoorHost, tmp_path: Path) -> None:
    clock = ManualClock()
    owner = Owner(host, Listener(tmp_path, {}), idle_seconds=600, clock=clock)
    owner.roles["echo"] = echo
    working = True

    async def at_work() -> bool:
        return working

    owner.reasons_to_stay.append(at_work)
    async with serving(owner) as task:
        meeting = await asyncio.to_thread(connect, tmp_path, "echo")
        assert meeting is not None
        await clock.sleeper()
        await clock.advance(5000)
        assert not task.done()
        streams = await asyncio.open_unix_connection(sock=meeting.socket)
        streams[1].write_eof()
        await streams[0].read()
        streams[1].close()
        await clock.advance(1300)
        assert not task.done()
        working = False
        await clock.advance(1300)
        await task


def test_another_user_is_refused_though_the_socket_can_be_reached(tmp_path: Path) -> None:
    if os.getuid() != 0:
        lacking("only root can connect as another user")

    async def serve() -> bytes:
        root = make_project(tmp_path / "project", ("hello",))
        async with Host.open(root, state="memory", watch=False, environ={}) as opened:
            owner = Owner(opened, Listener(place, {}))
            owner.roles["echo"] = echo
            async with serving(owner):
                (place / "s.sock").chmod(0o666)
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    CONNECT,
                    str(place / "s.sock"),
                    hello("echo").decode(),
                    stdout=asyncio.subprocess.PIPE,
                )
                said, _ = await process.communicate()
                assert process.returncode == 0
                return said

    # Where another user can get to.
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        assert asyncio.run(serve()) == b"heard nothing\n"
