"""One call of a remote agent, over either binding, and what is said when it cannot be made."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from llmspell.endpoints.a2a.remote_call import RemoteEvent, call
from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.errors import RemoteError, RemoteUnreachable
from llmspell_protocols.a2a.connection import BINDING
from tests.support.a2a import SECONDS, TOKEN, serving


@asynccontextmanager
async def agent(
    interfaces: list[dict[str, Any]], *, path: str = "/.well-known/agent-card.json"
) -> AsyncGenerator[tuple[str, list[Request]]]:
    """A server that has a card with these interfaces and nothing else; `{base}` is its address."""
    seen: list[Request] = []

    def respond(socket: ServerConnection, request: Request) -> Response:
        seen.append(request)
        if request.path != path:
            return socket.respond(HTTPStatus.NOT_FOUND, "nothing here\n")
        card = {
            "name": "remote",
            "description": "An agent",
            "version": "1",
            "supportedInterfaces": interfaces,
            "capabilities": {"streaming": True},
            "defaultInputModes": ["text/plain"],
            "defaultOutputModes": ["text/plain"],
            "skills": [],
        }
        port = socket.local_address[1]
        text = json.dumps(card).replace("{base}", f"127.0.0.1:{port}")
        response = socket.respond(HTTPStatus.OK, text)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        return response

    async def never(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with (
        asyncio.timeout(SECONDS),
        serve(never, "127.0.0.1", 0, process_request=respond) as server,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}", seen


@asynccontextmanager
async def unary_agent(answer: dict[str, Any]) -> AsyncGenerator[str]:
    """An agent without streams that answers every POST with this result or error."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if head.startswith("GET"):
            port = writer.get_extra_info("sockname")[1]
            body: dict[str, Any] = {
                "name": "unary",
                "supportedInterfaces": [interface(f"http://127.0.0.1:{port}/", "JSONRPC")],
                "capabilities": {"streaming": False},
            }
        else:
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None
            asked = json.loads(await reader.readexactly(int(length[1])))
            body = {"jsonrpc": "2.0", "id": asked["id"], **answer}
        content = json.dumps(body).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(content) + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with asyncio.timeout(SECONDS), server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def interface(url: str, binding: str, version: str = "1.0") -> dict[str, Any]:
    return {"url": url, "protocolBinding": binding, "protocolVersion": version}


async def test_a_call_goes_over_the_websocket_and_says_what_it_hears(tmp_path: Path):
    async with asyncio.timeout(SECONDS), serving(tmp_path) as server:
        heard: list[RemoteEvent] = []

        def hear(event: RemoteEvent) -> None:
            heard.append(event)

        calling = asyncio.create_task(
            call(server.url, "go", skill="pieces", token=TOKEN, on_event=hear)
        )
        await server.open_gate()
        await server.open_gate()
        outcome = await calling
        assert [(event.kind, event.text) for event in heard] == [("text", "one "), ("text", "two")]
        assert (outcome.state, outcome.text, outcome.binding) == ("completed", "one two", BINDING)
        assert outcome.task["artifacts"][0]["artifactId"] == "part"


async def test_data_goes_there_and_comes_back_with_whole_numbers(tmp_path: Path):
    async with asyncio.timeout(SECONDS), serving(tmp_path) as server:
        outcome = await call(server.url, {"a": 2, "b": 3}, skill="add", token=TOKEN)
        assert outcome.output == {"sum": 5}
        assert isinstance(outcome.output["sum"], int)


@pytest.mark.parametrize("suffix", ["", "/", "/.well-known/agent-card.json"])
async def test_the_agent_is_named_by_its_host_or_by_its_card(suffix: str, tmp_path: Path):
    async with asyncio.timeout(SECONDS), serving(tmp_path, "echo") as server:
        assert (await call(server.url + suffix, "hi", token=TOKEN)).output == "hi"
        bare = server.url.removeprefix("http://")
        assert (await call(bare + suffix, "hi", token=TOKEN)).output == "hi"


async def test_a_failed_task_and_a_question_are_outcomes(tmp_path: Path):
    async with asyncio.timeout(SECONDS), serving(tmp_path) as server:
        failed = await call(server.url, "go", skill="fails", token=TOKEN)
        assert failed.state == "failed"
        assert "no luck today" in failed.text
        asked = await call(server.url, "go", token=TOKEN)
        assert asked.state == "input_required"
        assert "Which skill" in asked.text


async def test_json_rpc_is_used_where_the_socket_cannot_be_opened(tmp_path: Path):
    async with asyncio.timeout(SECONDS), serving(tmp_path, "echo") as server:
        interfaces = [
            interface("ws://127.0.0.1:9/a2a/ws", "WEBSOCKET"),
            interface(f"{server.url}/a2a", "JSONRPC"),
        ]
        async with agent(interfaces) as (url, _):
            # The interface is on another port than the card, so the token does not go there.
            with pytest.raises(RemoteError) as caught:
                await call(url, "hi", token=TOKEN)
            assert "--token" in caught.value.hint
    auth = AnonymousAuthenticator()
    async with asyncio.timeout(SECONDS), serving(tmp_path, "echo", auth=auth) as server:
        interfaces[1] = interface(f"{server.url}/a2a", "JSONRPC")
        async with agent(interfaces) as (url, _):
            outcome = await call(url, "hi")
            assert (outcome.output, outcome.binding) == ("hi", "JSONRPC")


async def test_the_token_goes_to_the_host_of_the_url_only():
    async with agent([]) as (other, seen):
        elsewhere = interface(f"ws{other.removeprefix('http')}/a2a/ws", BINDING)
        async with agent([elsewhere, interface("ws://{base}/a2a/ws", "WEBSOCKET")]) as (url, own):
            with pytest.raises(RemoteUnreachable):
                await call(url, "hi", token="secret")
            assert "authorization" not in seen[-1].headers
            assert "authorization" not in own[0].headers
            assert own[-1].headers["authorization"] == "Bearer secret"


async def test_what_the_agent_refuses_is_told_in_its_words_and_those_of_the_protocol(
    tmp_path: Path,
):
    async with asyncio.timeout(SECONDS), serving(tmp_path, "echo") as server:
        with pytest.raises(RemoteError) as caught:
            await call(server.url, "hi", skill="gone", token=TOKEN)
        assert caught.value.message == "the agent says 'invalid params': no skill named 'gone'"
        assert "echo" in caught.value.hint


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_a_missing_or_wrong_token_is_said_with_what_to_do(token: str | None, tmp_path: Path):
    async with asyncio.timeout(SECONDS), serving(tmp_path, "echo") as server:
        with pytest.raises(RemoteError, match="401") as caught:
            await call(server.url, "hi", token=token)
        assert not isinstance(caught.value, RemoteUnreachable)
        assert "--token" in caught.value.hint


async def test_an_unknown_skill_brings_the_agents_hint(tmp_path: Path):
    async with asyncio.timeout(SECONDS), serving(tmp_path, "echo") as server:
        with pytest.raises(RemoteError, match="no skill named 'ecko'") as caught:
            await call(server.url, "hi", skill="ecko", token=TOKEN)
        assert "the skills are: echo" in caught.value.hint


async def test_an_agent_without_a_usable_interface_is_said_by_name():
    interfaces = [interface("{base}", "GRPC"), interface("http://{base}/a2a", "JSONRPC", "0.3")]
    async with agent(interfaces) as (url, _):
        with pytest.raises(RemoteError, match="GRPC, JSONRPC"):
            await call(url, "hi")


async def test_nobody_there_and_no_card_are_unreachable():
    with pytest.raises(RemoteUnreachable, match="no agent card") as caught:
        await call("http://127.0.0.1:9", "hi")
    assert "is it running?" in caught.value.hint
    async with agent([], path="/elsewhere") as (url, _):
        with pytest.raises(RemoteUnreachable, match="404"):
            await call(url, "hi")


async def test_an_agent_that_ends_in_the_middle_is_unreachable_and_says_the_task_may_go_on(
    tmp_path: Path,
):
    async with asyncio.timeout(SECONDS), serving(tmp_path) as server:
        heard = asyncio.Event()

        def hear(_: RemoteEvent) -> None:
            heard.set()

        calling = asyncio.create_task(
            call(server.url, "go", skill="pieces", token=TOKEN, on_event=hear)
        )
        await heard.wait()
        await server.server.close()
        with pytest.raises(RemoteUnreachable) as caught:
            await calling
        assert "may still be at work" in caught.value.hint


async def test_an_agent_without_streams_is_asked_for_the_whole_task():
    task = {
        "id": "t",
        "contextId": "c",
        "status": {"state": "TASK_STATE_COMPLETED"},
        "artifacts": [
            {"artifactId": "a", "name": "draft", "parts": [{"text": "x"}]},
            {"artifactId": "b", "parts": [{"text": "one "}, {"text": "two"}]},
        ],
    }
    heard: list[RemoteEvent] = []
    async with unary_agent({"result": {"task": task}}) as url:
        outcome = await call(url, "hi", on_event=heard.append)
    assert (outcome.state, outcome.output) == ("completed", "one two")
    assert outcome.task["id"] == "t"
    assert heard == [RemoteEvent("text", "x", "draft"), RemoteEvent("text", "one two")]


async def test_an_agent_may_answer_with_a_message_alone():
    message = {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "hello"}]}
    async with unary_agent({"result": {"message": message}}) as url:
        outcome = await call(url, "hi")
    assert (outcome.state, outcome.output, outcome.task) == ("completed", "hello", {})


async def test_an_error_of_the_agent_is_a_remote_error():
    async with unary_agent({"error": {"code": -32004, "message": "not today"}}) as url:
        with pytest.raises(RemoteError, match="not today"):
            await call(url, "hi")
