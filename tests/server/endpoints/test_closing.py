"""Closing the server: every kind of open stream ends whole, and says what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError
from websockets.typing import Subprotocol

from tests.support.a2a import frame, message
from tests.support.mcp import SECONDS
from tests.support.mcp_http import Events, RawClient, Served, routing, serving

PROGRESS = "notifications/progress"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


def a2a_headers(client: RawClient) -> dict[str, str]:
    return {**client.headers, "a2a-version": "1.0"}


@asynccontextmanager
async def a2a_stream(client: RawClient, method: str, params: Any) -> AsyncGenerator[Events]:
    """Open a stream of A2A over HTTP."""
    body = json.loads(frame("s", method, params))
    async with client.http.stream(
        "POST", "/a2a", json=body, headers=a2a_headers(client)
    ) as response:
        yield Events(response)


@asynccontextmanager
async def socket(site: Served) -> AsyncGenerator[ClientConnection]:
    """Open a socket of A2A."""
    async with connect(
        f"ws{site.server.url.removeprefix('http')}/a2a/ws",
        subprotocols=[Subprotocol("a2a.v1")],
        additional_headers={"authorization": f"Bearer {site.keys[0]}", "a2a-version": "1.0"},
        proxy=None,
    ) as opened:
        yield opened


async def test_whatever_is_open_when_the_server_closes_ends_whole_and_is_told_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(serving(tmp_path))
        client = await stack.enter_async_context(site.client())
        await client.initialize()
        streams = {
            name: await stack.enter_async_context(opening)
            for name, opening in {
                "session": client.listening(),
                "call": client.streaming(client.call("held", progressToken=1)),
                "listen": modern(
                    client, "subscriptions/listen", {"notifications": {"toolsListChanged": True}}
                ),
                "modern call": modern(
                    client, "tools/call", {"name": "held", "arguments": {}}, progressToken=1
                ),
                "message": a2a_stream(client, "SendStreamingMessage", message("go", skill="held")),
            }.items()
        }
        for name in ("call", "modern call"):
            await streams[name].until(PROGRESS)
        await streams["listen"].until(ACKNOWLEDGED)
        task = (await anext(streams["message"])).data["result"]["task"]["id"]
        streams["subscription"] = await stack.enter_async_context(
            a2a_stream(client, "SubscribeToTask", {"id": task})
        )
        opened = await stack.enter_async_context(socket(site))
        await opened.send(frame("stream", "SubscribeToTask", {"id": task}))
        await opened.recv()
        await opened.send(frame("one answer", "SendMessage", message("go", skill="held")))
        waiting = asyncio.ensure_future(a2a(client, "SendMessage", message("go", skill="held")))
        await begun(site, "held", 5)

        closing = asyncio.ensure_future(site.server.close())
        late = await a2a(client, "GetTask", {"id": task})
        assert reason_of(late) == "owner.stopping"

        ends = {name: await stream.rest() for name, stream in streams.items()}
        # What was open in a session may be fetched from the next server.
        assert ends["session"] == ends["call"] == []
        assert "result" in ends["listen"][-1].data
        assert "shutting down" in ends["modern call"][-1].data["error"]["message"]
        for name in ("message", "subscription"):
            assert reason_of(ends[name][-1].data) == "owner.stopping"
        assert reason_of(await waiting) == "owner.stopping"
        said: list[Any] = []
        with suppress(ConnectionClosedError):
            async for each in opened:
                said.append(json.loads(each))
        told = {each["id"]: reason_of(each) for each in said if "error" in each}
        assert told == {"stream": "owner.stopping", "one answer": "owner.stopping"}
        assert opened.close_code == 1012
        await closing
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_message_under_way_is_answered_while_the_server_closes(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.client() as client, site.client() as other:
        stream = a2a_stream(client, "SendStreamingMessage", message("go", skill="held"))
        async with stream as events, socket(site) as opened:
            await anext(events)
            await opened.send(frame("one answer", "SendMessage", message("go", skill="held")))
            await begun(site, "held", 2)
            assert (await other.call_modern("let_go")).status_code == 200
            closing = asyncio.ensure_future(site.server.close())
            status = (await events.rest())[-1].data["result"]["statusUpdate"]["status"]
            assert status["state"] == "TASK_STATE_COMPLETED"
            result = json.loads(await opened.recv())["result"]
            assert result["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
            await closing


async def test_what_a_message_began_goes_on_when_the_server_closes(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.client() as client:
        stream = a2a_stream(client, "SendStreamingMessage", message("go", skill="held"))
        async with stream as events:
            task = (await anext(events)).data["result"]["task"]["id"]
            await site.server.close()
            assert reason_of((await events.rest())[-1].data) == "owner.stopping"
        caller = await site.host.api_keys.caller(site.keys[0], "a2a")
        assert caller is not None
        await site.host.cast("let_go", {}, caller=caller)
        assert (await (await site.host.run(task, caller=caller)).result()).output == "let go"


@asynccontextmanager
async def modern(
    client: RawClient, method: str, params: Any, **meta: Any
) -> AsyncGenerator[Events]:
    """Open a stream of MCP with a request of 2026-07-28."""
    asked = client.modern(method, params, **meta)
    async with client.streaming(asked, {**client.headers, **routing(asked)}) as stream:
        yield stream


async def a2a(client: RawClient, method: str, params: Any) -> Any:
    """Send a request of A2A over HTTP and return its answer."""
    body = json.loads(frame("u", method, params))
    answer = await client.http.post("/a2a", json=body, headers=a2a_headers(client))
    assert answer.status_code == 200
    return answer.json()


def reason_of(answer: Any) -> str:
    """Return the code of ours in an error of A2A."""
    return answer["error"]["data"][0]["metadata"]["code"]


async def begun(site: Served, spell: str, count: int) -> None:
    """Return once so many runs of a spell have begun."""
    caller = await site.host.api_keys.caller(site.keys[0], "a2a")
    assert caller is not None
    async with asyncio.timeout(SECONDS):
        while True:
            runs = (await site.host.runs(caller=caller)).runs
            if sum(run.spell == spell for run in runs) >= count:
                return
            await asyncio.sleep(0)  # their tasks go on
