"""The list of tools on the wire: for each client, page by page, through changes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.host.host import Host
from tests.support.mcp import CONTROL_TOOLS, ENVELOPE, LEGACY, Pipe, open_host, pipe_to

Object = dict[str, Any]
CLIENT_INFO = "io.modelcontextprotocol/clientInfo"

CHOICE = """
-- Takes one of two forms.
return Spell.create {
  input = {
    type = "object",
    properties = { what = { anyOf = { { type = "string" }, { type = "integer" } } } },
  },
  run = function() return true end,
}
"""
SMALL = "return Spell.create { input = {}, run = function() return 1 end }"


def some(count: int) -> dict[str, str]:
    return {f"s{number:02}": SMALL for number in range(count)}


@asynccontextmanager
async def served(
    directory: Path, spells: Mapping[str, str], settings: str = ""
) -> AsyncGenerator[tuple[Host, Pipe]]:
    async with open_host(directory, spells, settings=settings) as host:
        assert not host.catalogue().problems
        endpoint = McpEndpoint(host)
        try:
            async with pipe_to(endpoint) as pipe:
                yield host, pipe
        finally:
            await endpoint.close()


async def shake_hands(pipe: Pipe, client: str) -> None:
    params: Object = {
        "protocolVersion": LEGACY,
        "capabilities": {},
        "clientInfo": {"name": client, "version": "1"},
    }
    assert "result" in await pipe.request("initialize", params)
    await pipe.send("notifications/initialized")


async def listed(pipe: Pipe, client: str | None = None) -> dict[str, Object]:
    """Return the tools on all pages by name; with `client` as it asks in 2026-07-28."""
    found: dict[str, Object] = {}
    params: Object = {}
    if client is not None:
        params["_meta"] = {**ENVELOPE, CLIENT_INFO: {"name": client, "version": "1"}}
    for _ in itertools.count():
        result = (await pipe.request("tools/list", params))["result"]
        if client is not None:
            assert (result["resultType"], result["cacheScope"]) == ("complete", "private")
            assert result["ttlMs"] >= 0
        found |= {tool["name"]: tool for tool in result["tools"]}
        if "nextCursor" not in result:
            break
        params["cursor"] = result["nextCursor"]
    return found


async def test_a_request_says_whose_words_its_answer_is_in(tmp_path: Path) -> None:
    async with served(tmp_path, {"choice": CHOICE}) as (_, pipe):
        schemas = [
            (await listed(pipe, client))["choice"]["inputSchema"]["properties"]["what"]
            for client in ("cursor-vscode", "gemini-cli-mcp-client", "somebody", "cursor-vscode")
        ]
        assert schemas == [
            {"type": ["string", "integer"]},
            {"description": "One of: string, integer."},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            {"type": ["string", "integer"]},
        ]


async def test_a_handshake_says_it_for_its_connection(tmp_path: Path) -> None:
    async with served(tmp_path, {"choice": CHOICE}) as (_, pipe):
        await shake_hands(pipe, "Cursor")
        schema = (await listed(pipe))["choice"]["inputSchema"]["properties"]["what"]
        assert schema == {"type": ["string", "integer"]}


@pytest.mark.parametrize("client", [None, "somebody"])
async def test_pages_on_the_wire_join_to_the_list(tmp_path: Path, client: str | None) -> None:
    async with served(tmp_path, some(12), "[mcp]\npage = 4\n") as (_, pipe):
        await shake_hands(pipe, "somebody")
        assert list(await listed(pipe, client)) == sorted([*some(12), *CONTROL_TOOLS])


async def test_a_cursor_goes_on_in_a_list_that_has_changed(tmp_path: Path) -> None:
    async with served(tmp_path, some(12), "[mcp]\npage = 4\n") as (host, pipe):
        await pipe.initialize()
        first = (await pipe.request("tools/list"))["result"]
        (tmp_path / "spells" / "s01.lua").unlink()
        await host.reload()
        answers = [await pipe.receive()]
        while answers[-1].get("method") != "notifications/tools/list_changed":
            answers.append(await pipe.receive())
        await pipe.send("tools/list", {"cursor": first["nextCursor"]}, id="next")
        while "id" not in (answer := await pipe.receive()):
            pass  # notices of other lists
        assert [tool["name"] for tool in answer["result"]["tools"]] == ["s02", "s03", "s04", "s05"]


async def test_a_cursor_that_is_none_is_an_error_of_the_protocol(tmp_path: Path) -> None:
    async with served(tmp_path, some(1)) as (_, pipe):
        await pipe.initialize()
        answer = await pipe.request("tools/list", {"cursor": "!"})
        assert answer["error"]["code"] == -32602
        assert answer["error"]["data"]["hint"] == "begin again without one"


async def test_a_client_that_takes_few_tools_finds_and_casts_the_others(tmp_path: Path) -> None:
    settings = "[mcp.profiles.cursor]\ntools = 10\n"
    async with served(tmp_path, some(12), settings) as (_, pipe):
        assert list(await listed(pipe, "cursor-vscode")) == [*CONTROL_TOOLS, "spell_search"]
        meta = {**ENVELOPE, CLIENT_INFO: {"name": "cursor-vscode", "version": "1"}}
        for name, arguments in (("s03", {}), ("cast", {"name": "s03"})):
            params = {"name": name, "arguments": arguments, "_meta": meta}
            answer = await pipe.request("tools/call", params)
            assert answer["result"]["content"][0]["text"] == "1"


async def test_a_changed_catalogue_is_told_only_where_the_list_is_another(tmp_path: Path) -> None:
    settings = '[mcp]\ncatalogue = "search"\n'
    async with served(tmp_path, some(2), settings) as (host, pipe):
        await pipe.initialize()
        before = await listed(pipe)
        (tmp_path / "spells" / "new.lua").write_text(SMALL, encoding="utf-8")
        await host.reload()
        await pipe.send("tools/call", {"name": "cast", "arguments": {"name": "new"}}, id="cast")
        told: list[Object] = [await pipe.receive()]
        while "id" not in told[-1]:
            told.append(await pipe.receive())
        assert told[-1]["result"]["content"][0]["text"] == "1"
        assert "notifications/tools/list_changed" not in [each.get("method") for each in told]
        assert list(before) == [*CONTROL_TOOLS, "spell_search"]
