"""The WebSocket client against peers that do odd things; against the real server see interop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from a2a.client.client import ClientCallContext
from a2a.client.errors import A2AClientError, A2AClientTimeoutError
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import TaskNotFoundError
from websockets.asyncio.server import ServerConnection, serve

from llmspell.endpoints.a2a.client import (
    ConnectionFailedError,
    ConnectionLostError,
    WebSocketTransport,
)
from tests.support.a2a import SECONDS

Peer = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def transport_to(
    peer: Peer, *, subprotocols: Any = ("a2a.v1",), headers: dict[str, str] | None = None
) -> AsyncGenerator[WebSocketTransport]:
    """A transport that speaks to this peer, a function of the other end of each socket."""
    async with (
        asyncio.timeout(SECONDS),
        serve(peer, "127.0.0.1", 0, subprotocols=subprotocols, compression=None) as server,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/a2a/ws"
        async with WebSocketTransport(pb.AgentCard(), url, headers=headers) as transport:
            yield transport


async def asked(socket: ServerConnection) -> dict[str, Any]:
    return json.loads(await socket.recv())


async def answer(socket: ServerConnection, id: Any, **members: Any) -> None:
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": id, **members}))


GET = pb.GetTaskRequest(id="t")
SUBSCRIBE = pb.SubscribeToTaskRequest(id="t")
TASK = {"task": {"id": "t"}}


async def test_a_socket_that_ends_fails_every_call_that_waits_on_it():
    async def peer(socket: ServerConnection) -> None:
        await asked(socket)
        await asked(socket)
        await socket.close(1012, "restarting")

    async def subscribe(transport: WebSocketTransport) -> None:
        async for _ in transport.subscribe(SUBSCRIBE):
            pass

    async with transport_to(peer) as transport:
        await transport.open()
        results = await asyncio.gather(
            transport.get_task(GET), subscribe(transport), return_exceptions=True
        )
        for result in results:
            assert isinstance(result, ConnectionLostError)
            assert "1012 restarting" in result.message


async def test_the_next_call_after_a_lost_socket_opens_a_new_one():
    sockets = 0

    async def peer(socket: ServerConnection) -> None:
        nonlocal sockets
        sockets += 1
        request = await asked(socket)
        if sockets == 1:
            socket.transport.abort()
            return
        await answer(socket, request["id"], result={"id": "t"})
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        with pytest.raises(ConnectionLostError, match="lost"):
            await transport.get_task(GET)
        assert (await transport.get_task(GET)).id == "t"


async def test_a_header_of_the_handshake_is_sent_once_however_it_is_spelled():
    async def peer(socket: ServerConnection) -> None:
        request = await asked(socket)
        assert socket.request is not None
        headers = socket.request.headers
        sent = [*headers.get_all("authorization"), *headers.get_all("a2a-version")]
        await answer(socket, request["id"], result={"id": " ".join(sent)})
        await socket.wait_closed()

    async with transport_to(peer, headers={"Authorization": "Bearer old"}) as transport:
        parameters = {"authorization": "Bearer new", "A2A-Version": "1.1"}
        context = ClientCallContext(service_parameters=parameters)
        assert (await transport.get_task(GET, context=context)).id == "Bearer new 1.1"


async def test_leaving_a_stream_sends_cancel_stream():
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def peer(socket: ServerConnection) -> None:
        request = await asked(socket)
        await answer(socket, request["id"], result=TASK)
        told.put_nowait(await asked(socket))
        await answer(socket, request["id"], result=TASK)
        await answer(socket, request["id"], streamEnd=True, reason="cancelled")
        request = await asked(socket)
        await answer(socket, request["id"], result={"id": "after"})
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        stream = transport.subscribe(SUBSCRIBE)
        assert (await anext(stream)).task.id == "t"
        await stream.aclose()
        assert await told.get() == {
            "jsonrpc": "2.0",
            "method": "cancelStream",
            "params": {"id": 1},
        }
        assert (await transport.get_task(GET)).id == "after"


async def test_a_stream_that_ended_sends_no_cancel_stream():
    async def peer(socket: ServerConnection) -> None:
        request = await asked(socket)
        await answer(socket, request["id"], result=TASK)
        await answer(socket, request["id"], streamEnd=True)
        request = await asked(socket)
        await answer(socket, request["id"], result={"id": request["method"]})
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        assert len([item async for item in transport.subscribe(SUBSCRIBE)]) == 1
        assert (await transport.get_task(GET)).id == "GetTask"


async def test_a_stream_the_agent_ends_early_is_an_error():
    async def peer(socket: ServerConnection) -> None:
        request = await asked(socket)
        await answer(socket, request["id"], streamEnd=True, reason="slowConsumer")
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        with pytest.raises(A2AClientError, match="slowConsumer"):
            await anext(transport.subscribe(SUBSCRIBE))


async def test_errors_are_the_sdks_own_with_their_details():
    async def peer(socket: ServerConnection) -> None:
        info = {"@type": "x", "metadata": {"hint": "look again"}}
        for error in (
            {"code": -32001, "message": "gone", "data": [info]},
            {"code": 4429, "message": "too much"},
            {"code": -32001, "message": "gone", "data": {"odd": 1}},
        ):
            await answer(socket, (await asked(socket))["id"], error=error)
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        with pytest.raises(TaskNotFoundError) as caught:
            await transport.get_task(GET)
        assert repr(caught.value).endswith("data={'hint': 'look again'})")
        with pytest.raises(A2AClientError, match=r"too much \(code 4429\)"):
            await transport.get_task(GET)
        with pytest.raises(TaskNotFoundError):
            await transport.get_task(GET)


@pytest.mark.parametrize("result", [7, "x", {"status": 7}, None])
async def test_an_answer_that_is_not_a2a_is_an_error(result: Any):
    async def peer(socket: ServerConnection) -> None:
        await answer(socket, (await asked(socket))["id"], result=result)
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        with pytest.raises(A2AClientError, match="not A2A"):
            await transport.get_task(GET)


async def test_frames_that_mean_nothing_do_not_disturb_a_call():
    said: list[dict[str, Any]] = []

    async def peer(socket: ServerConnection) -> None:
        request = await asked(socket)
        await socket.send("{bad")
        said.append(await asked(socket))
        await answer(socket, "p", method="SendMessage", params={})
        said.append(await asked(socket))
        await socket.send(json.dumps({"jsonrpc": "2.0", "method": "goAway"}))
        await answer(socket, None, error={"code": -32700, "message": "what?"})
        await answer(socket, 99, result="late")
        await answer(socket, request["id"], result={"id": "t"})
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        assert (await transport.get_task(GET)).id == "t"
    assert [(each["id"], each["error"]["code"]) for each in said] == [(None, -32700), ("p", -32601)]


async def test_a_binary_frame_ends_the_socket_and_the_call():
    closed: list[int | None] = []

    async def peer(socket: ServerConnection) -> None:
        await asked(socket)
        await socket.send(b"\x00")
        await socket.wait_closed()
        closed.append(socket.close_code)

    async with transport_to(peer) as transport:
        with pytest.raises(ConnectionLostError):
            await transport.get_task(GET)
    assert closed == [1003]


async def test_a_call_may_be_given_a_time():
    async def peer(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        with pytest.raises(A2AClientTimeoutError):
            await transport.get_task(GET, context=ClientCallContext(timeout=0.01))


async def test_a_peer_without_the_subprotocol_is_refused():
    async def peer(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with transport_to(peer, subprotocols=None) as transport:
        with pytest.raises(ConnectionFailedError, match="subprotocol"):
            await transport.open()


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9/a2a/ws", "http://127.0.0.1:9", "nonsense"])
async def test_an_agent_that_cannot_be_reached_is_a_clear_error(url: str):
    async with WebSocketTransport(pb.AgentCard(), url) as transport:
        with pytest.raises(ConnectionFailedError, match="cannot be reached") as caught:
            await transport.open()
        assert caught.value.status is None


async def test_credentials_travel_in_the_handshake_and_not_in_frames():
    seen: list[Any] = []

    async def peer(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.append(socket.request.headers["authorization"])
        request = await asked(socket)
        seen.append(request["serviceParameters"])
        await answer(socket, request["id"], result={"id": "t"})
        await socket.wait_closed()

    parameters = {"Authorization": "Bearer x", "A2A-Extensions": "urn:x"}
    async with transport_to(peer) as transport:
        await transport.get_task(GET, context=ClientCallContext(service_parameters=parameters))
    assert seen == ["Bearer x", {"A2A-Extensions": "urn:x"}]


async def test_a_request_over_the_limit_is_refused_before_it_is_sent():
    async def peer(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with transport_to(peer) as transport:
        with pytest.raises(A2AClientError, match="4413"):
            await transport.get_task(pb.GetTaskRequest(id="x" * (5 << 20)))
