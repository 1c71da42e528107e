"""The control socket, byte for byte: what a line is answered with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from llmspell.host.control import MAX_LINE_BYTES, Control
from llmspell.host.host import Host
from llmspell.security.principals import local_caller
from llmspell.values import JSON, Object
from tests.support.owners import NAPPING
from tests.support.servers import make_project

SECONDS = 15


class Line:
    """A connection to a control server, and what it says."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.host = host
        self.ended = asyncio.Event()
        """Set when the server is done with this connection."""
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send(self, identifier: Any, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}
        await self.write(json.dumps(message).encode() + b"\n")

    async def read(self) -> dict[str, Any]:
        return json.loads(await self._reader.readline())

    async def ask(self, identifier: Any, method: str, **params: Any) -> Any:
        await self.send(identifier, method, **params)
        answer = await self.read()
        assert answer["id"] == identifier
        return answer.get("result", answer.get("error"))

    async def hang_up(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
async def line(tmp_path: Path) -> AsyncGenerator[Line]:
    project = make_project(tmp_path / "project", ("hello",))
    (project / "spells" / "nap.lua").write_text(NAPPING, encoding="utf-8")
    closed = asyncio.Event()

    async def keep(params: Object, until: AsyncExitStack) -> JSON:
        until.callback(closed.set)
        return {"kept": params}

    async def fail(params: Object, until: AsyncExitStack) -> JSON:
        raise RuntimeError("planted")

    async with (
        asyncio.timeout(SECONDS),
        Host.open(project, state="memory", watch=False, environ={}) as host,
    ):
        control = Control(host, {"keep": keep, "fail": fail})

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await control.serve(reader, writer)
            writer.close()
            opened.ended.set()

        path = tmp_path / "s"
        server = await asyncio.start_unix_server(serve, path, limit=MAX_LINE_BYTES)
        async with server:
            opened = Line(host, *await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES))
            await opened.ask(0, "keep")
            yield opened
            await opened.hang_up()
            await opened.ended.wait()
            assert closed.is_set()


async def test_a_cast_is_answered_with_its_outcome(line: Line) -> None:
    outcome = await line.ask(1, "cast", name="hello", input={"name": "Ann"})
    assert outcome["state"] == "completed"
    assert outcome["output"] == "Hello, Ann!"


async def test_every_caller_is_the_person_the_process_belongs_to(line: Line) -> None:
    started = await line.ask(1, "start", name="hello", input={}, session="s1")
    await line.ask(2, "run.result", run=started["run"])
    record = await line.ask(3, "run.record", run=started["run"])
    assert record["principal"] == local_caller().principal
    assert record["session"] == "s1"
    refused = await line.ask(4, "cast", name="hello", input={}, principal="somebody")
    assert refused["code"] == -32602


async def test_the_events_of_a_run_come_as_notifications_before_the_answer(line: Line) -> None:
    started = await line.ask(1, "start", name="nap", input={"seconds": 0})
    await line.send(2, "run.events", run=started["run"])
    numbers: list[int] = []
    while "id" not in (message := await line.read()):
        assert message["method"] == "run.event"
        assert message["params"]["request"] == 2
        numbers.append(message["params"]["event"]["number"])
    assert message["id"] == 2
    assert numbers == list(range(1, len(numbers) + 1))
    await line.send(3, "run.events", run=started["run"], after=len(numbers) - 1)
    assert (await line.read())["params"]["event"]["number"] == len(numbers)
    assert (await line.read())["id"] == 3


async def test_requests_are_served_side_by_side(line: Line) -> None:
    await line.send("slow", "cast", name="nap", input={"seconds": 60})
    assert (await line.ask("quick", "cast", name="hello", input={}))["state"] == "completed"
    await line.write(b'{"method": "cancel", "params": {"id": "slow"}}\n')
    while (await line.ask(1, "runs", state="canceled"))["total"] == 0:
        pass


async def test_an_error_of_ours_travels_whole(line: Line) -> None:
    error = await line.ask(1, "cast", name="nosuch", input={})
    assert error["code"] == -32000
    assert error["data"]["code"] == "spell.not_found"
    assert "hello" in error["data"]["hint"]
    assert (await line.ask(2, "run.record", run="x"))["data"]["code"] == "run.not_found"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"this is not json\n", -32700),
        (b"[1, 2]\n", -32600),
        (b'{"id": 1}\n', -32600),
        (b'{"id": {}, "method": "runs"}\n', -32600),
        (b'{"id": 9, "method": "cast", "params": {}}\n', -32602),
        (b'{"id": 9, "method": "cast", "params": 3}\n', -32602),
        (b'{"id": 9, "method": "nosuch"}\n', -32000),
        (b'{"id": 9, "method": "fail"}\n', -32000),
    ],
)
async def test_a_message_that_is_wrong_is_answered_and_the_connection_lives_on(
    line: Line, data: bytes, code: int
) -> None:
    await line.write(data)
    answer = await line.read()
    assert answer["error"]["code"] == code
    assert answer["error"]["data"]["code"] in ("usage.invalid", "internal")
    assert (await line.ask(2, "cast", name="hello", input={}))["state"] == "completed"


async def test_a_line_over_the_limit_is_refused_and_the_next_is_served(line: Line) -> None:
    chunk = b"x" * (1 << 20)
    for _ in range(17):
        await line.write(chunk)
    await line.write(b"\n")
    error = (await line.read())["error"]
    assert error["data"]["code"] == "input.too_large"
    assert str(MAX_LINE_BYTES) in error["message"]
    assert (await line.ask(2, "cast", name="hello", input={}))["state"] == "completed"


async def test_notifications_are_never_answered(line: Line) -> None:
    await line.write(b'{"method": "nosuch"}\n{"method": "cancel", "params": {"id": 77}}\n')
    await line.write(b'{"method": "cancel", "params": "x"}\n\n')
    assert (await line.ask(1, "cast", name="hello", input={}))["state"] == "completed"


async def test_a_dropped_connection_ends_what_waits_through_it_and_nothing_else(
    line: Line,
) -> None:
    detached = (await line.ask(1, "start", name="nap", input={"seconds": 60}))["run"]
    attached = await line.ask(2, "start", name="nap", input={"seconds": 60}, attached=True)
    await line.send(3, "cast", name="nap", input={"seconds": 60})
    caller = local_caller()
    while (page := await line.ask(4, "runs", state="working"))["total"] < 3:
        pass
    await line.hang_up()
    await line.ended.wait()
    canceled = await line.host.runs(caller=caller, state="canceled")
    assert {run.id for run in canceled.runs} == {run["id"] for run in page["runs"]} - {detached}
    assert attached["run"] in {run.id for run in canceled.runs}
    kept = await line.host.run(detached, caller=caller)
    assert (await kept.record()).state == "working"
    await kept.cancel()
