"""Compiled schemas: what does not fit is named, defaults fill, and Lua's tables are understood."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.components.schema import MAX_PROBLEMS, Schema, SchemaInvalid
from llmspell.values import Object

TEXT: Object = {"type": "string"}
NUMBER: Object = {"type": "integer"}


def closed(**properties: Object) -> Object:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def fields(schema: Schema, value: Any) -> list[str]:
    return [problem.field for problem in schema.problems(value)]


# --- problems


def test_a_value_that_fits_has_no_problems() -> None:
    assert Schema(closed(a=TEXT)).problems({"a": "x"}) == []


@pytest.mark.parametrize("first_only", [False, True])
def test_a_value_that_cannot_be_checked_does_not_fit(first_only: bool) -> None:
    bottomless: Any = 1
    for _ in range(500):
        bottomless = [bottomless]
    for value in (bottomless, "\ud800", {"\ud800": 1}):
        (problem,) = Schema(TEXT).problems(value, first_only=first_only)
        assert "cannot be checked" in problem.message


def test_each_problem_names_its_field_by_the_path_to_it() -> None:
    schema = Schema(closed(a=closed(b={"type": "array", "items": NUMBER}), c=TEXT))
    found = schema.problems({"a": {"b": [1, "two"]}, "c": 5})
    assert {problem.field for problem in found} == {"a.b.1", "c"}
    assert all(str(problem).startswith(f"{problem.field}: ") for problem in found)


def test_a_missing_and_an_unknown_field_are_named_in_the_message() -> None:
    found = list(map(str, Schema(closed(a=TEXT)).problems({"b": 1})))
    assert sorted(found) == ['"a" is a required property', "unknown field 'b'; there is a"]


def test_an_unknown_field_is_told_which_one_was_meant_at_every_depth() -> None:
    inner = {"$ref": "#/$defs/inner"}
    schema = Schema({**closed(name=TEXT, inner=inner), "$defs": {"inner": closed(count=TEXT)}})
    found = schema.problems({"nmae": "x", "other": 1, "inner": {"cuont": "1"}})
    told = [str(problem) for problem in found if "unknown" in problem.message]
    assert sorted(told) == [
        "inner: unknown field 'cuont' (did you mean 'count'?); there is count",
        "unknown fields 'nmae' (did you mean 'name'?), 'other'; there is name, inner",
    ]


def test_no_more_problems_are_named_than_a_reader_wants() -> None:
    schema = Schema({"type": "array", "items": TEXT})
    assert len(schema.problems(list(range(100)))) == MAX_PROBLEMS


def test_a_huge_value_does_not_make_a_huge_message() -> None:
    (problem,) = Schema(closed(a=NUMBER)).problems({"a": "x" * 1_000_000})
    assert len(problem.message) <= 300


# --- defaults


def test_defaults_fill_what_is_absent_at_every_depth() -> None:
    schema = Schema(
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "default": "world"},
                "inner": {"type": "object", "properties": {"n": {"default": 1}}},
                "list": {"type": "array", "items": {"properties": {"n": {"default": 2}}}},
            },
        }
    )
    assert schema.with_defaults({"inner": {}, "list": [{}, {"n": 5}]}) == {
        "name": "world",
        "inner": {"n": 1},
        "list": [{"n": 2}, {"n": 5}],
    }


def test_a_value_that_is_there_is_kept_even_when_it_is_null_or_false() -> None:
    schema = Schema({"properties": {"a": {"default": True}, "b": {"default": 1}}})
    assert schema.with_defaults({"a": False, "b": None}) == {"a": False, "b": None}


def test_filling_defaults_leaves_the_given_value_alone() -> None:
    schema = Schema({"properties": {"a": {"properties": {"b": {"default": 1}}}}})
    given_value: Object = {"a": {}}
    schema.with_defaults(given_value)
    assert given_value == {"a": {}}


# --- repairs


REPAIRS: list[tuple[Object, Any, Any]] = [
    ({"type": "array"}, {}, []),
    ({"type": "object"}, [], {}),
    ({"type": "integer"}, 3.0, 3),
    (closed(a={"type": "array", "items": closed()}), {"a": [[]]}, {"a": [{}]}),
    ({"type": "object", "additionalProperties": {"type": "array"}}, {"a": {}}, {"a": []}),
    ({"type": "array", "items": NUMBER}, [1.0, 2], [1, 2]),
]


@pytest.mark.parametrize(("schema", "value", "repaired"), REPAIRS)
def test_what_lua_cannot_tell_apart_is_what_the_schema_says(
    schema: Object, value: Any, repaired: Any
) -> None:
    found = Schema(schema).repaired(value)
    assert found == repaired
    assert repr(found) == repr(repaired)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 3.5),
        ({"type": "integer"}, 1e300),
        ({"type": "integer"}, float("inf")),
        ({"type": "array"}, {"a": 1}),
        ({"type": "object"}, [1]),
        ({"type": "string"}, []),
        ({"type": ["array", "object"]}, {}),
        ({}, {}),
        (True, 3.0),
    ],
)
def test_nothing_else_is_repaired(schema: Any, value: Any) -> None:
    whole = Schema({"properties": {"a": schema}, "required": ["a"], "items": {"type": "array"}})
    assert repr(whole.repaired({"a": value})) == repr({"a": value})


def values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )


_KINDS = ["array", "integer", "number", "object", "string", "boolean", "null"]


def schemas() -> st.SearchStrategy[Object]:
    kinds = st.sampled_from(_KINDS).map(lambda kind: {"type": kind})
    several = st.lists(st.sampled_from(_KINDS), min_size=1, max_size=3, unique=True)
    nothing = st.builds(dict[str, Any])
    leaves = nothing | kinds | several.map(lambda kind: {"type": kind})
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(lambda items: {"type": "array", "items": items}),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
                lambda fields: {"type": "object", "properties": fields}
            ),
            inner.map(lambda rest: {"type": "object", "additionalProperties": rest}),
            st.lists(inner, min_size=1, max_size=2).map(lambda several: {"anyOf": several}),
        ),
        max_leaves=6,
    )


@given(schemas(), values())
def test_repairing_a_value_that_fits_changes_nothing_but_how_a_number_is_written(
    definition: Object, value: Any
) -> None:
    schema = Schema(definition)
    if not schema.problems(value):
        assert schema.repaired(value) == value
        assert schema.problems(schema.repaired(value)) == []


@given(schemas(), values())
def test_repairing_twice_is_repairing_once(definition: Object, value: Any) -> None:
    schema = Schema(definition)
    once = schema.repaired(value)
    assert repr(schema.repaired(once)) == repr(once)


# --- schemas that are refused


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "sting"},
        {"properties": 5},
        {"pattern": "("},
        {"minimum": "1"},
        {"required": "a"},
    ],
)
def test_a_schema_that_is_none_is_refused_with_a_line_of_reason(definition: Object) -> None:
    with pytest.raises(SchemaInvalid) as caught:
        Schema(definition)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    ["https://example.com/schema.json", "file:///etc/passwd", "other.json", "json-schema:///x"],
)
def test_a_reference_to_another_document_is_refused_and_nothing_is_fetched(target: str) -> None:
    with pytest.raises(SchemaInvalid, match=r"another document|is not present"):
        Schema({"$ref": target})


def test_a_reference_within_the_schema_is_followed() -> None:
    schema = Schema({"$defs": {"n": NUMBER}, "properties": {"a": {"$ref": "#/$defs/n"}}})
    assert fields(schema, {"a": "x"}) == ["a"]
