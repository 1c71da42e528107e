"""Outcomes as tool results."""

from __future__ import annotations

from typing import Any

import pytest
from mcp_types import CallToolResult, TextContent

from llmspell.endpoints.mcp.results import content_block, error_result, outcome_result
from llmspell.errors import InputInvalid, SpellRaised
from llmspell.host.interface import Published
from llmspell.runs.record import Outcome, RunState

PLAIN = Published(name="plain")
OBJECT = Published(name="object", output_schema={"type": "object"})
LIST = Published(name="list", output_schema={"type": "array"})


def completed(output: Any, content: list[dict[str, Any]] | None = None) -> Outcome:
    return Outcome(run_id="r1", spell="s", state="completed", output=output, content=content)


def wire(result: CallToolResult) -> dict[str, Any]:
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def test_a_text_is_text_and_nothing_else() -> None:
    result = outcome_result(completed("hello\nthere"), PLAIN, objects_only=True)
    assert wire(result) == {
        "_meta": {"llmspell/run_id": "r1"},
        "content": [{"type": "text", "text": "hello\nthere"}],
        "isError": False,
        "resultType": "complete",
    }


@pytest.mark.parametrize("spell", [PLAIN, OBJECT])
@pytest.mark.parametrize("objects_only", [True, False])
def test_an_object_is_structured_and_mirrored_as_text(spell: Published, objects_only: bool) -> None:
    result = wire(outcome_result(completed({"b": 1, "a": [2]}), spell, objects_only=objects_only))
    assert result["structuredContent"] == {"b": 1, "a": [2]}
    assert result["content"] == [{"type": "text", "text": '{"b":1,"a":[2]}'}]


def test_a_declared_list_is_structured_where_the_protocol_allows_it() -> None:
    modern = wire(outcome_result(completed([1]), LIST, objects_only=False))
    legacy = wire(outcome_result(completed([1]), LIST, objects_only=True))
    assert modern["structuredContent"] == [1]
    assert "structuredContent" not in legacy
    assert modern["content"] == legacy["content"] == [{"type": "text", "text": "[1]"}]


@pytest.mark.parametrize(("output", "text"), [([1, 2], "[1,2]"), (1.5, "1.5"), (True, "true")])
def test_other_values_are_their_json(output: Any, text: str) -> None:
    result = wire(outcome_result(completed(output), PLAIN, objects_only=False))
    assert result["content"] == [{"type": "text", "text": text}]
    assert "structuredContent" not in result


def test_nothing_is_no_content() -> None:
    assert wire(outcome_result(completed(None), PLAIN, objects_only=True))["content"] == []


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "text", "text": "hi"}, {"type": "text", "text": "hi"}),
        (
            {"type": "image", "data": "AAAA", "media_type": "image/webp"},
            {"type": "image", "data": "AAAA", "mimeType": "image/webp"},
        ),
        (
            {"type": "audio", "data": "AAAA", "media_type": "audio/mpeg"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/mpeg"},
        ),
        (
            {"type": "resource", "uri": "x://1", "text": "t", "media_type": "text/plain"},
            {
                "type": "resource",
                "resource": {"uri": "x://1", "text": "t", "mimeType": "text/plain"},
            },
        ),
        (
            {"type": "resource", "uri": "x://1", "data": "AAAA"},
            {"type": "resource", "resource": {"uri": "x://1", "blob": "AAAA"}},
        ),
        (
            {"type": "resource", "uri": "x://1", "name": "one"},
            {"type": "resource_link", "uri": "x://1", "name": "one"},
        ),
        ({"type": "hologram"}, {"type": "text", "text": '{"type":"hologram"}'}),
    ],
)
def test_a_part_becomes_a_content_block(part: dict[str, Any], block: dict[str, Any]) -> None:
    dumped = content_block(part).model_dump(by_alias=True, mode="json", exclude_none=True)
    assert dumped == block


def test_an_error_is_a_readable_result_with_its_parts_beside_it() -> None:
    error = InputInvalid("text: 1 is not a string", data={"errors": [{"path": "text"}]})
    result = error_result(error.with_run("r9"))
    assert result.is_error
    assert result.structured_content is None
    [block] = result.content
    assert isinstance(block, TextContent)
    assert "text: 1 is not a string {code: input.invalid}" in block.text
    assert "hint:" in block.text
    assert "run: r9" in block.text
    assert result.meta == {
        "llmspell/run_id": "r9",
        "llmspell/error": {
            "code": "input.invalid",
            "hint": error.hint,
            "run_id": "r9",
            "data": {"errors": [{"path": "text"}]},
        },
    }


def test_a_failed_run_is_an_error_that_keeps_file_line_and_run() -> None:
    error = SpellRaised("boom", where="spells/x.lua:7").to_value()
    outcome = Outcome(run_id="r2", spell="x", state="failed", error=error)
    result = outcome_result(outcome, OBJECT, objects_only=True)
    assert result.is_error
    assert result.structured_content is None
    [block] = result.content
    assert isinstance(block, TextContent)
    assert "spells/x.lua:7: boom {code: spell.raised}" in block.text
    assert "run: r2" in block.text


@pytest.mark.parametrize("state", ["canceled", "rejected", "failed"])
def test_a_run_that_ended_otherwise_is_an_error_even_without_one(state: RunState) -> None:
    result = outcome_result(Outcome(run_id="r", spell="s", state=state), PLAIN, objects_only=True)
    assert result.is_error
    assert state in wire(result)["content"][0]["text"]
