"""The catalogue as a list of tools."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from llmspell.config import McpSettings
from llmspell.endpoints.mcp.bundles import bundles_of
from llmspell.endpoints.mcp.exchange import Client
from llmspell.endpoints.mcp.tools import ToolList
from llmspell.host.catalogue import Catalogue, Published

ANY = Client()
CURSOR = Client(name="cursor-vscode")
CONTROL = ["cast", "run_cancel", "run_result"]

ECHO = Published(
    name="echo",
    title="Echo",
    description="Say it back.\nAll of it.",
    input_schema={"type": "object", "properties": {"text": {"type": "string"}}},
    read_only=True,
)

Object = dict[str, Any]


def build(*spells: Published, bundle: str = "", **settings: Any) -> ToolList:
    return ToolList(Catalogue(1, spells), McpSettings(**settings), bundle=bundle)


def many(count: int) -> list[Published]:
    return [Published(name=f"s{number:04}") for number in range(count)]


def listed(tools: ToolList, client: Client = ANY, *, modern: bool = True) -> dict[str, Object]:
    """Return what a client is listed on all pages, by name."""
    found: dict[str, Object] = {}
    cursor: str | None = None
    while True:
        page = tools.listing(client, modern, cursor)
        names = [tool["name"] for tool in page["tools"]]
        assert names == sorted(names)
        assert not found or names[0] > max(found)
        found |= {tool["name"]: tool for tool in page["tools"]}
        cursor = page.get("nextCursor")
        if cursor is None:
            return found


def spells_listed(tools: ToolList, client: Client = ANY, *, modern: bool = True) -> list[Object]:
    return [tool for name, tool in listed(tools, client, modern=modern).items() if tools.get(name)]


def test_a_tool_carries_what_the_spell_declares() -> None:
    [tool] = spells_listed(build(ECHO))
    assert (tool["name"], tool["title"], tool["description"]) == ("echo", "Echo", ECHO.description)
    assert tool["inputSchema"] == ECHO.input_schema
    assert "outputSchema" not in tool
    assert "icons" not in tool
    assert "_meta" not in tool


def test_every_tool_has_a_description_and_takes_an_object() -> None:
    tools = spells_listed(build(Published(name="bare"), Published(name="titled", title="A title")))
    assert [tool["description"] for tool in tools] == ["The spell 'bare'.", "A title"]
    assert [tool["inputSchema"] for tool in tools] == [{"type": "object"}] * 2


def test_spells_kept_from_mcp_are_neither_listed_nor_callable() -> None:
    tools = build(ECHO, Published(name="hidden", expose_mcp=False))
    assert list(listed(tools)) == ["cast", "echo", "run_cancel", "run_result"]
    assert tools.get("hidden") is None
    assert "hidden" not in tools.instructions


@pytest.mark.parametrize(
    ("spell", "read_only", "destructive", "idempotent", "open_world"),
    [
        (Published(name="a"), False, True, False, True),
        (Published(name="a", read_only=True), True, False, True, True),
        (Published(name="a", destructive=False, idempotent=True), False, False, True, True),
        (Published(name="a", open_world=False), False, True, False, False),
    ],
)
def test_all_hints_are_set_and_silence_means_the_worst(
    spell: Published, read_only: bool, destructive: bool, idempotent: bool, open_world: bool
) -> None:
    [tool] = spells_listed(build(spell))
    assert tool["annotations"] == {
        "readOnlyHint": read_only,
        "destructiveHint": destructive,
        "idempotentHint": idempotent,
        "openWorldHint": open_world,
    }


def test_an_icon_says_its_type_where_its_address_does() -> None:
    linked = Published(name="a", icon="https://example.org/a.png")
    inline = Published(name="b", icon="data:image/svg+xml;base64,PHN2Zy8+")
    assert [tool["icons"] for tool in spells_listed(build(linked, inline))] == [
        [{"src": "https://example.org/a.png"}],
        [{"src": "data:image/svg+xml;base64,PHN2Zy8+", "mimeType": "image/svg+xml"}],
    ]


def test_an_output_schema_that_is_no_object_is_for_the_modern_era_only() -> None:
    tools = build(
        Published(name="many", output_schema={"type": "array"}, when_long="wait"),
        Published(name="one", output_schema={"type": "object"}, when_long="wait"),
    )
    modern = [tool.get("outputSchema") for tool in spells_listed(tools)]
    legacy = [tool.get("outputSchema") for tool in spells_listed(tools, modern=False)]
    assert modern == [{"type": "array"}, {"type": "object"}]
    assert legacy == [None, {"type": "object"}]


def test_an_output_that_may_become_a_handle_publishes_a_schema_that_fits_both() -> None:
    schema = {"type": "object", "properties": {"words": {"type": "integer"}}, "required": ["words"]}
    [tool] = spells_listed(build(Published(name="count", output_schema=schema)))
    assert "required" not in tool["outputSchema"]
    assert set(tool["outputSchema"]["properties"]) == {
        "words",
        "run_id",
        "status",
        "how_to_continue",
    }


# -- pages


def test_a_thousand_tools_stand_on_one_page_of_the_usual_size() -> None:
    tools = build(*many(996))  # clients that read only the first page miss nothing
    page = tools.listing(ANY, modern=True)
    assert len(page["tools"]) == 1000
    assert "nextCursor" not in page


def test_pages_join_to_the_whole_list_in_the_order_of_names() -> None:
    spells = many(95)
    whole = listed(build(*spells))
    assert listed(build(*spells, page=10)) == whole
    assert list(whole) == sorted([spell.name for spell in spells] + [*CONTROL, "spell_search"])


def test_a_page_is_the_same_however_often_it_is_asked_for() -> None:
    first, again = build(*many(50), page=20), build(*many(50), page=20)
    cursor = first.listing(ANY, modern=True)["nextCursor"]
    assert first.listing(ANY, True, cursor) == again.listing(ANY, True, cursor)


def test_a_cursor_from_before_a_change_goes_on_at_its_place_in_the_new_list() -> None:
    spells = many(40)
    cursor = build(*spells, page=10).listing(ANY, modern=True)["nextCursor"]
    changed = build(*spells[:3], *spells[20:], page=10)
    page = changed.listing(ANY, True, cursor)
    seen = {tool["name"] for tool in build(*spells, page=10).listing(ANY, True)["tools"]}
    names = [tool["name"] for tool in page["tools"]]
    assert seen.isdisjoint(names)
    assert names[0] == "s0020"


@pytest.mark.parametrize(
    "cursor", ["", "x", "???", "\N{SNOWMAN}", base64.b64encode(b"before:echo").decode()]
)
def test_a_cursor_of_somebody_else_is_refused(cursor: str) -> None:
    with pytest.raises(MCPError, match="unknown cursor") as refused:
        build(ECHO).listing(ANY, True, cursor)
    assert refused.value.error.code == -32602


# -- the tools beside the spells


def test_searching_is_offered_with_more_spells_than_one_reads() -> None:
    assert "spell_search" not in listed(build(*many(30)))
    assert "spell_search" in listed(build(*many(31)))
    assert "spell_search" in listed(build(*many(3), search_above=2))


def test_each_tool_beside_the_spells_can_be_left_out() -> None:
    tools = build(ECHO, control_tools=["run_result"])
    assert list(listed(tools)) == ["echo", "run_result"]
    assert tools.offers("run_result")
    assert not tools.offers("cast")
    assert list(listed(build(ECHO, control_tools=[]))) == ["echo"]


def test_a_spell_takes_the_place_of_a_tool_of_its_name() -> None:
    mine = Published(name="cast", title="My cast")
    tools = build(mine, ECHO)
    assert listed(tools)["cast"]["title"] == "My cast"
    assert not tools.offers("cast")
    assert tools.get("cast") == mine


def test_a_catalogue_to_search_lists_no_spells_and_calls_all() -> None:
    tools = build(*many(3), catalogue="search")
    assert list(listed(tools)) == [*CONTROL, "spell_search"]
    assert tools.get("s0001") is not None


def test_every_tool_has_a_schema_for_the_headers_of_a_call() -> None:
    tools = build(ECHO)
    assert tools.input_schema("echo") == ECHO.input_schema
    assert (tools.input_schema("cast") or {})["type"] == "object"
    assert tools.input_schema("nothing") is None


def test_a_longer_result_than_is_usually_kept_is_announced() -> None:
    [tool] = spells_listed(build(ECHO, result_bytes="200KiB"))
    assert tool["_meta"] == {"anthropic/maxResultSizeChars": 204_800}
    [tool] = spells_listed(build(ECHO, result_bytes="2MiB"))
    assert tool["_meta"] == {"anthropic/maxResultSizeChars": 500_000}


# -- clients


def test_a_client_that_takes_few_tools_searches_beyond_them() -> None:
    assert len(listed(build(*many(36)), CURSOR)) == 40  # with cast, run_* and spell_search
    assert list(listed(build(*many(37)), CURSOR)) == [*CONTROL, "spell_search"]
    assert len(listed(build(*many(37)))) == 41


def test_a_client_is_listed_everything_when_it_could_not_search() -> None:
    tools = build(*many(50), control_tools=["run_result"])
    assert len(listed(tools, CURSOR)) == 51


def test_a_name_too_long_for_a_client_is_left_to_cast() -> None:
    long, short = Published(name="n" * 48), Published(name="short")
    settings: Object = {"profiles": {"cursor": {"name_length": 40}}}
    tools = build(long, short, **settings)
    assert list(listed(tools, CURSOR)) == [*CONTROL, "short", "spell_search"]
    assert long.name in listed(tools)
    alone = build(long, short, control_tools=[], **settings)
    assert list(listed(alone, CURSOR)) == [long.name, "short"]


def test_a_schema_is_in_the_words_a_client_takes() -> None:
    schema: Object = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {}]}}}
    tools = build(Published(name="a", input_schema=schema))
    assert spells_listed(tools)[0]["inputSchema"] == schema
    assert "anyOf" not in str(spells_listed(tools, CURSOR)[0]["inputSchema"])
    assert tools.input_schema("a") == schema


# -- changes


def test_only_what_clients_see_makes_a_list_another_one() -> None:
    before = build(ECHO)
    assert build(ECHO).same_as(before)
    assert not build(ECHO, *many(1)).same_as(before)
    assert build(ECHO, Published(name="hidden", expose_mcp=False)).same_as(before)
    searched = build(ECHO, catalogue="search")
    assert build(ECHO, *many(1), catalogue="search").same_as(searched)


# -- bundles


def test_a_bundle_has_the_spells_that_come_from_it_or_are_put_there() -> None:
    spells = [
        Published(name="export_csv"),
        Published(name="export_pdf"),
        Published(name="import_csv"),
        Published(name="tour", bundle="gallery"),
    ]
    settings: Object = {"bundles": {"exports": ["export_*"], "empty": []}}
    assert list(build(*spells, bundle="exports", **settings).spells) == ["export_csv", "export_pdf"]
    assert list(build(*spells, bundle="gallery", **settings).spells) == ["tour"]
    assert list(build(*spells, bundle="empty", **settings).spells) == []
    names = bundles_of(Catalogue(1, tuple(spells)), settings["bundles"])
    assert names == ["empty", "exports", "gallery"]


# -- instructions


def test_the_instructions_name_what_is_there() -> None:
    text = build(ECHO, Published(name="bare")).instructions
    assert "- echo: Say it back." in text
    assert "All of it" not in text
    assert text.endswith("- bare")
    assert "run_result" in text


def test_the_instructions_stay_short_with_many_spells() -> None:
    text = build(*(Published(name=f"s{number:03}") for number in range(100))).instructions
    assert "s029" in text
    assert "s030" not in text
    assert "70 more" in text
    wordy = [Published(name=f"{'n' * 44}{n:04}", description="word " * 50) for n in range(1000)]
    assert len(build(*wordy).instructions) <= 2000


def test_without_spells_the_instructions_say_so() -> None:
    assert "None is published" in build().instructions


def test_the_instructions_name_no_tool_that_is_not_offered() -> None:
    text = build(*many(40), control_tools=[]).instructions
    assert not [name for name in [*CONTROL, "spell_search"] if name in text]
    assert "Find one with spell_search" in build(ECHO, catalogue="search").instructions
