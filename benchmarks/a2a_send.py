"""A2A SendMessage of an echo: llmspell over its WebSocket against a2a-sdk's default handler.

    python benchmarks/a2a_send.py

The SDK's own server (DefaultRequestHandler, in-memory store, Python executor)
answers JSON-RPC over HTTP; llmspell answers JSON-RPC over HTTP and over the
WebSocket binding, with a durable task record and a fresh Lua state in a worker
process for every message. Raw clients, one connection; what is counted is the
CPU time of the server and all its processes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from measure import in_turn, table
from servers import TOKEN, ServerProcess, free_port, llmspell_command, serving

Once = Callable[[bytes], Awaitable[bytes]]


def serve_sdk(port: int) -> None:
    """Serve an echo agent on the SDK's default handler."""
    import os

    os.environ["OTEL_INSTRUMENTATION_A2A_SDK_ENABLED"] = "false"
    import uvicorn
    from a2a.server.agent_execution.agent_executor import AgentExecutor
    from a2a.server.agent_execution.context import RequestContext
    from a2a.server.events.event_queue_v2 import EventQueue
    from a2a.server.request_handlers import DefaultRequestHandler
    from a2a.server.routes import create_jsonrpc_routes
    from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
    from a2a.types import AgentCapabilities, AgentCard, Part, Task, TaskState, TaskStatus
    from starlette.applications import Starlette

    class Echo(AgentExecutor):
        async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
            updater = TaskUpdater(event_queue, context.task_id, context.context_id)
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(
                Task(
                    id=context.task_id,
                    context_id=context.context_id,
                    status=status,
                    history=[context.message],
                )
            )
            await updater.start_work()
            await updater.add_artifact(parts=[Part(text=context.get_user_input())])
            await updater.complete()

        async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
            await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()

    card = AgentCard(name="echo", version="1", capabilities=AgentCapabilities(streaming=True))
    handler = DefaultRequestHandler(
        agent_executor=Echo(), task_store=InMemoryTaskStore(), agent_card=card
    )
    app = Starlette(routes=[*create_jsonrpc_routes(handler, "/a2a")])
    uvicorn.run(app, port=port, log_level="error", access_log=False)


def request() -> bytes:
    """Return a SendMessage request with a message of its own."""
    message = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": "hello"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    return json.dumps(body).encode()


def sends(
    server: ServerProcess, client: Callable[[int, str, int], Awaitable[None]], token: str = ""
) -> Callable[[int], tuple[float, float]]:
    """Return what sends `count` messages, one after the other, and says what they took."""

    def run(count: int) -> tuple[float, float]:
        before, began = server.cpu(), time.perf_counter()
        asyncio.run(client(server.port, token, count))  # pyright: ignore[reportArgumentType]
        wall = time.perf_counter() - began
        return server.cpu() - before, wall

    return run


async def over_http(port: int, token: str, count: int) -> None:
    """Send over one HTTP connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        body = request()
        head = (
            f"POST /a2a HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nA2A-Version: 1.0\r\n"
            "Content-Type: application/json\r\n"
            + (f"Authorization: Bearer {token}\r\n" if token else "")
            + f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(headers.split(b"content-length:")[1].split(b"\r\n")[0])
        _check(await reader.readexactly(length))
    writer.close()


async def over_websocket(port: int, token: str, count: int) -> None:
    """Send over one WebSocket."""
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    async with connect(
        f"ws://127.0.0.1:{port}/a2a/ws",
        subprotocols=[Subprotocol("a2a.v1")],
        additional_headers={"A2A-Version": "1.0", "Authorization": f"Bearer {token}"},
        compression=None,
        proxy=None,
    ) as socket:
        for _ in range(count):
            await socket.send(request().decode())
            _check(str(await socket.recv()).encode())


def _check(answer: bytes) -> None:
    if b"TASK_STATE_COMPLETED" not in answer:
        raise SystemExit(f"not completed: {answer[:400]!r}")


def main() -> None:
    """Start the servers, measure them in turn, print the table."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        sdk = ([sys.executable, __file__, "sdk", str(port)], port)
        with serving(sdk, llmspell_command(Path(directory), free_port())) as servers:
            figures = in_turn(
                [
                    ("a2a-sdk default handler, HTTP, in memory", sends(servers[0], over_http)),
                    ("llmspell, HTTP, durable", sends(servers[1], over_http, TOKEN)),
                    ("llmspell, WebSocket, durable", sends(servers[1], over_websocket, TOKEN)),
                ],
                count=150,
            )
    table("A2A SendMessage of an echo, one connection", figures, base=figures[0].name)


if __name__ == "__main__":
    if sys.argv[1:2] == ["sdk"]:
        serve_sdk(int(sys.argv[2]))
    else:
        main()
