"""What a person types as an answer, read as the question's schema says."""

from __future__ import annotations

import pytest

from llmspell.cli.inputs import read_answer, read_duration, read_field
from llmspell.errors import UsageError
from llmspell.values import Object


def schema(**fields: str) -> Object:
    """Return the schema of an object with fields of these types."""
    return {"type": "object", "properties": {n: {"type": t} for n, t in fields.items()}}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "plain words", "plain words"),
        ("string", "42", "42"),
        ("string", '"in quotes"', "in quotes"),
        ("boolean", "yes", True),
        ("boolean", "No", False),
        ("boolean", "true", True),
        ("integer", "42", 42),
        ("array", "[1, 2]", [1, 2]),
        ("integer", "many", "many"),
    ],
)
def test_one_value_is_that_of_the_only_field(kind: str, text: str, value: object) -> None:
    assert read_answer(text, [], schema(field=kind)) == {"field": value}


def test_an_object_is_the_whole_answer_and_fields_are_laid_over_it() -> None:
    fields = schema(ok="boolean", note="string", n="integer")
    assert read_answer('{"ok": true}', [], fields) == {"ok": True}
    assert read_answer('{"ok": true}', ["note=7", "n=7", "ok=n"], fields) == {
        "ok": False,
        "note": "7",
        "n": 7,
    }
    assert read_answer(None, ["other=x=y"], fields) == {"other": "x=y"}


@pytest.mark.parametrize(("given", "fields"), [("yes", []), (None, ["note"]), (None, ["=x"])])
def test_a_value_for_no_field_is_refused(given: str | None, fields: list[str]) -> None:
    with pytest.raises(UsageError):
        read_answer(given, fields, schema(ok="boolean", note="string"))


def test_yes_is_a_truth_value_only_where_one_is_asked_for() -> None:
    assert read_field("yes", {"type": "string"}) == "yes"
    assert read_field("yes", {}) == "yes"
    assert read_field("y", {"type": "boolean"}) is True


def test_a_duration_is_a_number_of_seconds_or_has_a_unit() -> None:
    assert read_duration("--before", "30d") == 30 * 86_400
    assert read_duration("--before", "90") == 90
    assert read_duration("--before", "0.5") == 0.5
    with pytest.raises(UsageError, match="--before"):
        read_duration("--before", "yesterday")
