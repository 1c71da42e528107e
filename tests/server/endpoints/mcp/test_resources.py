"""Resources over MCP: what is listed and read, in both eras, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

from llmspell.endpoints.mcp.lists import PAGE, page
from llmspell.endpoints.mcp.server import McpEndpoint
from llmspell.errors import AccessForbidden
from llmspell.host.host import Host
from llmspell.host.library_interface import PublishedResource
from llmspell.security.principals import Caller, local_caller
from tests.support.mcp import (
    ENVELOPE,
    Pipe,
    client_transport,
    open_host,
    pipe_to,
    write_spell,
)

SPELLS = {
    "note": """
-- A note of today.
return Resource.create {
  uri = "notes://today", title = "Today", media_type = "text/markdown",
  icon = "data:image/png;base64,AAAA",
  read = function(params, ctx) return "# For " .. ctx.user end,
}
""",
    "picture": """
return Resource.create {
  uri = "notes://picture", read = function() return Content.image("\\137PNG", "image/png") end,
}
""",
    "by_id": """
return Resource.create {
  template = "notes://{id}/data", params = { id = Schema.integer "Its number" },
  read = function(params)
    if params.id == 0 then return nil end
    return { id = params.id }
  end,
}
""",
    "several": """
return Resource.create {
  uri = "notes://several",
  read = function()
    local two = Content.resource { uri = "notes://two", text = "two", media_type = "text/css" }
    return Content.list { "one", two }
  end,
}
""",
    "broken": """
return Resource.create { uri = "notes://broken", read = function() error "no ink" end }
""",
    "counter": """
-- Counts its casts.
return Spell.create {
  input = {},
  resources = {
    Resource.create {
      name = "count", uri = "counter://now",
      read = function() return { count = State.get("count") or 0 } end,
    },
  },
  run = function(_, ctx)
    ctx:progress(1, 1, "counted")
    return State.increment("count", 1)
  end,
}
""",
}


@asynccontextmanager
async def served(
    directory: Path, spells: Mapping[str, str] = SPELLS
) -> AsyncGenerator[tuple[Host, Pipe]]:
    """Open a host and a legacy pipe to it."""
    async with open_host(directory, spells) as host:
        assert not host.catalogue().problems
        endpoint = McpEndpoint(host)
        try:
            async with pipe_to(endpoint) as pipe:
                await pipe.initialize()
                yield host, pipe
        finally:
            await endpoint.close()


async def ask(pipe: Pipe, method: str, modern: bool = False, **params: Any) -> dict[str, Any]:
    if modern:
        params["_meta"] = ENVELOPE
    return await pipe.request(method, params)


async def read(pipe: Pipe, uri: str, *, modern: bool = False) -> list[dict[str, Any]]:
    answer = await ask(pipe, "resources/read", modern, uri=uri)
    return answer["result"]["contents"]


async def test_resources_are_listed_in_the_order_of_their_uris(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        listed = (await ask(pipe, "resources/list"))["result"]["resources"]
        uris = [each["uri"] for each in listed]
        assert uris == sorted(uris)
        assert "counter://now" in uris
        assert "spell://counter" in uris
        assert "spell://note" not in uris
        [note] = [each for each in listed if each["uri"] == "notes://today"]
        assert note == {
            "uri": "notes://today",
            "name": "note",
            "title": "Today",
            "description": "A note of today.",
            "mimeType": "text/markdown",
            "icons": [{"src": "data:image/png;base64,AAAA", "mimeType": "image/png"}],
        }
        templates = (await ask(pipe, "resources/templates/list"))["result"]["resourceTemplates"]
        assert [each["uriTemplate"] for each in templates] == [
            "notes://{id}/data",
            "run://{id}",
            "run://{id}/log",
            "run://{id}/result",
        ]


async def test_lists_and_contents_of_2026_say_how_long_they_may_be_kept(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        for method, params in (
            ("resources/list", {}),
            ("resources/templates/list", {}),
            ("resources/read", {"uri": "notes://today"}),
        ):
            result = (await ask(pipe, method, True, **params))["result"]
            assert result["resultType"] == "complete"
            assert (result["cacheScope"], type(result["ttlMs"])) == ("private", int)


async def test_a_function_makes_text_bytes_json_or_several_contents(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        [note] = await read(pipe, "notes://today")
        user = local_caller().principal
        assert note == {
            "uri": "notes://today",
            "mimeType": "text/markdown",
            "text": f"# For {user}",
        }
        [picture] = await read(pipe, "notes://picture")
        assert (picture["mimeType"], base64.b64decode(picture["blob"])) == ("image/png", b"\x89PNG")
        [data] = await read(pipe, "notes://7/data", modern=True)
        assert (data["mimeType"], json.loads(data["text"])) == ("application/json", {"id": 7})
        assert await read(pipe, "notes://several") == [
            {"uri": "notes://several", "mimeType": "text/plain", "text": "one"},
            {"uri": "notes://two", "mimeType": "text/css", "text": "two"},
        ]


@pytest.mark.parametrize(
    "uri",
    [
        "notes://nothing",
        "notes://0/data",
        "notes://seven/data",
        "run://01a205ebfbb2f30ffe0e2c946b000fdcfdfc",
        "run://../x",
        "spell://note",
        "spell://nobody",
        "file:///etc/passwd",
        "http://example.com/",
        "",
    ],
)
async def test_what_is_not_there_has_the_code_of_its_era(tmp_path: Path, uri: str) -> None:
    async with served(tmp_path) as (_, pipe):
        legacy = (await ask(pipe, "resources/read", uri=uri))["error"]
        assert (legacy["code"], legacy["data"]) == (-32002, {"uri": uri})
        modern = (await ask(pipe, "resources/read", True, uri=uri))["error"]
        assert (modern["code"], modern["data"]) == (-32602, {"uri": uri})


async def test_a_function_that_fails_is_an_error_that_names_its_run(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        error = (await ask(pipe, "resources/read", uri="notes://broken"))["error"]
        assert error["code"] == -32603
        assert "no ink" in error["message"]
        assert error["data"]["code"] == "spell.raised"
        assert error["data"]["run_id"]


async def test_a_resource_sees_the_state_of_its_spell_and_leaves_a_run(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, pipe):
        await ask(pipe, "tools/call", name="counter", arguments={})
        [content] = await read(pipe, "counter://now")
        assert json.loads(content["text"]) == {"count": 1}
        runs = (await host.runs(caller=local_caller())).runs
        assert {run.spell: run.door for run in runs} == {
            "resource:count": "mcp",
            "counter": "mcp",
        }


async def test_a_part_of_a_file_cannot_be_cast_by_its_name(tmp_path: Path) -> None:
    caster = """
local count = Spell.get "resource:count"
return Spell.create { input = {}, run = function() return count:cast {} end }
"""
    async with served(tmp_path, SPELLS | {"caster": caster}) as (_, pipe):
        for name in ("resource:count", "note"):
            error = (await ask(pipe, "tools/call", name=name, arguments={}))["error"]
            assert error["code"] == -32602
        result = (await ask(pipe, "tools/call", name="caster", arguments={}))["result"]
        assert result["isError"]
        assert "spell.not_found" in json.dumps(result)


async def test_a_run_is_read_as_record_result_and_log(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        result = (await ask(pipe, "tools/call", name="counter", arguments={}))["result"]
        run_id = result["_meta"]["llmspell/run_id"]
        [record] = await read(pipe, f"run://{run_id}")
        shown = json.loads(record["text"])
        assert (shown["spell"], shown["state"], shown["output"]) == ("counter", "completed", 1)
        assert shown["result_uri"] == f"run://{run_id}/result"
        [output] = await read(pipe, f"run://{run_id}/result")
        assert output["text"] == "1"
        [log] = await read(pipe, f"run://{run_id}/log")
        events = [json.loads(line) for line in log["text"].splitlines()]
        assert [event["number"] for event in events] == list(range(1, len(events) + 1))
        assert "progress" in [event["kind"] for event in events]
        [rest] = await read(pipe, f"run://{run_id}/log?after=1")
        assert rest["text"] == "".join(log["text"].splitlines(keepends=True)[1:])
        [none] = await read(pipe, f"run://{run_id}/log?after={len(events)}")
        assert none["text"] == ""


async def test_a_long_log_has_pages_that_name_the_next(tmp_path: Path) -> None:
    chatty = """
return Spell.create { input = {}, run = function(_, ctx)
  for i = 1, 1500 do ctx:log("info", "line " .. i) end
end }
"""
    async with served(tmp_path, {"chatty": chatty}) as (_, pipe):
        result = (await ask(pipe, "tools/call", name="chatty", arguments={}))["result"]
        uri = f"run://{result['_meta']['llmspell/run_id']}/log"
        numbers: list[int] = []
        while uri:
            [log] = await read(pipe, uri)
            numbers += [json.loads(line)["number"] for line in log["text"].splitlines()]
            uri = log.get("_meta", {}).get("llmspell/next", "")
        assert numbers == list(range(1, 1503))


async def test_a_run_of_somebody_else_is_not_there(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, pipe):
        other = Caller(principal="somebody", door="mcp")
        outcome = await host.cast("counter", {}, caller=other)
        for part in ("", "/result", "/log"):
            error = (await ask(pipe, "resources/read", uri=f"run://{outcome.run_id}{part}"))[
                "error"
            ]
            assert error["code"] == -32002


async def test_the_source_of_a_spell_is_read_as_it_stands_in_its_file(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, pipe):
        [source] = await read(pipe, "spell://counter")
        assert source["mimeType"] == "text/x-lua"
        assert source["text"] == SPELLS["counter"].lstrip()


async def test_files_that_settings_list_are_resources(tmp_path: Path) -> None:
    (tmp_path / "llmspell.toml").write_text('[mcp]\nresources = ["docs/*.md"]\n')
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/guide.md").write_text("# Guide")
    write_spell(tmp_path, "note", SPELLS["note"])
    environ = {"HOME": str(tmp_path)}
    async with Host.open(tmp_path, state="memory", watch=False, environ=environ) as host:
        endpoint = McpEndpoint(host)
        async with pipe_to(endpoint) as pipe:
            await pipe.initialize()
            uri = (tmp_path / "docs/guide.md").as_uri()
            listed = (await ask(pipe, "resources/list"))["result"]["resources"]
            [guide] = [each for each in listed if each["uri"] == uri]
            assert (guide["name"], guide["size"]) == ("docs/guide.md", 7)
            [content] = await read(pipe, uri)
            assert (content["text"], content["mimeType"]) == ("# Guide", "text/markdown")
        await endpoint.close()


async def test_a_caller_without_the_scope_to_read_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as (host, _):
        limited = Caller(principal="key", scopes=frozenset({"cast"}))
        with pytest.raises(AccessForbidden):
            await host.library.read("spell://counter", caller=limited)
        assert not await host.library.has("notes://today", caller=limited)


def test_a_page_begins_behind_what_its_cursor_names_though_the_list_changed() -> None:
    entries = [PublishedResource(uri=f"a://{number:04}") for number in range(PAGE * 2 + 1)]

    def ask_page(entries: list[PublishedResource], cursor: str | None) -> dict[str, Any]:
        return page(
            "resources",
            entries,
            cursor,
            key=lambda entry: entry.uri,
            shown=lambda entry: {"uri": entry.uri},
            is_modern=False,
        )

    first = ask_page(entries, None)
    assert len(first["resources"]) == PAGE
    second = ask_page(entries[PAGE:], first["nextCursor"])
    assert second["resources"][0] == {"uri": f"a://{PAGE:04}"}
    third = ask_page(entries, second["nextCursor"])
    assert [each["uri"] for each in third["resources"]] == [f"a://{PAGE * 2:04}"]
    assert "nextCursor" not in third
    for cursor in ("", "nonsense", "YWZ0ZXI=", "é"):
        with pytest.raises(MCPError) as caught:
            ask_page(entries, cursor)
        assert caught.value.error.code == -32602


async def test_a_uri_that_two_files_declare_is_the_first_ones(tmp_path: Path) -> None:
    twin = SPELLS["note"].replace("# For", "# Second for")
    async with open_host(tmp_path, {"a_note": SPELLS["note"], "b_note": twin}) as host:
        [problem] = host.catalogue().problems
        assert problem["code"] == "spec.duplicate_name"
        assert problem["where"].startswith("spells/b_note.lua")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_client_lists_and_reads(tmp_path: Path, mode: Any) -> None:
    async with open_host(tmp_path, SPELLS) as host:
        endpoint = McpEndpoint(host)
        async with (
            client_transport(endpoint) as transport,
            Client(_Transport(transport), mode=mode) as client,
        ):
            listed = await client.list_resources()
            assert "notes://today" in [each.uri for each in listed.resources]
            templates = await client.list_resource_templates()
            assert "run://{id}" in [each.uri_template for each in templates.resource_templates]
            [content] = (await client.read_resource("notes://7/data")).contents
            assert isinstance(content, TextResourceContents)
            assert json.loads(content.text) == {"id": 7}
        await endpoint.close()


class _Transport:
    """A pair of streams as the official client takes its transport."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    async def __aenter__(self) -> Any:
        return self._streams

    async def __aexit__(self, *_: object) -> None:
        pass
