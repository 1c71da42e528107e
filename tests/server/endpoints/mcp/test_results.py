"""Outcomes as tool results."""

from __future__ import annotations

from typing import Any

import pytest
from mcp_types import CallToolResult

from llmspell.endpoints.mcp.results import content_block, error_result, outcome_result
from llmspell.errors import InputInvalid, SpellRaised
from llmspell.host.catalogue import Published
from llmspell.runs.record import Outcome, RunState

PLAIN = Published(name="plain")
OBJECT = Published(name="object", output_schema={"type": "object"})
LIST = Published(name="list", output_schema={"type": "array"})


def completed(output: Any, content: list[dict[str, Any]] | None = None) -> Outcome:
    return Outcome(run_id="r1", spell="s", state="completed", output=output, content=content)


def checked(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result that is one in the eyes of the SDK."""
    CallToolResult.model_validate(result, by_name=False)
    return result


def test_a_text_is_text_and_nothing_else() -> None:
    result = outcome_result(completed("hello\nthere"), PLAIN, is_modern=True)
    assert checked(result) == {
        "_meta": {"llmspell/run_id": "r1"},
        "content": [{"type": "text", "text": "hello\nthere"}],
        "resultType": "complete",
    }


@pytest.mark.parametrize("spell", [PLAIN, OBJECT])
@pytest.mark.parametrize("is_modern", [True, False])
def test_an_object_is_structured_and_mirrored_as_text(spell: Published, is_modern: bool) -> None:
    result = checked(outcome_result(completed({"b": 1, "a": [2]}), spell, is_modern=is_modern))
    assert result["structuredContent"] == {"b": 1, "a": [2]}
    assert result["content"] == [{"type": "text", "text": '{"b":1,"a":[2]}'}]


def test_a_declared_list_is_structured_where_the_protocol_allows_it() -> None:
    modern = checked(outcome_result(completed([1]), LIST, is_modern=True))
    legacy = checked(outcome_result(completed([1]), LIST, is_modern=False))
    assert modern["structuredContent"] == [1]
    assert "structuredContent" not in legacy
    assert modern["content"] == legacy["content"] == [{"type": "text", "text": "[1]"}]


@pytest.mark.parametrize(("output", "text"), [([1, 2], "[1,2]"), (1.5, "1.5"), (True, "true")])
def test_other_values_are_their_json(output: Any, text: str) -> None:
    result = checked(outcome_result(completed(output), PLAIN, is_modern=True))
    assert result["content"] == [{"type": "text", "text": text}]
    assert "structuredContent" not in result


def test_nothing_is_no_content() -> None:
    assert checked(outcome_result(completed(None), PLAIN, is_modern=False))["content"] == []


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
    assert content_block(part) == block
    checked({"content": [block]})


def test_an_error_is_a_readable_result_with_its_parts_beside_it() -> None:
    error = InputInvalid("text: 1 is not a string", data={"errors": [{"path": "text"}]})
    result = checked(error_result(error.with_run("r9"), is_modern=False))
    assert result["isError"]
    assert "structuredContent" not in result
    [block] = result["content"]
    assert "text: 1 is not a string {code: input.invalid}" in block["text"]
    assert "hint:" in block["text"]
    assert "run: r9" in block["text"]
    assert result["_meta"] == {
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
    result = outcome_result(outcome, OBJECT, is_modern=False)
    assert result["isError"]
    assert "structuredContent" not in result
    [block] = result["content"]
    assert "spells/x.lua:7: boom {code: spell.raised}" in block["text"]
    assert "run: r2" in block["text"]


@pytest.mark.parametrize("state", ["canceled", "rejected", "failed"])
def test_a_run_that_ended_otherwise_is_an_error_even_without_one(state: RunState) -> None:
    result = outcome_result(Outcome(run_id="r", spell="s", state=state), PLAIN, is_modern=False)
    assert result["isError"]
    assert state in checked(result)["content"][0]["text"]
