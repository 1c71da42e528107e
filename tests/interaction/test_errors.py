"""What goes wrong, told in the same words at every door, and the door goes on."""

from __future__ import annotations

import pytest

from tests.interaction.doors import Door, Result
from tests.interaction.requirements import A2A, requirement

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def still_answers(door: Door) -> None:
    assert (await door.cast("hello", {"name": "still"})).output == "Hello, still!"


def refused(result: Result, code: str) -> str:
    """Return what a person is told, having checked that it failed with this code."""
    assert not result.ok
    assert result.code == code, result
    return result.text


@requirement("error:input:misfit")
async def test_input_that_does_not_fit_names_its_field(door: Door) -> None:
    text = refused(await door.cast("strict", {"text": "a", "count": "two"}), "input.invalid")
    assert "count" in text
    text = refused(await door.cast("strict", {}), "input.invalid")
    assert '"text" is a required property' in text
    await still_answers(door)


@requirement("error:input:unknown-field")
async def test_a_field_that_is_not_known_is_refused_by_name(door: Door) -> None:
    text = refused(await door.cast("strict", {"text": "a", "cuont": 2}), "input.invalid")
    assert "cuont" in text


@requirement("error:input:too-large")
async def test_ten_megabytes_are_refused(door: Door) -> None:
    result = await door.cast("strict", {"text": "x" * 10_000_000})
    assert not result.ok
    # Where the wire itself has a limit, its own refusal comes first.
    has_own_limit = door.name in ("mcp-http", *A2A)
    assert result.code == ("" if has_own_limit else "input.too_large"), result
    assert 0 < len(result.text) < 2_000
    await still_answers(door)


@requirement("error:spell:unknown")
async def test_a_spell_that_does_not_exist_is_not_found(door: Door) -> None:
    text = refused(await door.cast("helo", {"name": "x"}), "spell.not_found")
    assert "'helo'" in text
    await still_answers(door)


@requirement("error:spell:raised")
async def test_what_a_spell_raises_arrives_with_all_that_helps(door: Door) -> None:
    result = await door.cast("raises", {})
    text = refused(result, "spell.raised")
    assert "no luck today" in text
    assert "try tomorrow" in text
    assert "spells/raises.lua:6" in text
    assert result.run_id
    assert result.run_id in text


@requirement("error:output:misfit")
async def test_an_output_that_was_not_declared_is_the_authors_fault(door: Door) -> None:
    result = await door.cast("wrong", {})
    text = refused(result, "output.invalid")
    assert "words" in text
    assert "spells/wrong.lua:4" in text
    assert result.run_id


@requirement("error:limit:wall-clock")
async def test_a_loop_without_end_is_ended(door: Door) -> None:
    result = await door.cast("endless", {})
    assert "spells/endless.lua" in refused(result, "limit.wall_clock")
    assert result.run_id
    await still_answers(door)


@requirement("error:limit:memory")
async def test_a_spell_that_eats_memory_is_ended(door: Door) -> None:
    result = await door.cast("greedy", {})
    assert "spells/greedy.lua" in refused(result, "limit.memory")
    assert result.run_id
    await still_answers(door)


@requirement("error:needs:undeclared")
async def test_what_is_not_declared_is_refused_with_the_line_to_add(door: Door) -> None:
    text = refused(await door.cast("undeclared", {}), "need.undeclared")
    assert 'needs = { tools = { "hello" } }' in text
    assert "spells/undeclared.lua:7" in text


@requirement("error:model:unreachable")
async def test_a_model_that_cannot_be_reached_is_named(door: Door) -> None:
    text = refused(await door.cast("unreachable", {}), "model.unavailable")
    assert "openai/gpt-5" in text
    await still_answers(door)
