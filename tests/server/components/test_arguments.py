"""Arguments that came as texts, read as their schema means them."""

from __future__ import annotations

import pytest

from llmspell.components.arguments import from_texts
from llmspell.values import JSON


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "7", "7"),
        ("integer", "7", 7),
        ("number", "7.5", 7.5),
        ("boolean", "True", True),
        ("array", "[1, 2]", [1, 2]),
        ("object", '{"a": 1}', {"a": 1}),
        ("integer", "seven", "seven"),
        ("integer", "true", "true"),
        ("boolean", "yes", "yes"),
        ("object", "", ""),
    ],
)
def test_a_text_is_read_as_its_field_says_or_stays_a_text(
    kind: str, text: str, value: JSON
) -> None:
    schema = {"type": "object", "properties": {"field": {"type": kind}}}
    assert from_texts(schema, {"field": text}) == {"field": value}


def test_a_text_that_the_schema_does_not_name_stays_a_text() -> None:
    assert from_texts({"type": "object"}, {"other": "7"}) == {"other": "7"}
