"""Prompts over MCP: what is listed, how they are filled in, what they ask, what is completed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.host.host import Host
from llmspell.security.principals import local_caller
from tests.support.mcp import ENVELOPE, LEGACY, Pipe, client_transport, open_host, pipe_to

SPELLS = {
    "brief": """
-- A brief on a topic.
return Spell.create {
  prompt = "Write about {{input.topic}} for {{input.audience}}.",
  input = {
    topic = Schema.string "The topic",
    audience = Schema.enum({ "board", "team", "Boarders" }, "Who reads it", { optional = true }),
    short = Schema.boolean("Whether it is short", { optional = true }),
  },
  run = function() end,
}
""",
    "count": """
-- Count words.
return Spell.create {
  prompt = true, title = "Count",
  input = {
    text = Schema.string "The text",
    most = Schema.integer("At most", { optional = true }),
  },
  run = function() end,
}
""",
    "quiet": """
return Spell.create { prompt = true, input = {}, expose = { mcp = false }, run = function() end }
""",
    "talk": """
-- A talk.
return Prompt.create {
  title = "Talk",
  arguments = {
    topic = Schema.string("What about", {
      complete = function(value, context)
        local found = {}
        for _, word in ipairs { "lua", "luau", "python" } do
          if word:find(value, 1, true) == 1 then
            found[#found + 1] = word .. (context.suffix or "")
          end
        end
        return found
      end,
    }),
    rounds = Schema.integer("How many", { optional = true }),
  },
  messages = function(arguments, ctx)
    return {
      "About " .. arguments.topic .. " in " .. tostring(arguments.rounds),
      { role = "assistant", text = "Well, " .. ctx.user },
      { role = "user", content = Content.image("x", "image/png") },
    }
  end,
}
""",
    "asks": """
return Prompt.create {
  messages = function(_, ctx)
    local schema = { name = Schema.string "Name" }
    local answer = ctx:ask { name = "who", message = "Who?", schema = schema }
    return "Hello " .. answer.name
  end,
}
""",
    "refuses": """
return Prompt.create {
  messages = function(_, ctx) ctx:protocol_error(-32077, "not today", { day = 1 }) end,
}
""",
    "nonsense": """
return Prompt.create { messages = function() return { role = "system", text = "x" } end }
""",
    "many": """
local function values() local found = {} for i = 1, 250 do found[i] = "v" .. i end return found end
return Resource.create {
  template = "many://{id}",
  params = { id = Schema.string("Its id", { complete = values }) },
  read = function(params) return params.id end,
}
""",
    "slow": """
return Prompt.create {
  arguments = {
    a = Schema.string("A", { complete = function() error "no idea" end, optional = true }),
  },
  messages = function() return "x" end,
}
""",
}


@asynccontextmanager
async def served(directory: Path) -> AsyncGenerator[tuple[Host, Pipe]]:
    async with open_host(directory, SPELLS) as host:
        assert not host.catalogue().problems
        endpoint = McpEndpoint(host)
        try:
            async with pipe_to(endpoint) as pipe:
                yield host, pipe
        finally:
            await endpoint.close()


def elicits(**more: Any) -> dict[str, Any]:
    capabilities: dict[str, Any] = {
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}
    }
    return {**ENVELOPE, **capabilities, **more}


async def get(pipe: Pipe, name: str, **arguments: str) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments, "_meta": ENVELOPE}
    return await pipe.request("prompts/get", params)


async def complete(pipe: Pipe, ref: dict[str, str], name: str, value: str, **others: str) -> Any:
    params: dict[str, Any] = {
        "ref": ref,
        "argument": {"name": name, "value": value},
        "_meta": ENVELOPE,
    }
    if others:
        params["context"] = {"arguments": others}
    return await pipe.request("completion/complete", params)


def prompt(name: str) -> dict[str, str]:
    return {"type": "ref/prompt", "name": name}


def template(uri: str) -> dict[str, str]:
    return {"type": "ref/resource", "uri": uri}


async def test_prompts_are_listed_by_name_with_their_arguments(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        result = (await pipe.request("prompts/list", {"_meta": ENVELOPE}))["result"]
        names = [each["name"] for each in result["prompts"]]
        assert names == ["asks", "brief", "count", "nonsense", "refuses", "slow", "talk"]
        assert result["resultType"] == "complete"
        assert result["cacheScope"] == "private"
        [talk] = [each for each in result["prompts"] if each["name"] == "talk"]
        assert talk == {
            "name": "talk",
            "title": "Talk",
            "description": "A talk.",
            "arguments": [
                {"name": "topic", "description": "What about", "required": True},
                {"name": "rounds", "description": "How many", "required": False},
            ],
        }


async def test_a_text_is_filled_in_and_what_was_left_out_is_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, pipe):
        result = (await get(pipe, "brief", topic="Lua", audience=""))["result"]
        assert result["description"] == "A brief on a topic."
        assert result["messages"] == [
            {"role": "user", "content": {"type": "text", "text": "Write about Lua for ."}}
        ]
        assert not (await host.runs(caller=local_caller())).runs


async def test_a_spell_without_a_text_asks_for_its_own_call(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        [message] = (await get(pipe, "count", text="a b", most="3"))["result"]["messages"]
        text = message["content"]["text"]
        assert (
            text == """Use the tool 'count': Count words.\n\nIts input:\n{"text":"a b","most":3}"""
        )


async def test_a_function_makes_messages_of_both_roles(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        result = (await get(pipe, "talk", topic="Lua", rounds="2"))["result"]
        first, second, third = result["messages"]
        assert first == {"role": "user", "content": {"type": "text", "text": "About Lua in 2"}}
        assert second["role"] == "assistant"
        assert third["content"] == {"type": "image", "data": "eA==", "mimeType": "image/png"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nobody", {}, "there is no prompt 'nobody'"),
        ("quiet", {}, "there is no prompt 'quiet'"),
        ("talk", {}, "the arguments of the prompt 'talk' do not fit: \"topic\" is a required"),
        ("talk", {"topic": "x", "rounds": "two"}, 'rounds: "two" is not of type'),
        ("brief", {"topic": "x", "audience": "cats"}, "the prompt 'brief' do not fit: audience"),
        ("brief", {"topic": "x", "colour": "red"}, "unknown field 'colour'"),
    ],
)
async def test_wrong_arguments_are_the_callers_error(
    tmp_path: Path, name: str, arguments: dict[str, str], message: str
) -> None:
    async with served(tmp_path) as (_, pipe):
        error = (await get(pipe, name, **arguments))["error"]
        assert error["code"] == -32602
        assert message in error["message"]


async def test_what_a_function_returned_that_is_no_message_is_an_error(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        error = (await get(pipe, "nonsense"))["error"]
        assert (error["code"], error["data"]["code"]) == (-32603, "output.invalid")
        error = (await get(pipe, "refuses"))["error"]
        assert error == {"code": -32077, "message": "not today", "data": {"day": 1}}


async def test_what_a_prompt_asks_is_put_to_the_client_in_rounds(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, pipe):
        params: dict[str, Any] = {"name": "asks", "_meta": elicits()}
        asked = (await pipe.request("prompts/get", params))["result"]
        assert asked["resultType"] == "input_required"
        assert asked["inputRequests"]["who"]["params"]["message"] == "Who?"
        params["requestState"] = asked["requestState"]
        params["inputResponses"] = {"who": {"action": "accept", "content": {"name": "Ann"}}}
        other = await pipe.request("prompts/get", {**params, "name": "talk"})
        assert other["error"]["code"] == -32602
        result = (await pipe.request("prompts/get", params))["result"]
        assert result["messages"][0]["content"]["text"] == "Hello Ann"
        [run] = (await host.runs(caller=local_caller())).runs
        assert run.state == "completed"


async def test_what_a_prompt_asks_is_asked_over_the_pipe_before_2026(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        await pipe.request(
            "initialize",
            {
                "protocolVersion": LEGACY,
                "capabilities": {"elicitation": {}},
                "clientInfo": {"name": "raw", "version": "1"},
            },
        )
        await pipe.send("notifications/initialized")
        await pipe.send("prompts/get", {"name": "asks"}, id="p")
        question = await pipe.receive()
        assert question["method"] == "elicitation/create"
        answer = {"action": "accept", "content": {"name": "Bob"}}
        await pipe.write(
            json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": answer}).encode() + b"\n"
        )
        result = await pipe.receive()
        assert result["result"]["messages"][0]["content"]["text"] == "Hello Bob"


async def test_a_client_that_cannot_ask_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, pipe):
        error = (await get(pipe, "asks"))["error"]
        assert error["code"] == -32603
        assert "needs an answer: Who?" in error["message"]
        handle = await host.run(error["data"]["run_id"], caller=local_caller())
        async with asyncio.timeout(20):
            async for _ in handle.events():
                pass
        assert (await handle.record()).state == "canceled"


# -- completion


async def test_enums_and_booleans_complete_themselves(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        found = (await complete(pipe, prompt("brief"), "audience", "BOARD"))["result"]
        assert found["completion"] == {
            "values": ["board", "Boarders"],
            "total": 2,
            "hasMore": False,
        }
        found = (await complete(pipe, prompt("brief"), "audience", "ea"))["result"]
        assert found["completion"]["values"] == ["team"]
        found = (await complete(pipe, prompt("brief"), "short", ""))["result"]
        assert found["completion"]["values"] == ["true", "false"]
        found = (await complete(pipe, prompt("brief"), "topic", "x"))["result"]
        assert found["completion"] == {"values": [], "total": 0, "hasMore": False}


async def test_a_function_completes_with_what_is_known_already(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, pipe):
        found = (await complete(pipe, prompt("talk"), "topic", "lua", suffix="!"))["result"]
        assert found["completion"]["values"] == ["lua!", "luau!"]
        assert not (await host.runs(caller=local_caller())).runs  # one for each key would be many


async def test_at_most_a_hundred_values_are_proposed(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        found = (await complete(pipe, template("many://{id}"), "id", ""))["result"]["completion"]
        assert (len(found["values"]), found["total"], found["hasMore"]) == (100, 250, True)


async def test_the_callers_own_runs_complete_the_template_of_runs(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, pipe):
        mine = await host.cast("brief", {"topic": "x"}, caller=local_caller("mcp"))
        await get(pipe, "talk", topic="x")
        found = (await complete(pipe, template("run://{id}/log"), "id", mine.run_id[:4]))["result"]
        assert found["completion"]["values"] == [mine.run_id]


@pytest.mark.parametrize(
    ("ref", "argument", "code"),
    [
        (prompt("nobody"), "a", -32602),
        (prompt("brief"), "colour", -32602),
        (template("many://{other}"), "id", -32602),
        (template("run://{id}"), "after", -32602),
        (prompt("slow"), "a", -32603),
    ],
)
async def test_what_cannot_be_completed_is_an_error(
    tmp_path: Path, ref: dict[str, str], argument: str, code: int
) -> None:
    async with served(tmp_path) as (_, pipe):
        assert (await complete(pipe, ref, argument, ""))["error"]["code"] == code


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_client_lists_fills_in_and_completes(tmp_path: Path, mode: Any) -> None:
    async with open_host(tmp_path, SPELLS) as host:
        endpoint = McpEndpoint(host)
        async with (
            client_transport(endpoint) as streams,
            Client(_Transport(streams), mode=mode) as client,
        ):
            assert "talk" in [each.name for each in (await client.list_prompts()).prompts]
            got = await client.get_prompt("talk", {"topic": "Lua"})
            assert [each.role for each in got.messages] == ["user", "assistant", "user"]
        await endpoint.close()


class _Transport:
    """A pair of streams as the official client takes its transport."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    async def __aenter__(self) -> Any:
        return self._streams

    async def __aexit__(self, *_: object) -> None:
        pass
