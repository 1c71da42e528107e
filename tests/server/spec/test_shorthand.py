"""Schema shorthand: what an author writes becomes the JSON Schema that is published."""

from __future__ import annotations

import pytest

from llmspell.spec.shorthand import ShorthandError, is_made, to_schema
from llmspell.values import FunctionRef, Object


def made(number: int, **schema: object) -> Object:
    """Return a field as `Schema.*` makes it, the `number`th of its file."""
    return {"$schema": schema, "$seq": number}


def test_fields_keep_the_order_their_author_wrote_them_in() -> None:
    fields = {"b": made(1, type="string"), "a": made(3, type="string"), "c": made(2, type="string")}
    schema = to_schema(fields, closed=True)
    assert list(schema["properties"]) == ["b", "c", "a"]
    assert schema["required"] == ["b", "c", "a"]


def test_plain_tables_come_after_the_others_and_are_sorted() -> None:
    fields: Object = {
        "z": {"type": "string"},
        "y": {"type": "string"},
        "x": made(1, type="string"),
    }
    assert list(to_schema(fields, closed=True)["properties"]) == ["x", "y", "z"]


def test_a_number_that_no_constructor_gave_does_not_matter() -> None:
    fields: Object = {"b": {**made(1, type="string"), "$seq": "x"}, "a": made(2, type="string")}
    assert list(to_schema(fields, closed=True)["properties"]) == ["a", "b"]


def test_the_same_fields_in_another_order_give_the_same_schema() -> None:
    one = {"a": made(1, type="string"), "b": made(2, type="integer")}
    other = dict(reversed(one.items()))
    assert repr(to_schema(one, closed=True)) == repr(to_schema(other, closed=True))


def test_a_field_is_required_unless_it_is_optional_or_has_a_default() -> None:
    fields: Object = {
        "must": made(1, type="string"),
        "may": {**made(2, type="string"), "$optional": True},
        "has": made(3, type="string", default="x"),
        "plain": {"type": "string"},
        "plain_default": {"type": "string", "default": "x"},
    }
    assert to_schema(fields, closed=True)["required"] == ["must", "plain"]


def test_without_a_required_field_the_keyword_is_left_out() -> None:
    schema = to_schema({"has": made(1, type="string", default="")}, closed=True)
    assert "required" not in schema


@pytest.mark.parametrize("empty", [{}, []])
def test_an_empty_table_is_an_object_without_fields(empty: object) -> None:
    closed: Object = {"type": "object", "properties": {}, "additionalProperties": False}
    assert to_schema(empty, closed=True) == closed
    assert to_schema(empty, closed=False) == {"type": "object", "properties": {}}


def test_only_a_closed_schema_refuses_fields_it_does_not_name() -> None:
    fields = {"a": made(1, type="string")}
    assert to_schema(fields, closed=True)["additionalProperties"] is False
    assert "additionalProperties" not in to_schema(fields, closed=False)


def test_json_schema_is_taken_as_it_is_but_for_the_order_of_its_keys() -> None:
    schema: Object = {
        "required": ["a"],
        "description": "about",
        "properties": {"a": {"type": "string"}},
        "type": "object",
        "not": {"required": ["b"]},
    }
    found = to_schema(schema, closed=True)
    assert found == schema
    assert list(found) == ["type", "description", "not", "properties", "required"]


def test_a_field_may_be_called_type() -> None:
    schema = to_schema({"type": made(1, type="string")}, closed=True)
    assert schema["properties"] == {"type": {"type": "string"}}


def test_objects_and_lists_nest_and_stay_closed_all_the_way_down() -> None:
    inner = made(2, type="object", properties={"n": made(1, type="integer")})
    schema = to_schema({"all": made(3, type="array", items=inner)}, closed=True)
    assert schema["properties"]["all"]["items"] == {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }


def test_a_whole_schema_may_be_one_made_value() -> None:
    listed = made(2, type="array", items=made(1, type="string"))
    assert to_schema(listed, closed=False) == {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("string", "a schema is a table of fields"),
        (["a"], "a schema is a table of fields"),
        ({"a": "string"}, "a: not a schema"),
        ({"a": made(1, type="object", properties={"b": 5})}, "a.b: not a schema"),
        ({"a": made(1, type="array", items={"b": 5})}, r"a\[\].b: not a schema"),
        ({"a": {"type": "string", "x": FunctionRef(1)}}, "a schema cannot hold a function"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_path_to_it(value: object, message: str) -> None:
    with pytest.raises(ShorthandError, match=message):
        to_schema(value, closed=True)


def test_only_what_schema_functions_made_counts_as_made() -> None:
    assert is_made(made(1, type="string"))
    assert not is_made({"type": "string"})
    assert not is_made({"$schema": "https://json-schema.org/draft/2020-12/schema"})
    assert not is_made("string")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"defualt": 1}, "n: unknown option 'defualt' (did you mean 'default'?)"),
        ({"maximun": 1}, "n: unknown option 'maximun' (did you mean 'maximum'?)"),
        ({"min": 1}, "n: unknown option 'min'"),
        ({"zzz": 1}, "n: unknown option 'zzz'"),
    ],
)
def test_an_option_that_is_no_keyword_is_refused(options: Object, message: str) -> None:
    with pytest.raises(ShorthandError) as caught:
        to_schema({"n": made(1, type="boolean", **options)}, closed=True)
    assert (str(caught.value), caught.value.key) == (message, next(iter(options)))


def test_a_list_of_such_is_refused_with_its_place() -> None:
    inner = made(1, type="object", properties={"n": made(2, type="string", lenght=1)})
    with pytest.raises(ShorthandError, match=r"^all\[\]\.n: unknown option 'lenght'"):
        to_schema({"all": made(3, type="array", items=inner)}, closed=True)


def test_keywords_and_extensions_of_json_schema_are_options() -> None:
    field = made(1, type="string", minLength=2, format="email", **{"x-mcp-header": "A"})
    assert to_schema({"a": field}, closed=True)["properties"]["a"]["x-mcp-header"] == "A"


@pytest.mark.parametrize("bare", [{}, []])
def test_a_bare_default_is_a_list_or_an_object_as_its_type_says(bare: object) -> None:
    fields = {"l": made(1, type="array", default=bare), "o": made(2, type="object", default=bare)}
    properties = to_schema(fields, closed=True)["properties"]
    assert (properties["l"]["default"], properties["o"]["default"]) == ([], {})
