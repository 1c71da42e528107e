"""The part of JSON Schema a client takes: what is left, and that nothing is lost by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.endpoints.mcp.schema_subset import Schemas, subset

CORPUS = sorted((Path(__file__).parent / "schema_corpus").glob("*.json"))
SUBSETS: tuple[Schemas, ...] = ("full", "plain_root", "no_composition", "plain")

Object = dict[str, Any]


def read(path: Path) -> Object:
    return json.loads(path.read_text(encoding="utf-8"))


def nodes(schema: Any, path: str = "") -> list[tuple[str, Object]]:
    """Return every schema within a flat schema, with its path."""
    found = [(path, cast(Object, schema))]
    for key in ("properties", "patternProperties", "dependentSchemas"):
        for name, inner in schema.get(key, {}).items():
            found += nodes(inner, f"{path}/{key}/{name}")
    for key in ("items", "additionalProperties", "contains", "propertyNames"):
        if isinstance(schema.get(key), dict):
            found += nodes(schema[key], f"{path}/{key}")
    return found


def problems(schema: Object, schemas: Schemas) -> list[str]:
    """Return what the clients of a subset would refuse a schema for."""
    found: list[str] = []
    if schema.get("type") != "object":
        found.append("the root is no object")
    composition = {"anyOf", "oneOf", "allOf", "not", "if", "then", "else"}
    if schemas == "plain_root":
        found += [f"{key} at the root" for key in composition | {"enum", "$ref"} if key in schema]
    if schemas in ("no_composition", "plain"):
        text = json.dumps(schema)
        found += [key for key in ("$ref", "$defs", "$schema") if f'"{key}":' in text]
        for path, node in nodes(schema):
            found += [f"{path} {key}" for key in composition if key in node]
    if schemas == "plain":
        for path, node in nodes(schema):
            found += gemini(path, node)
    return found


def gemini(path: str, node: Object) -> list[str]:
    """Return what Gemini refuses a schema for (a Schema of its API, after OpenAPI 3.0)."""
    known = {"type", "title", "description", "default", "nullable", "enum", "format", "pattern"}
    known |= {"properties", "required", "items", "minimum", "maximum"}
    known |= {"minItems", "maxItems", "minLength", "maxLength"}
    found = [f"{path} {key}" for key in node if key not in known]
    type_ = node.get("type")
    if not isinstance(type_, str | None):
        found.append(f"{path} several types")
    if "items" in node and type_ != "array":
        found.append(f"{path} items of no array")
    if type_ == "array" and "items" not in node:
        found.append(f"{path} an array of nothing")
    if "properties" in node and type_ != "object":
        found.append(f"{path} fields of no object")
    if any(name not in node.get("properties", {}) for name in node.get("required", ())):
        found.append(f"{path} requires what it does not name")
    if "enum" in node and not (
        type_ == "string" and all(isinstance(each, str) for each in node["enum"])
    ):
        found.append(f"{path} an enum of others than texts")
    if node.get("format", "date-time") != "date-time":
        found.append(f"{path} format")
    return found


def as_json_schema(schema: Object, schemas: Schemas) -> Object:
    """Return a plain schema in JSON Schema's own words: `nullable` is none of them."""
    if schemas != "plain":
        return schema
    said = dict(schema)
    if said.pop("nullable", False):
        said["type"] = [said["type"], "null"]
        if "enum" in said:
            said["enum"] = [*said["enum"], None]
    if "properties" in said:
        said["properties"] = {
            key: as_json_schema(said["properties"][key], schemas) for key in said["properties"]
        }
    if isinstance(said.get("items"), dict):
        said["items"] = as_json_schema(said["items"], schemas)
    return said


def accepts(schema: Object, value: Any) -> bool:
    return jsonschema_rs.Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("schemas", SUBSETS)
def test_a_schema_is_one_that_the_clients_of_the_subset_take(path: Path, schemas: Schemas) -> None:
    assert problems(subset(read(path)["schema"], schemas), schemas) == []


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("schemas", SUBSETS)
def test_what_the_schema_accepts_the_subset_accepts(path: Path, schemas: Schemas) -> None:
    case = read(path)
    narrowed = as_json_schema(subset(case["schema"], schemas), schemas)
    for value in case["accepted"]:
        assert accepts(case["schema"], value), "the case itself"
        assert accepts(narrowed, value), value


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_subset_is_written_down(path: Path) -> None:
    case = read(path)
    for schemas in SUBSETS[1:]:
        if schemas in case:
            assert subset(case["schema"], schemas) == case[schemas]


@pytest.mark.parametrize("schemas", SUBSETS)
def test_a_schema_that_says_only_fields_stays_the_same_everywhere(schemas: Schemas) -> None:
    schema: Object = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "What to say", "maxLength": 80},
            "how": {"type": "string", "enum": ["loud", "quiet"]},
            "times": {"type": "integer", "minimum": 1, "default": 1},
            "to": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["text"],
    }
    assert subset(schema, schemas) == schema


def test_a_ring_of_references_ends() -> None:
    tree: Object = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    flat = subset(tree, "no_composition")
    assert "$ref" not in json.dumps(flat)
    assert flat["properties"]["left"]["properties"]["right"] == {}


def test_references_that_multiply_are_followed_so_far_only() -> None:
    definitions: Object = {"d0": {"type": "string"}}
    for number in range(1, 40):
        lower = {"$ref": f"#/$defs/d{number - 1}"}
        definitions[f"d{number}"] = {"type": "object", "properties": {"a": lower, "b": lower}}
    schema = {"$defs": definitions, "$ref": "#/$defs/d39"}
    assert len(json.dumps(subset(schema, "no_composition"))) < 2_000_000


@pytest.mark.parametrize("reference", ["https://example.org/s.json", "#/$defs/none", "#none", 7])
def test_a_reference_to_elsewhere_accepts_anything(reference: Any) -> None:
    schema: Object = {"type": "object", "properties": {"a": {"$ref": reference, "title": "A"}}}
    assert subset(schema, "no_composition")["properties"]["a"] == {"title": "A"}


def test_the_header_a_field_is_sent_in_is_told_to_every_client() -> None:
    region = {"type": "string", "x-mcp-header": "Region"}
    schema: Object = {"type": "object", "properties": {"region": region}}
    for schemas in SUBSETS:
        assert subset(schema, schemas)["properties"]["region"] == region


# -- whatever the schema

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.sampled_from([None, True, 0, 1, 2.5, "", "a", "b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    fields = st.dictionaries(NAMES, inner, max_size=3)
    some = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(SCALARS, min_size=1, max_size=3),
            "const": SCALARS,
            "minimum": st.integers(-1, 2),
            "maxLength": st.integers(0, 2),
            "format": st.just("date-time"),
            "properties": fields,
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.sampled_from(["a", "[bc]"]), inner, max_size=2),
            "unevaluatedProperties": st.booleans(),
            "items": inner,
            "prefixItems": some,
            "contains": inner,
            "maxContains": st.integers(0, 1),
            "anyOf": some,
            "oneOf": some,
            "allOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "$ref": st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#/properties/a"]),
        },
    )


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=6)
INPUTS = st.fixed_dictionaries(
    {"$defs": st.fixed_dictionaries({"a": SCHEMAS, "b": SCHEMAS})},
    optional={
        "properties": st.dictionaries(NAMES, SCHEMAS, max_size=3),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "anyOf": st.lists(SCHEMAS, min_size=1, max_size=3),
        "allOf": st.lists(SCHEMAS, min_size=1, max_size=3),
        "additionalProperties": SCHEMAS,
        "patternProperties": st.dictionaries(st.sampled_from(["a", "[bc]"]), SCHEMAS, max_size=2),
    },
)


@given(
    schema=INPUTS,
    value=st.dictionaries(NAMES, VALUES, max_size=3),
    schemas=st.sampled_from(SUBSETS),
)
def test_a_subset_only_loosens(schema: Object, value: Object, schemas: Schemas) -> None:
    try:
        full = jsonschema_rs.Draft202012Validator(schema)
        accepted = full.is_valid(value)
    except (ValueError, RecursionError):
        return  # a reference to nothing, or in a ring
    if accepted:
        narrowed = subset(schema, schemas)
        assert accepts(as_json_schema(narrowed, schemas), value), narrowed


@given(schema=INPUTS, schemas=st.sampled_from(SUBSETS))
def test_every_schema_becomes_one_that_the_clients_take(schema: Object, schemas: Schemas) -> None:
    narrowed = subset(schema, schemas)
    assert problems(narrowed, schemas) == []
    assert subset(schema, schemas) == narrowed
