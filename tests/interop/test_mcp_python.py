"""The official Python client, in both eras, over HTTP, over a pipe and over stdio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent

from llmspell.endpoints.app import serve_http
from llmspell.endpoints.auth.token import TokenAuthenticator
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.host.host import Host
from tests.support.mcp import (
    CONTROL_TOOLS,
    LEGACY,
    MODERN,
    SECONDS,
    SPELLS,
    client_transport,
    ended_run,
    open_host,
    write_spell,
)
from tests.support.servers import LLMSPELL, environment, make_project

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "s3cret"

ERAS = {"legacy": LEGACY, "auto": MODERN}


@dataclass
class Wire:
    """A host that is served, and how an official client comes to it."""

    host: Host
    connect: Callable[..., AbstractAsyncContextManager[Client]]
    directory: Path
    listening: asyncio.Event
    """Set once a legacy client can be told something, as soon as it has had one answer."""


Transport = tuple[Callable[[], Any], asyncio.Event]


@asynccontextmanager
async def over_http(host: Host) -> AsyncGenerator[Transport]:
    listening = asyncio.Event()

    async def answered(response: httpx2.Response) -> None:
        # The client opens its stream for notifications by itself, after the handshake.
        if response.request.method == "GET":
            listening.set()

    server = await serve_http(host, port=0, auth=TokenAuthenticator(TOKEN))
    # No time-out of its own: a stream of list changes is silent for long.
    headers = {"authorization": f"Bearer {TOKEN}"}
    hooks = {"response": [answered]}
    async with httpx2.AsyncClient(headers=headers, timeout=None, event_hooks=hooks) as http:
        yield lambda: streamable_http_client(f"{server.url}/mcp", http_client=http), listening
    await server.close()


@asynccontextmanager
async def over_pipe(host: Host) -> AsyncGenerator[Transport]:
    endpoint = McpEndpoint(host)
    listening = asyncio.Event()
    listening.set()
    yield lambda: client_transport(endpoint), listening
    await endpoint.close()


WIRES = {"http": over_http, "pipe": over_pipe}


@asynccontextmanager
async def open_wire(kind: str, directory: Path) -> AsyncGenerator[Wire]:
    async with open_host(directory) as host, WIRES[kind](host) as (transport, listening):

        @asynccontextmanager
        async def connect(era: str, **options: Any) -> AsyncGenerator[Client]:
            async with (
                asyncio.timeout(SECONDS),
                Client(transport(), mode=era, **options) as client,
            ):
                assert client.protocol_version == ERAS[era]
                yield client

        yield Wire(host, connect, directory, listening)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WIRES)
async def wire(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Wire]:
    """A host most tests share: opening one takes longer than they do."""
    async with open_wire(request.param, tmp_path_factory.mktemp("project")) as wire:
        yield wire


@pytest_asyncio.fixture(loop_scope="module", params=WIRES)
async def own_wire(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Wire]:
    """A host of its own, for tests that change its spells or look at its runs."""
    async with open_wire(request.param, tmp_path) as wire:
        yield wire


def text_of(result: Any) -> str:
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_a_client_lists_the_spells_with_their_schemas_and_hints(wire: Wire, era: str) -> None:
    async with wire.connect(era) as client:
        assert "- count: Count the words of a text." in (client.instructions or "")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == sorted([*SPELLS, *CONTROL_TOOLS])
    count = tools["count"]
    assert count.description == "Count the words of a text."
    assert count.input_schema["required"] == ["text"]
    assert count.output_schema is not None
    assert count.output_schema["properties"]["words"]["type"] == "integer"
    assert count.annotations is not None
    assert count.annotations.read_only_hint is True
    assert count.annotations.open_world_hint is False
    assert tools["echo"].title == "Echo"


async def test_a_client_gets_structured_output_and_the_same_as_text(wire: Wire, era: str) -> None:
    async with wire.connect(era) as client:
        result = await client.call_tool("count", {"text": "one two  three"})
    assert result.structured_content == {"words": 3}
    assert text_of(result) == '{"words":3}'
    assert result.meta is not None
    assert result.meta["llmspell/run_id"]


async def test_a_client_gets_a_text_as_it_is(wire: Wire, era: str) -> None:
    text = 'ünïcode "quoted"\n\ttabbed \U0001f9d9'
    async with wire.connect(era) as client:
        assert text_of(await client.call_tool("echo", {"text": text})) == text


@pytest.mark.parametrize(
    "arguments", [{}, {"text": 7}, {"text": None}, {"text": "x", "tekst": "y"}], ids=str
)
async def test_input_that_does_not_fit_is_a_result_that_names_the_field(
    wire: Wire, era: str, arguments: dict[str, Any]
) -> None:
    async with wire.connect(era) as client:
        result = await client.call_tool("echo", arguments)
        assert result.is_error
        assert result.structured_content is None
        assert "tekst" in text_of(result) if "tekst" in arguments else "text" in text_of(result)
        assert "input.invalid" in text_of(result)
        assert not (await client.call_tool("echo", {"text": "still here"})).is_error


async def test_a_spell_that_raises_is_a_result_with_file_line_and_run(wire: Wire, era: str) -> None:
    async with wire.connect(era) as client:
        result = await client.call_tool("fails", {})
    assert result.is_error
    assert "spells/fails.lua:4: no luck today {code: spell.raised}" in text_of(result)
    assert "hint: try tomorrow" in text_of(result)
    assert result.meta is not None
    assert result.meta["llmspell/error"]["run_id"] in text_of(result)


async def test_an_unknown_tool_is_a_wrong_parameter(wire: Wire, era: str) -> None:
    async with wire.connect(era) as client:
        with pytest.raises(MCPError, match="nope") as refused:
            await client.call_tool("nope", {})
    assert refused.value.error.code == -32602


async def test_progress_arrives_in_order_before_the_result(wire: Wire, era: str) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with wire.connect(era) as client:
        result = await client.call_tool("steps", {}, progress_callback=heard)
    assert seen == [(step, 3, f"step {step}") for step in (1, 2, 3)]
    assert text_of(result) == "done"


async def test_giving_up_a_call_ends_its_run(own_wire: Wire, era: str) -> None:
    begun = asyncio.Event()

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        begun.set()

    async with own_wire.connect(era) as client:
        call = asyncio.ensure_future(client.call_tool("waits", {}, progress_callback=heard))
        await begun.wait()
        call.cancel()
        assert (await ended_run(own_wire.host)).state == "canceled"
        assert not (await client.call_tool("echo", {"text": "still here"})).is_error
        await asyncio.wait([call])


async def test_a_legacy_client_hears_of_a_new_spell_and_calls_it(own_wire: Wire) -> None:
    changed = asyncio.Event()

    async def heard(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            changed.set()

    async with own_wire.connect("legacy", message_handler=heard) as client:
        assert "added" not in [tool.name for tool in (await client.list_tools()).tools]
        await own_wire.listening.wait()
        write_spell(own_wire.directory, "added", SPELLS["echo"])
        await own_wire.host.reload()
        await changed.wait()
        assert "added" in [tool.name for tool in (await client.list_tools()).tools]
        assert text_of(await client.call_tool("added", {"text": "new"})) == "new"


async def test_a_modern_client_hears_of_a_new_spell_and_calls_it(own_wire: Wire) -> None:
    async with own_wire.connect("auto") as client:
        assert "added" not in [tool.name for tool in (await client.list_tools()).tools]
        async with client.listen(tools_list_changed=True) as changes:
            write_spell(own_wire.directory, "added", SPELLS["echo"])
            await own_wire.host.reload()
            await anext(aiter(changes))
            assert "added" in [tool.name for tool in (await client.list_tools()).tools]
        assert text_of(await client.call_tool("added", {"text": "new"})) == "new"


async def test_a_changed_spell_is_cast_without_reconnecting(own_wire: Wire, era: str) -> None:
    async with own_wire.connect(era) as client:
        assert text_of(await client.call_tool("echo", {"text": "x"})) == "x"
        write_spell(
            own_wire.directory, "echo", SPELLS["echo"].replace("input.text end", '"new" end')
        )
        await own_wire.host.reload()
        assert text_of(await client.call_tool("echo", {"text": "x"})) == "new"
        write_spell(own_wire.directory, "echo", "return Spell.create {")
        await own_wire.host.reload()
        assert text_of(await client.call_tool("echo", {"text": "x"})) == "new"


async def test_calls_of_one_client_go_side_by_side(wire: Wire, era: str) -> None:
    async with wire.connect(era) as client:
        texts = [f"call {number}" for number in range(20)]
        results = await asyncio.gather(
            *(client.call_tool("echo", {"text": text}) for text in texts)
        )
    assert [text_of(result) for result in results] == texts


async def test_sessions_are_kept_apart_and_named_by_the_client(wire: Wire, era: str) -> None:
    async with wire.connect(era) as client:
        named = await client.call_tool("who", {}, meta={"llmspell/session": "mine"})
        plain = await client.call_tool("who", {})
    assert named.structured_content["session"] == "mine"
    assert plain.structured_content["session"] != "mine"
    assert named.structured_content["message"]["client"]["name"] == "mcp"


@pytest.mark.parametrize("arguments", [("stdio", "--standalone"), ("stdio",)], ids=" ".join)
async def test_over_stdio_a_client_lists_and_calls(
    tmp_path: Path, era: str, arguments: tuple[str, ...]
) -> None:
    project = make_project(tmp_path / "project", ["hello", "word_count"])
    command = StdioServerParameters(
        command=sys.executable,
        args=[*LLMSPELL[1:], "--project", str(project), *arguments],
        env=environment(),
    )
    try:
        async with (
            asyncio.timeout(60),
            Client(stdio_client(command), mode=era) as client,
        ):
            assert client.protocol_version == ERAS[era]
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert {"hello", "word_count"} <= set(names)
            result = await client.call_tool("word_count", {"text": "one two three"})
            assert result.structured_content["words"] == 3
            assert (await client.call_tool("word_count", {"text": 1})).is_error
    finally:
        stop = await asyncio.create_subprocess_exec(
            *LLMSPELL, "--project", str(project), "stop", env=environment()
        )
        await stop.wait()
