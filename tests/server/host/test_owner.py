"""The owner's socket: hellos, roles, and when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmspell.bridge.meeting import PROTOCOL, connect
from llmspell.clock import ManualClock
from llmspell.host.host import Host
from llmspell.host.interface import HostInterface
from llmspell.host.owner import Owner
from tests.support.servers import make_project

SECONDS = 10


@pytest.fixture
async def host(tmp_path: Path) -> AsyncGenerator[HostInterface]:
    project = make_project(tmp_path / "project", ("hello",))
    async with Host.open(project, state="memory", watch=False, environ={}) as opened:
        yield opened


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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


async def test_a_role_is_served_after_both_have_said_hello(
    host: HostInterface, tmp_path: Path
) -> None:
    owner = Owner(host, tmp_path, environ={})
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
    host: HostInterface, tmp_path: Path, line: bytes, code: str
) -> None:
    owner = Owner(host, tmp_path, environ={})
    owner.roles["echo"] = echo
    async with serving(owner):
        (answer,) = await say(tmp_path, line)
        assert answer["error"]["code"] == code
        assert answer["pid"] == os.getpid()
        assert len(await say(tmp_path, hello("echo"))) == 1


async def test_a_connection_without_a_hello_harms_nobody(
    host: HostInterface, tmp_path: Path
) -> None:
    owner = Owner(host, tmp_path, environ={})
    owner.roles["echo"] = echo
    async with serving(owner):
        assert await say(tmp_path) == []
        assert len(await say(tmp_path, hello("echo"))) == 1


async def test_a_fault_on_one_connection_leaves_the_others(
    host: HostInterface, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise RuntimeError("planted")

    owner = Owner(host, tmp_path, environ={})
    owner.roles |= {"echo": echo, "broken": broken}
    async with serving(owner):
        await say(tmp_path, hello("broken"))
        assert len(await say(tmp_path, hello("echo"), b"1")) == 2
    assert "planted" in caplog.text


async def test_the_socket_appears_when_it_accepts_and_is_gone_when_it_does_not(
    host: HostInterface, tmp_path: Path
) -> None:
    owner = Owner(host, tmp_path, environ={})
    (tmp_path / "s.sock").write_text("left over", encoding="utf-8")
    async with serving(owner):
        assert (tmp_path / "s.sock").is_socket()
        assert (tmp_path / "s.sock").stat().st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(tmp_path) if name.startswith("s.")] == []


async def test_stopping_ends_the_connections_there_are(host: HostInterface, tmp_path: Path) -> None:
    owner = Owner(host, tmp_path, environ={})
    owner.roles["echo"] = echo
    async with serving(owner):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(hello("echo") + b"\n")
        await reader.readline()
    assert await reader.read() == b""
    writer.close()


async def test_a_signal_stops_it_in_order(host: HostInterface, tmp_path: Path) -> None:
    owner = Owner(host, tmp_path, environ={})
    async with owner.signals(), serving(owner) as task:
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    assert not (tmp_path / "s.sock").exists()


async def test_it_ends_when_nobody_has_needed_it_for_a_while(
    host: HostInterface, tmp_path: Path
) -> None:
    clock = ManualClock()
    owner = Owner(host, tmp_path, environ={}, idle_seconds=600, clock=clock)
    async with serving(owner) as task:
        await clock.sleeper()
        await clock.advance(599)
        assert not task.done()
        await clock.advance(1)
        await task


async def test_a_connection_keeps_it_alive_and_so_does_work(
    host: HostInterface, tmp_path: Path
) -> None:
    clock = ManualClock()
    owner = Owner(host, tmp_path, environ={}, idle_seconds=600, clock=clock)
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
