"""The catalogue as a list of tools."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.endpoints.mcp.tools import ToolList, build_tools
from llmspell.host.interface import Catalogue, Published

ECHO = Published(
    name="echo",
    title="Echo",
    description="Say it back.\nAll of it.",
    input_schema={"type": "object", "properties": {"text": {"type": "string"}}},
    read_only=True,
)


def build(*spells: Published) -> ToolList:
    return build_tools(Catalogue(1, spells))


def hints(spell: Published) -> dict[str, Any]:
    annotations = build(spell).modern[0].annotations
    assert annotations is not None
    return annotations.model_dump(by_alias=True, exclude_none=True)


def test_a_tool_carries_what_the_spell_declares() -> None:
    [tool] = build(ECHO).modern
    assert (tool.name, tool.title, tool.description) == ("echo", "Echo", ECHO.description)
    assert tool.input_schema == ECHO.input_schema
    assert tool.output_schema is None


def test_every_tool_has_a_description() -> None:
    tools = build(Published(name="bare"), Published(name="titled", title="A title")).modern
    assert [tool.description for tool in tools] == ["The spell 'bare'.", "A title"]


def test_spells_kept_from_mcp_are_neither_listed_nor_callable() -> None:
    tools = build(ECHO, Published(name="hidden", expose_mcp=False))
    assert [tool.name for tool in tools.modern] == ["echo"]
    assert list(tools.spells) == ["echo"]
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
    assert hints(spell) == {
        "readOnlyHint": read_only,
        "destructiveHint": destructive,
        "idempotentHint": idempotent,
        "openWorldHint": open_world,
    }


def test_an_output_schema_that_is_no_object_is_for_the_modern_era_only() -> None:
    tools = build(
        Published(name="many", output_schema={"type": "array"}),
        Published(name="one", output_schema={"type": "object"}),
    )
    assert [tool.output_schema for tool in tools.modern] == [{"type": "array"}, {"type": "object"}]
    assert [tool.output_schema for tool in tools.legacy] == [None, {"type": "object"}]


def test_the_instructions_name_what_is_there() -> None:
    text = build(ECHO, Published(name="bare")).instructions
    assert "- echo: Say it back." in text
    assert "All of it" not in text
    assert "- bare\n" in text


def test_the_instructions_stay_short_with_many_spells() -> None:
    text = build(*(Published(name=f"s{number:03}") for number in range(100))).instructions
    assert "s029" in text
    assert "s030" not in text
    assert "70 more" in text


def test_without_spells_the_instructions_say_so() -> None:
    assert "None is published" in build().instructions
