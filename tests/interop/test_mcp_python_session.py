"""The official Python client, in both eras, at real servers: over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged
from mcp_types import ElicitResult, TextContent

from tests.support.interop import ADDED, BUNDLED, make_interop_project
from tests.support.mcp import LEGACY, MODERN, SECONDS, write_spell
from tests.support.servers import LLMSPELL, environment, llmspell, running_server

ERAS = {"legacy": LEGACY, "auto": MODERN}

Transport = tuple[Any, asyncio.Event]
"""What a client takes, and what is set once a legacy client can be told something."""

Heard = Callable[[], Awaitable[None]]
"""Waits for the change that is listened for."""


class Target(NamedTuple):
    """A server, and what opens a transport to it."""

    open: Callable[[], AbstractAsyncContextManager[Transport]]
    project: Path


class Session(NamedTuple):
    """A client that is connected."""

    client: Client
    era: str
    told: asyncio.Queue[Any]
    """What a legacy client was told without asking."""

    async def text(self, name: str, arguments: dict[str, Any], **options: Any) -> str:
        """Call a tool and return the text of its result."""
        [block] = (await self.client.call_tool(name, arguments, **options)).content
        assert isinstance(block, TextContent)
        return block.text

    @asynccontextmanager
    async def listening(self, uri: str | None = None) -> AsyncGenerator[Heard]:
        """Listen to a resource, or to the list of tools."""
        if self.era == "legacy":
            if uri is not None:
                with pytest.warns(MCPDeprecationWarning):  # in the newer version it is gone
                    await self.client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
            kind = "tools/list_changed" if uri is None else "resources/updated"

            async def told() -> None:
                while getattr(await self.told.get(), "method", "") != f"notifications/{kind}":
                    pass

            yield told
            return
        wanted = ToolsListChanged() if uri is None else ResourceUpdated(uri)
        listening = self.client.listen(
            tools_list_changed=uri is None, resource_subscriptions=[uri] if uri else []
        )
        async with listening as changes:

            async def heard() -> None:
                assert await anext(aiter(changes)) == wanted

            yield heard


@pytest.fixture(scope="module")
def over_http(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    project = make_interop_project(tmp_path_factory.mktemp("http") / "project")
    with running_server(project) as server:

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Transport]:
            listening = asyncio.Event()

            async def answered(response: httpx2.Response) -> None:
                # The client opens its stream for notifications by itself, after the handshake.
                if response.request.method == "GET":
                    listening.set()

            headers = {"authorization": f"Bearer {server.token}"}
            # No time-out of its own: a stream of changes is silent for long.
            async with httpx2.AsyncClient(
                headers=headers, timeout=None, event_hooks={"response": [answered]}
            ) as http:
                yield streamable_http_client(f"{server.url}/mcp", http_client=http), listening

        yield Target(opened, project)


@pytest.fixture(scope="module")
def over_stdio(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    project = make_interop_project(tmp_path_factory.mktemp("stdio") / "project")
    command = StdioServerParameters(
        command=sys.executable,
        args=[*LLMSPELL[1:], "--project", str(project), "stdio"],
        env=environment(),
    )

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Transport]:
        listening = asyncio.Event()
        listening.set()
        yield stdio_client(command), listening

    yield Target(opened, project)
    stopped = llmspell("stop", cwd=project)  # the bridge started an owner that outlives it
    assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(params=["stdio", "http"])
def target(request: pytest.FixtureRequest) -> Target:
    return request.getfixturevalue(f"over_{request.param}")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@asynccontextmanager
async def connected(target: Target, era: str, **options: Any) -> AsyncGenerator[Session]:
    told: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(message: Any) -> None:
        told.put_nowait(message)

    async with (
        asyncio.timeout(SECONDS),
        target.open() as (transport, can_be_told),
        Client(transport, mode=era, message_handler=hear, **options) as client,
    ):
        assert client.protocol_version == ERAS[era]
        if era == "legacy":
            await can_be_told.wait()
        yield Session(client, era, told)


async def test_a_client_lists_and_calls_and_hears_of_progress(target: Target, era: str) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with connected(target, era) as session:
        assert set(BUNDLED) <= {tool.name for tool in (await session.client.list_tools()).tools}
        assert await session.text("hello", {"name": "Ada"}) == "Hello, Ada!"
        assert await session.text("steps", {}, progress_callback=progressed) == "done"
    assert heard == [(step, 3, f"step {step}") for step in (1, 2, 3)]


async def test_giving_up_a_call_ends_its_run(target: Target, era: str) -> None:
    begun = asyncio.Event()

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        begun.set()

    async with connected(target, era) as session:
        arguments = {"text": "meanwhile"}
        call = asyncio.ensure_future(
            session.client.call_tool("waits", arguments, progress_callback=progressed)
        )
        await begun.wait()
        call.cancel()
        await asyncio.wait([call])
        assert await session.text("hello", {"name": "Bo"}) == "Hello, Bo!"
        while await working(target.project, "waits"):
            pass


async def working(project: Path, spell: str) -> bool:
    """Return whether a run of a spell is under way."""
    arguments = ("runs", "list", "--json", "--state", "working", "--spell", spell)
    listed = await asyncio.to_thread(llmspell, *arguments, cwd=project)
    assert listed.returncode == 0, listed.stderr
    return spell in listed.stdout


async def test_a_client_asks_its_user(target: Target, era: str) -> None:
    asked: list[str] = []

    async def answer(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"ok": True, "by": "Ada"})

    async with connected(target, era, elicitation_callback=answer) as session:
        assert await session.text("approve", {"what": "deploy"}) == "approved by Ada"
    assert asked == ["May I deploy?"]


async def test_what_takes_long_is_followed_and_read_by_another_client(
    target: Target, era: str
) -> None:
    gate = uuid4().hex
    async with connected(target, era) as session:
        handle = (await session.client.call_tool("long_job", {"gate": gate})).structured_content
        run_id = handle["run_id"]
        assert handle["status"] == "working"
        async with session.listening(f"run://{run_id}") as heard:
            assert await session.text("release", {"gate": gate}) == "released"
            await heard()
    async with connected(target, era) as session:
        ended = await session.client.call_tool("run_result", {"run_id": run_id, "wait": 10})
        assert ended.structured_content["work"] == "done"
        [read] = (await session.client.read_resource(f"run://{run_id}/result")).contents
        assert json.loads(getattr(read, "text", "")) == {"work": "done"}


async def test_a_client_hears_of_a_new_spell_and_calls_it(target: Target, era: str) -> None:
    name = f"added_{uuid4().hex[:8]}"
    async with connected(target, era) as session:
        assert name not in {tool.name for tool in (await session.client.list_tools()).tools}
        async with session.listening() as heard:
            write_spell(target.project, name, ADDED)
            await heard()
        assert name in {tool.name for tool in (await session.client.list_tools()).tools}
        assert await session.text(name, {}) == "new"
