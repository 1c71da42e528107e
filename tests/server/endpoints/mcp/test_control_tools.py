"""The tools beside the spells, called as clients call them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from llmspell.endpoints.mcp.control_definitions import DEFINITIONS
from llmspell.endpoints.mcp.exchange import Client
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.host.host import Host
from tests.support.exchange import RecordingExchange
from tests.support.mcp import ENVELOPE, SECONDS, open_host, raw_pipe

SPELLS = {
    "echo": """
-- Say a text back.
return Spell.create {
  input = { text = Schema.string "What to say" },
  output = { text = Schema.string "The text" },
  read_only = true, run = function(input) return { text = input.text } end,
}
""",
    "gated": """
return Spell.create {
  input = {}, wait = "20ms",
  run = function()
    while not State.shared:get "go" do State.shared:watch("go", { timeout = "5s" }) end
    return "through"
  end,
}
""",
    "opens": """
return Spell.create { input = {}, run = function() State.shared:set("go", true) end }
""",
    "long": """
return Spell.create {
  input = { bytes = Schema.integer "How long" },
  run = function(input) return string.rep("0123456789", input.bytes / 10) end,
}
""",
    "secret": """
return Spell.create { input = {}, expose = { mcp = false }, run = function() return 1 end }
""",
}

Object = dict[str, Any]


@asynccontextmanager
async def opened(directory: Path, settings: str = "") -> AsyncGenerator[tuple[Host, McpEndpoint]]:
    async with open_host(directory, SPELLS, settings=settings) as host:
        assert not host.catalogue().problems
        endpoint = McpEndpoint(host)
        try:
            async with asyncio.timeout(SECONDS):
                yield host, endpoint
        finally:
            await endpoint.close()


async def call(
    endpoint: McpEndpoint, tool: str, exchange: RecordingExchange | None = None, **arguments: Any
) -> Object:
    params = {"name": tool, "arguments": arguments}
    return await endpoint.call_tool(exchange or RecordingExchange(), params)


def text_of(result: Object) -> str:
    return result["content"][0]["text"]


def test_every_definition_is_whole_and_sorted() -> None:
    names = [tool["name"] for tool in DEFINITIONS]
    assert names == sorted(names)
    for tool in DEFINITIONS:
        assert tool["title"]
        assert len(tool["description"]) <= 300
        schema = tool["inputSchema"]
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) <= set(schema["properties"])
        assert all(field["description"] for field in schema["properties"].values())
        assert len(tool["annotations"]) == 4


# -- cast


async def test_cast_gives_what_the_tool_of_that_name_gives(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        own = await call(endpoint, "echo", text="hi")
        result = await call(endpoint, "cast", name="echo", input={"text": "hi"})
        for each in (own, result):
            del each["_meta"]
        assert result == own


async def test_cast_takes_an_input_that_a_model_wrote_as_text(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        result = await call(endpoint, "cast", name="echo", input='{"text": "hi"}')
        assert result["structuredContent"] == {"text": "hi"}
        refused = await call(endpoint, "cast", name="echo", input="hi")
        assert refused["isError"]
        assert "`input` is an object" in text_of(refused)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "ecko"}, "did you mean 'echo'?"),
        ({"name": "xyzzy"}, "spell_search"),
        ({"name": "secret"}, "spell.not_found"),
        ({}, "name"),
        ({"name": 3}, "name"),
        ({"name": "echo", "text": "hi"}, "text"),
        ({"name": "echo", "input": [1]}, "input"),
        ({"name": "echo", "input": {"test": "hi"}}, "test"),
    ],
)
async def test_a_cast_that_cannot_be_says_why_to_the_model(
    tmp_path: Path, arguments: Object, said: str
) -> None:
    async with opened(tmp_path) as (_, endpoint):
        result = await call(endpoint, "cast", **arguments)
        assert result["isError"]
        assert said in text_of(result)


# -- run_result and run_cancel


async def test_a_run_is_fetched_by_another_client_than_began_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        handle = (await call(endpoint, "gated"))["structuredContent"]
        first = await call(endpoint, "run_result", run_id=handle["run_id"], wait=0)
        assert first["structuredContent"]["status"] == "working"
        await call(endpoint, "opens")
        other = RecordingExchange(client=Client(name="another"))
        result = await call(endpoint, "run_result", other, run_id=handle["run_id"])
        assert text_of(result) == "through"
        assert "isError" not in result


async def test_a_run_is_stopped(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        run_id = (await call(endpoint, "gated"))["structuredContent"]["run_id"]
        stopped = (await call(endpoint, "run_cancel", run_id=run_id))["structuredContent"]
        assert stopped["status"] == "canceled"
        assert "was stopped" in stopped["how_to_continue"]
        result = await call(endpoint, "run_result", run_id=run_id)
        assert result["isError"]
        assert "canceled" in text_of(result)


@pytest.mark.parametrize("tool", ["run_result", "run_cancel"])
async def test_a_run_nobody_knows_is_an_error_of_the_tool(tmp_path: Path, tool: str) -> None:
    async with opened(tmp_path) as (_, endpoint):
        result = await call(endpoint, tool, run_id="nothing")
        assert result["isError"]
        assert result["_meta"]["llmspell/error"]["code"] == "run.not_found"


@pytest.mark.parametrize("arguments", [{"wait": -1}, {"offset": -1}, {"offset": 1.5}, {"limit": 1}])
async def test_arguments_that_do_not_fit_are_refused(tmp_path: Path, arguments: Object) -> None:
    async with opened(tmp_path) as (_, endpoint):
        result = await call(endpoint, "run_result", run_id="r", **arguments)
        assert result["_meta"]["llmspell/error"]["code"] == "input.invalid"


# -- long results


async def test_a_long_result_is_read_to_its_end_part_by_part(tmp_path: Path) -> None:
    async with opened(tmp_path, '[mcp]\nresult_bytes = "1KiB"\n') as (_, endpoint):
        result = await call(endpoint, "long", bytes=2500)
        assert len(text_of(result)) == 1024
        assert "structuredContent" not in result
        parts = [text_of(result)]
        run_id = result["_meta"]["llmspell/run_id"]
        while len(result["content"]) > 1:
            said = result["content"][1]["text"]
            asked = json.loads(said[said.index("{") : said.index("}") + 1])
            assert asked["run_id"] == run_id
            assert result["content"][2]["uri"] == f"run://{run_id}/result"
            result = await call(endpoint, "run_result", **asked)
            parts.append(text_of(result))
        assert [len(part) for part in parts] == [1024, 1024, 452]
        assert "".join(parts) == "0123456789" * 250


async def test_a_long_result_of_cast_is_cut_too(tmp_path: Path) -> None:
    async with opened(tmp_path, '[mcp]\nresult_bytes = "1KiB"\n') as (_, endpoint):
        result = await call(endpoint, "cast", name="echo", input={"text": "a" * 3000})
        assert "structuredContent" not in result  # the tool cast has no schema of an output
        own = await call(endpoint, "echo", text="a" * 3000)
        assert set(own["structuredContent"]) == {"run_id", "status", "how_to_continue"}


# -- spell_search


async def test_a_search_tells_what_is_needed_to_cast(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        result = await call(endpoint, "spell_search", query="say text", limit=1)
        found = result["structuredContent"]
        assert json.loads(text_of(result)) == found
        [spell] = found["spells"]
        assert spell["name"] == "echo"
        assert spell["description"] == "Say a text back."
        assert spell["input_schema"]["required"] == ["text"]
        assert found["total"] == 4


async def test_a_search_finds_nothing_that_is_not_published_here(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, endpoint):
        found = (await call(endpoint, "spell_search", query="secret"))["structuredContent"]
        assert found["spells"] == []
        assert "lists all" in found["hint"]


@pytest.mark.parametrize("limit", [0, 21, "3"])
async def test_a_search_gives_a_sensible_number(tmp_path: Path, limit: Any) -> None:
    async with opened(tmp_path) as (_, endpoint):
        assert (await call(endpoint, "spell_search", query="", limit=limit))["isError"]


# -- what is offered


async def test_a_tool_that_is_switched_off_is_unknown(tmp_path: Path) -> None:
    async with opened(tmp_path, '[mcp]\ncontrol_tools = ["run_result"]\n') as (_, endpoint):
        with pytest.raises(MCPError, match="unknown tool 'cast'"):
            await call(endpoint, "cast", name="echo")


async def test_a_bundle_casts_and_finds_its_own_spells_only(tmp_path: Path) -> None:
    settings = '[mcp.bundles]\nwords = ["ech*"]\n'
    async with open_host(tmp_path, SPELLS, settings=settings) as host:
        endpoint = McpEndpoint(host, bundle="words")
        assert (await call(endpoint, "echo", text="a"))["structuredContent"] == {"text": "a"}
        with pytest.raises(MCPError, match="unknown tool"):
            await call(endpoint, "opens")
        assert (await call(endpoint, "cast", name="opens"))["isError"]
        found = (await call(endpoint, "spell_search", query=""))["structuredContent"]
        assert [spell["name"] for spell in found["spells"]] == ["echo"]
        await endpoint.close()


async def test_both_eras_are_served_on_the_wire(tmp_path: Path) -> None:
    async with raw_pipe(tmp_path, SPELLS) as (_, pipe):
        params: Object = {"name": "cast", "arguments": {"name": "echo", "input": {"text": "a"}}}
        modern = await pipe.request("tools/call", {**params, "_meta": ENVELOPE})
        assert modern["result"]["resultType"] == "complete"
        await pipe.initialize()
        legacy = await pipe.request("tools/call", params)
        assert legacy["result"]["structuredContent"] == {"text": "a"}
        assert "resultType" not in legacy["result"]
        found = await pipe.request(
            "tools/call", {"name": "spell_search", "arguments": {"query": "say"}}
        )
        assert found["result"]["structuredContent"]["spells"][0]["name"] == "echo"
