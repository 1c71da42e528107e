"""The JSON-RPC binding over HTTP: bodies, limits and streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from llmspell.endpoints.a2a.dispatch import Dispatcher
from llmspell.endpoints.a2a.handler import TaskHandler
from llmspell.endpoints.a2a.jsonrpc import MAX_BODY_BYTES, JsonRpcEndpoint
from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.endpoints.auth.gate import Gate
from llmspell.security.principals import local_caller
from tests.support.a2a import HEADERS, SECONDS, Serving, frame, message, open_host, serving

JSON = {**HEADERS, "content-type": "application/json"}


@asynccontextmanager
async def client_of(server: Serving) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers=JSON, timeout=SECONDS) as client:
        yield client


@pytest.mark.parametrize("path", ["/a2a", "/a2a/"])
async def test_a_message_is_answered_with_and_without_a_slash(path: str, tmp_path: Path):
    async with serving(tmp_path, "echo") as server, client_of(server) as client:
        answer = await client.post(path, content=frame("a", "SendMessage", message("hi")))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["id"] == "a"
        assert answer.json()["result"]["task"]["artifacts"][0]["parts"] == [{"text": "hi"}]


@pytest.mark.parametrize(
    ("body", "code", "id"),
    [
        ("{bad", -32700, None),
        ("", -32700, None),
        ("[]", -32600, None),
        ("7", -32600, None),
        ('{"jsonrpc":"2.0","id":1,"params":{}}', -32600, 1),
        ('{"jsonrpc":"2.0","method":"GetTask"}', -32600, None),
        ('{"jsonrpc":"2.0","id":1,"result":1}', -32600, None),
        (frame(1, "Nope"), -32601, 1),
        (frame(1, "GetTask", {"id": "x"}), -32001, 1),
        (frame(1, "SubscribeToTask", {"id": "x"}), -32001, 1),
        (frame(1, "SendStreamingMessage"), -32602, 1),
    ],
)
async def test_every_error_is_a_json_answer_with_status_200(
    body: str, code: int, id: Any, tmp_path: Path
):
    async with serving(tmp_path, "echo") as server, client_of(server) as client:
        answer = await client.post("/a2a", content=body)
        assert answer.status_code == 200
        assert (answer.json()["error"]["code"], answer.json()["id"]) == (code, id)


async def test_a_body_of_another_type_is_refused_before_it_is_parsed(tmp_path: Path):
    async with serving(tmp_path, "echo") as server, client_of(server) as client:
        headers = {"content-type": "text/plain"}
        answer = await client.post("/a2a", content="{bad", headers=headers)
        assert answer.json()["error"]["code"] == -32005


async def test_a_body_over_the_limit_is_refused_and_the_server_goes_on(tmp_path: Path):
    async with serving(tmp_path, "echo") as server, client_of(server) as client:
        answer = await client.post("/a2a", content=frame(1, "X", {"a": "x" * (10 << 20)}))
        error = answer.json()["error"]
        assert error["code"] == -32600
        assert str(MAX_BODY_BYTES) in error["message"]
        answer = await client.post("/a2a", content=frame(1, "ListTasks"))
        assert answer.json()["result"]["tasks"] == []


async def test_a_request_without_the_token_is_challenged(tmp_path: Path):
    async with serving(tmp_path, "echo") as server, client_of(server) as client:
        for headers in ({"authorization": ""}, {"authorization": "Bearer wrong"}):
            answer = await client.post("/a2a", content=frame(1, "ListTasks"), headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["error"]["code"] == "access.unauthenticated"


async def test_the_version_may_stand_in_the_query(tmp_path: Path):
    async with serving(tmp_path, "echo") as server:
        headers = {name: value for name, value in JSON.items() if name != "a2a-version"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            body = frame(1, "ListTasks")
            assert (await client.post("/a2a", content=body)).json()["error"]["code"] == -32009
            answer = await client.post("/a2a?A2A-Version=1.0", content=body)
            assert "result" in answer.json()


async def test_a_stream_is_server_sent_events_each_a_whole_answer(tmp_path: Path):
    async with serving(tmp_path, "echo") as server, client_of(server) as client:
        body = frame("s", "SendStreamingMessage", message("hi"))
        answer = await client.post("/a2a", content=body)
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [
            json.loads(block.removeprefix("data: ")) for block in answer.text.split("\n\n") if block
        ]
        assert {(event["jsonrpc"], event["id"]) for event in events} == {("2.0", "s")}
        assert [next(iter(event["result"])) for event in events] == [
            "task",
            "statusUpdate",
            "artifactUpdate",
            "statusUpdate",
        ]


async def test_leaving_a_stream_leaves_the_task_at_work(tmp_path: Path):
    async with serving(tmp_path) as server, client_of(server) as client:
        body = frame("s", "SendStreamingMessage", message("go", skill="pieces"))
        async with client.stream("POST", "/a2a", content=body) as answer:
            first = await anext(answer.aiter_lines())
        id = json.loads(first.removeprefix("data: "))["result"]["task"]["id"]
        run = await server.host.run(id, caller=local_caller())
        await server.open_gate()
        await server.open_gate()
        async with asyncio.timeout(SECONDS):
            assert (await run.result()).state == "completed"


async def test_a_silent_stream_sends_comments(tmp_path: Path):
    async with open_host(tmp_path) as host:
        endpoint = JsonRpcEndpoint(
            Dispatcher(TaskHandler(host)), Gate(AnonymousAuthenticator()), keep_alive_seconds=0.001
        )
        app = Starlette(routes=[Route("/a2a", endpoint.__call__, methods=["POST"])])
        sent: list[bytes] = []
        heard = asyncio.Event()
        body = frame("s", "SendStreamingMessage", message("go", skill="pieces")).encode()
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await heard.wait()
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": body}

        async def send(event: Any) -> None:
            sent.append(event.get("body", b""))
            if sent[-1].startswith(b":"):
                heard.set()

        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/a2a",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"a2a-version", b"1.0")],
        }
        async with asyncio.timeout(SECONDS):
            await app(scope, receive, send)
        assert b": keep-alive\n\n" in sent
        assert any(each.startswith(b"data: ") for each in sent)
