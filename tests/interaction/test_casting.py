"""Casting through every door: the same spells, the same results."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.security.principals import local_caller
from tests.interaction.doors import Door, House
from tests.interaction.requirements import requirement
from tests.interaction.spells import SPELLS
from tests.support.mcp import CONTROL_TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLER = local_caller()
BUNDLED = {"hello", "notes", "research_brief", "word_count"}


@requirement("catalogue:list:every-door")
async def test_every_spell_is_listed_in_the_order_of_names(door: Door) -> None:
    names = await door.names()
    assert names == sorted(names)
    spells = set(names) - set(CONTROL_TOOLS) if door.name.startswith("mcp") else set(names)
    assert spells | {"mcp_only", "a2a_only"} == BUNDLED | SPELLS.keys()


@requirement("catalogue:expose:chosen-doors")
async def test_a_spell_is_found_only_where_it_is_exposed(door: Door) -> None:
    shown, hidden = ("mcp_only", "a2a_only")
    if door.name.startswith("a2a"):
        shown, hidden = hidden, shown
    names = await door.names()
    assert shown in names
    assert hidden not in names
    assert (await door.cast(shown, {})).ok
    refused = await door.cast(hidden, {})
    assert (refused.ok, refused.code) == (False, "spell.not_found")


@requirement("cast:output:text")
async def test_a_text_comes_out(door: Door) -> None:
    result = await door.cast("hello", {"name": "Ada"})
    assert (result.ok, result.output) == (True, "Hello, Ada!")
    assert result.run_id


@requirement("cast:output:structured")
async def test_a_structured_output_comes_out(door: Door) -> None:
    result = await door.cast("word_count", {"text": "one two\nthree"})
    assert result.output == {"words": 3, "lines": 2, "characters": 13}
    assert result.run_id


@requirement("cast:input:any-value")
async def test_any_value_comes_out_as_it_went_in(door: Door) -> None:
    value: dict[str, Any] = {
        "text": "grüße 世界 🎉 \u0000 \\ \" '",
        "list": [1, -2, 2.5, True, False, None, "", [], [[]]],
        "deep": {"er": {"and": {"deeper": [{"still": 1}]}}},
        "large": 2**53,
    }
    result = await door.cast("mirror", {"value": value})
    assert result.output == {"value": value}


@requirement("cast:input:defaults")
async def test_a_default_stands_in_for_a_field(door: Door) -> None:
    assert (await door.cast("strict", {"text": "a"})).output == "a a"
    assert (await door.cast("strict", {"text": "a", "count": 3})).output == "a a a"


@requirement("cast:child:own-run")
async def test_a_spell_casts_another_for_the_same_person(door: Door, house: House) -> None:
    result = await door.cast("parent", {})
    assert result.output == "Hello, child!"
    page = await house.host.runs(limit=5, door="spell", caller=CALLER)
    child = next(run for run in page.runs if run.parent == result.run_id)
    assert (child.spell, child.output) == ("hello", "Hello, child!")


@requirement("cast:workflow:agents")
async def test_agents_work_on_a_brief(door: Door) -> None:
    assert (await door.cast("research_brief", {"topic": "tea"})).output == "A brief on tea."
