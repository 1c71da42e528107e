"""The WebSocket binding on a real socket, frame by frame."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.typing import Subprotocol

from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.security.principals import anonymous_caller, local_caller
from tests.support.a2a import HEADERS, SECONDS, frame, message, serving


async def receive(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        return json.loads(await socket.recv())


async def until(socket: ClientConnection, **members: Any) -> dict[str, Any]:
    """Return the first frame that has these members."""
    while True:
        found = await receive(socket)
        if members.items() <= found.items():
            return found


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"subprotocols": None}, 400),
        ({"subprotocols": ["a2a.v2"]}, 400),
        ({"additional_headers": {"a2a-version": "1.0"}}, 401),
        ({"additional_headers": {**HEADERS, "authorization": "Bearer wrong"}}, 401),
        ({"origin": "https://evil.example"}, 403),
    ],
)
async def test_an_upgrade_that_is_not_allowed_is_refused_before_it(
    options: dict[str, Any], status: int, tmp_path: Path
):
    async with serving(tmp_path, "echo") as server:
        with pytest.raises(InvalidStatus) as caught:
            async with server.socket(**options):
                pass
        assert caught.value.response.status_code == status
        if status == 401:
            assert "Bearer" in caught.value.response.headers["www-authenticate"]


async def test_an_upgrade_under_a_foreign_name_is_refused(tmp_path: Path):
    async with serving(tmp_path, "echo") as server:
        rebound = connect(
            "ws://evil.example/a2a/ws",
            host="127.0.0.1",
            port=server.server.port,
            subprotocols=[Subprotocol("a2a.v1")],
            additional_headers=HEADERS,
            proxy=None,
        )
        with pytest.raises(InvalidStatus):
            async with rebound:
                pass


async def test_a_loopback_page_may_open_a_socket_and_the_subprotocol_is_echoed(tmp_path: Path):
    async with (
        serving(tmp_path, "echo") as server,
        server.socket(origin=server.url, subprotocols=["x", "a2a.v1"]) as socket,
    ):
        assert socket.subprotocol == "a2a.v1"


async def test_a_message_is_answered_with_its_task(tmp_path: Path):
    async with serving(tmp_path, "echo") as server, server.socket() as socket:
        await socket.send(frame("a", "SendMessage", message("hi")))
        answer = await receive(socket)
        assert answer["id"] == "a"
        assert answer["result"]["task"]["artifacts"][0]["parts"] == [{"text": "hi"}]


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        ("{bad", -32700, None),
        ("[]", -32600, None),
        ('{"jsonrpc":"2.0","id":3}', -32600, None),
        ('{"jsonrpc":"1.0","id":3,"method":"GetTask"}', -32600, 3),
        ('{"jsonrpc":"2.0","id":3,"method":"GetTask","params":[]}', -32602, 3),
        (frame(3, "hello"), -32601, 3),
        (frame(3, "GetTask", {"id": "x"}), -32001, 3),
        (frame(3, "GetTask", {"id": "x"}, serviceParameters={"A2A-Version": "9.9"}), -32009, 3),
        (frame(3, "SubscribeToTask", {"id": "x"}), -32001, 3),
    ],
)
async def test_a_bad_frame_is_answered_and_the_socket_goes_on(
    text: str, code: int, id: Any, tmp_path: Path
):
    async with serving(tmp_path, "echo") as server, server.socket() as socket:
        await socket.send(text)
        answer = await receive(socket)
        assert (answer["error"]["code"], answer["id"]) == (code, id)
        await socket.send(frame(1, "ListTasks"))
        assert (await receive(socket))["result"]["tasks"] == []


async def test_answers_and_unknown_notifications_are_ignored(tmp_path: Path):
    async with serving(tmp_path, "echo") as server, server.socket() as socket:
        for text in (
            '{"jsonrpc":"2.0","id":1,"result":{}}',
            '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
            '{"jsonrpc":"2.0","id":1,"streamEnd":true}',
            '{"jsonrpc":"2.0","method":"streamCredit","params":{"id":1,"credit":5}}',
        ):
            await socket.send(text)
        await socket.send(frame(1, "ListTasks"))
        assert "result" in await receive(socket)


async def test_a_frame_may_override_the_version_of_the_handshake(tmp_path: Path):
    headers = {"authorization": HEADERS["authorization"]}
    async with (
        serving(tmp_path, "echo") as server,
        server.socket(additional_headers=headers) as socket,
    ):
        await socket.send(frame(1, "ListTasks"))
        assert (await receive(socket))["error"]["code"] == -32009
        await socket.send(frame(2, "ListTasks", serviceParameters={"A2A-Version": "1.0"}))
        assert "result" in await receive(socket)


@pytest.mark.parametrize(("sent", "code"), [(b"{}", 1003), ("x" * (4 << 20) + "x", 1009)])
async def test_a_frame_that_breaks_the_framing_closes_the_socket(
    sent: str | bytes, code: int, tmp_path: Path
):
    async with serving(tmp_path, "echo") as server, server.socket(max_size=None) as socket:
        await socket.send(sent)
        with pytest.raises(ConnectionClosedError) as caught:
            await receive(socket)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == code


async def test_calls_are_answered_while_a_stream_runs(tmp_path: Path):
    async with serving(tmp_path) as server, server.socket() as socket:
        await socket.send(frame("s", "SendStreamingMessage", message("go", skill="pieces")))
        await socket.send(frame("u", "SendMessage", message("hi", skill="echo")))
        assert "result" in await until(socket, id="u")
        await server.open_gate()
        await server.open_gate()
        end = await until(socket, id="s", streamEnd=True)
        assert end["reason"] == "completed"


async def test_cancel_stream_ends_the_stream_and_not_the_task(tmp_path: Path):
    async with serving(tmp_path) as server, server.socket() as socket:
        await socket.send(frame("s", "SendStreamingMessage", message("go", skill="pieces")))
        id = (await receive(socket))["result"]["task"]["id"]
        notice = {"jsonrpc": "2.0", "method": "cancelStream", "params": {"id": "s"}}
        await socket.send(json.dumps(notice))
        assert (await until(socket, id="s", streamEnd=True))["reason"] == "cancelled"
        await socket.send(frame("s", "GetTask", {"id": id}))
        task = (await receive(socket))["result"]
        assert task["status"]["state"] == "TASK_STATE_WORKING"


async def test_a_stream_that_is_canceled_before_it_began_still_says_its_end(tmp_path: Path):
    async with serving(tmp_path) as server, server.socket() as socket:
        notice = {"jsonrpc": "2.0", "method": "cancelStream", "params": {"id": "s"}}
        await socket.send(frame("s", "SendStreamingMessage", message("go", skill="pieces")))
        await socket.send(json.dumps(notice))
        assert (await until(socket, id="s", streamEnd=True))["reason"] == "cancelled"


async def test_a_dropped_socket_cancels_no_task(tmp_path: Path):
    async with serving(tmp_path) as server:
        async with server.socket() as socket:
            await socket.send(frame("s", "SendStreamingMessage", message("go", skill="pieces")))
            id = (await receive(socket))["result"]["task"]["id"]
            await socket.send(frame("w", "SendMessage", message("go", skill="pieces")))
            await until(socket, id="s")
            socket.transport.abort()
        async with server.socket() as socket:
            await socket.send(frame(1, "SubscribeToTask", {"id": id}))
            assert "task" in (await receive(socket))["result"]
            await server.open_gate()
            await server.open_gate()
            await until(socket, id=1, streamEnd=True)
            await socket.send(frame(2, "GetTask", {"id": id}))
            task = (await receive(socket))["result"]
            assert task["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_more_streams_than_allowed_are_refused_and_the_others_go_on(tmp_path: Path):
    async with serving(tmp_path) as server, server.socket() as socket:
        run = await server.host.start("pieces", {}, caller=local_caller("a2a"))
        for number in range(65):
            await socket.send(frame(number, "SubscribeToTask", {"id": run.id}))
        refused = await until(socket, id=64)
        assert refused["error"]["code"] == 4429
        await server.open_gate()
        await server.open_gate()
        ended = {(await until(socket, streamEnd=True, reason="completed"))["id"] for _ in range(64)}
        assert ended == set(range(64))


async def test_an_answer_that_is_too_large_becomes_an_error(tmp_path: Path):
    async with serving(tmp_path, "echo") as server, server.socket(max_size=None) as socket:
        # The answer holds the text twice, in the history and in the result; \x01 takes six bytes.
        text = "\x01" * 400_000
        await socket.send(frame(1, "SendMessage", message(text)))
        assert (await receive(socket))["error"]["code"] == 4413
        await socket.send(frame(2, "SendStreamingMessage", message(text, id="m-2")))
        assert "task" in (await receive(socket))["result"]


async def test_without_a_token_everybody_is_anonymous_and_sees_only_anonymous_tasks(
    tmp_path: Path,
):
    async with (
        serving(tmp_path, "echo", auth=AnonymousAuthenticator()) as server,
        server.socket(additional_headers={"a2a-version": "1.0"}) as socket,
    ):
        await server.host.cast("echo", {"text": "mine"}, caller=local_caller("a2a"))
        await server.host.cast("echo", {"text": "theirs"}, caller=anonymous_caller("a2a"))
        await socket.send(frame(1, "ListTasks"))
        assert (await receive(socket))["result"]["totalSize"] == 1
