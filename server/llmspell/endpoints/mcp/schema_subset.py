"""Input schemas for clients whose models take only a part of JSON Schema.

A subset accepts whatever the schema it is made of accepts: it loosens and never
tightens, because the host holds every input against the full schema anyway, and
what a model could not be told beforehand it is told by the error. So what a
client does not take is left out, or put in weaker words that it does take.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

from llmspell.values import JSON, Object, canonical, dumps

Schemas: TypeAlias = Literal["full", "plain_root", "no_composition", "plain"]
"""The part of JSON Schema 2020-12 that is taken.

- `full`: all of it.
- `plain_root`: all of it within fields, but the schema itself says its fields at once: no
  anyOf, oneOf, allOf, not, if, enum or reference there. So Anthropic's and OpenAI's APIs.
- `no_composition`: no anyOf, oneOf, allOf, not and if, and no references.
- `plain`: of these types, fields, enums of texts and simple bounds, in the words of
  OpenAPI 3.0 (`nullable`), which are those of Gemini.
"""

_LEFT_OUT = frozenset(
    {"anyOf", "oneOf", "allOf", "not", "if", "then", "else", "definitions", "discriminator"}
    # What they apply to depends on the ones above.
    | {"unevaluatedProperties", "unevaluatedItems"}
)
_NOT_AT_ROOT = _LEFT_OUT - {"definitions"} | {"enum", "const", "$ref", "$dynamicRef"}
_DEFINITIONS = ("$schema", "$defs", "definitions")
_PLAIN = (
    frozenset({"type", "title", "description", "default", "enum", "format", "pattern"})
    | {"properties", "required", "items"}
    | {"minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength"}
    # Of the wire, not of the model: the client sends that field as a header too.
    | {"x-mcp-header"}
)
_SCHEMAS = frozenset({"items", "additionalProperties", "contains", "propertyNames"})
_SCHEMA_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_TOGETHER = (("items", "prefixItems"), ("contains", "minContains", "maxContains"))
"""Keywords that mean something else without each other."""

_MOST = 10_000
"""Schemas that one conversion makes; beyond, anything is accepted. References can multiply."""


def subset(schema: Object, schemas: Schemas) -> Object:
    """Return the input schema of a tool in the part of JSON Schema that a client takes."""
    match schemas:
        case "full":
            pass
        case "plain_root":
            schema = _at_root(schema)
        case "no_composition":
            schema = _Flattening(schema).of(schema)
        case "plain":
            schema = _plain({**_Flattening(schema).of(schema), "type": "object"})
    # The input of a tool is an object, whatever was said or left out.
    return schema if schema.get("type") == "object" else {**schema, "type": "object"}


def _at_root(schema: Object) -> Object:
    """Return a schema whose root alone is flat."""
    if schema.keys().isdisjoint(_NOT_AT_ROOT):
        return schema
    if not all(_is_definition(reference) for reference in _references(schema)):
        # It may lead to what is about to be moved.
        flat = _Flattening(schema).of(schema)
    else:
        flat = _Flattening(schema, inside=False).of(schema)
        flat |= {key: schema[key] for key in _DEFINITIONS if key in schema}
    return _without(flat, "enum")


def _references(schema: JSON) -> list[JSON]:
    """Return what all references in a schema say."""
    found: list[JSON] = []
    pending: list[JSON] = [schema]
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            inner = cast(Object, here)
            found += [inner[key] for key in ("$ref", "$dynamicRef") if key in inner]
            pending += inner.values()
        else:
            pending += _list(here)
    return found


def _is_definition(reference: JSON) -> bool:
    return isinstance(reference, str) and reference.startswith(("#/$defs/", "#/definitions/"))


class _Flattening:
    """The conversion of one schema to one without composition and references.

    Args:
        root: What references are looked up in.
        inside: Whether what stands within fields and items is converted too.
    """

    def __init__(self, root: Object, *, inside: bool = True) -> None:
        self._root = root
        self._inside = inside
        self._made = 0
        self._following: list[str] = []

    def of(self, schema: JSON) -> Object:
        """Return a schema that accepts at least what `schema` does; `{}` accepts everything."""
        self._made += 1
        if not isinstance(schema, dict) or self._made > _MOST:
            return {}  # `true`; and for `false`, which accepts nothing, there are no weaker words
        found = cast(Object, schema)
        flat = self._own(found)
        for other in self._others(found):
            flat = self._both(flat, other)
        return flat

    def _inner(self, schema: JSON) -> Object:
        if self._inside:
            return self.of(schema)
        return cast(Object, schema) if isinstance(schema, dict) else {}

    def _own(self, schema: Object) -> Object:
        """Return what stays of a schema's own keywords."""
        own: Object = {}
        for key, value in schema.items():
            if key in _LEFT_OUT or key.startswith("$"):
                continue
            if key in _SCHEMA_MAPS and isinstance(value, dict):
                inner = cast(Object, value)
                own[key] = {name: self._inner(inner[name]) for name in inner}
            elif key in _SCHEMAS and isinstance(value, dict):
                own[key] = self._inner(cast(Object, value))
            elif key == "prefixItems":
                own[key] = [self._inner(item) for item in _list(value)]
            else:
                own[key] = value
        if "const" in own:
            own.setdefault("enum", [own.pop("const")])
        if "maxContains" in own:
            # A looser `contains` counts more items.
            own = {key: own[key] for key in own if key not in _TOGETHER[1]}
        return own

    def _both(self, one: Object, other: Object) -> Object:
        """Return a schema that accepts what both do: all fields, else the keyword of the first."""
        merged = dict(one)
        skipped = {key for keys in _TOGETHER if not one.keys().isdisjoint(keys) for key in keys}
        for key, value in other.items():
            if key in skipped:
                continue
            if key in ("properties", "patternProperties") and key in one:
                # All of them, because `additionalProperties` is about the rest.
                fields: Object = dict(one[key])
                for name, inner in cast(Object, value).items():
                    fields[name] = self._merged(fields[name], inner) if name in fields else inner
                merged[key] = fields
            elif key == "required" and key in one:
                merged[key] = list(dict.fromkeys([*one[key], *value]))
            else:
                merged.setdefault(key, value)
        return merged

    def _merged(self, one: Object, other: Object) -> Object:
        # What was not converted has keywords that mean something else without each other.
        return self._both(one, other) if self._inside else one

    def _others(self, schema: Object) -> list[Object]:
        """Return the schemas a value must fit besides, made of what is left out."""
        others = [self._referred(schema[key]) for key in ("$ref", "$dynamicRef") if key in schema]
        others += [self.of(part) for part in _list(schema.get("allOf"))]
        for key in ("anyOf", "oneOf"):
            if parts := _list(schema.get(key)):
                others.append(_any([self.of(part) for part in parts]))
        return others

    def _referred(self, reference: JSON) -> Object:
        """Return what a reference names; `{}` for one that leads out of the schema or in a ring."""
        if not isinstance(reference, str) or reference in self._following:
            return {}
        self._following.append(reference)
        try:
            return self.of(self._find(reference))
        finally:
            self._following.pop()

    def _find(self, reference: str) -> JSON:
        if reference == "#":
            return self._root
        if not reference.startswith("#/"):
            return _anchored(self._root, reference.removeprefix("#"))
        here: JSON = self._root
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(here, dict) or name not in here:
                return True
            here = cast(Object, here)[name]
        return here


def _anchored(schema: JSON, anchor: str) -> JSON:
    """Return the schema within another that has an anchor; True (anything) when none has."""
    pending: list[JSON] = [schema]
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            found = cast(Object, here)
            if anchor in (found.get("$anchor"), found.get("$dynamicAnchor")):
                return found
            pending += found.values()
        else:
            pending += _list(here)
    return True


def _any(parts: list[Object]) -> Object:
    """Return a schema that accepts what any of the parts does."""
    some = [part for part in parts if part.get("type") != "null"]
    if not some:
        return {"type": "null"}
    merged = _any_but_null(some)
    if len(some) == len(parts):
        return merged
    if isinstance(merged.get("type"), str | list):
        merged = {**merged, "type": [*_types(merged), "null"]}
    if "enum" in merged:
        merged = {**merged, "enum": [*merged["enum"], None]}
    return merged


def _any_but_null(parts: list[Object]) -> Object:
    if len({canonical(part) for part in parts}) == 1:
        return parts[0]
    merged: Object = {}
    if all("type" in part for part in parts):
        types = list(dict.fromkeys(name for part in parts for name in _types(part)))
        merged["type"] = types[0] if len(types) == 1 else types
    choices = [_choices(part) for part in parts]
    if all(choices):
        values = {canonical(value): value for some in choices for value in some}
        merged["enum"] = list(values.values())
    elif merged.get("type") == "object":
        merged |= _fields_of_any(parts)
    return merged


def _choices(schema: Object) -> list[JSON]:
    """Return the only values a schema accepts, or nothing when it names none."""
    return [schema["const"]] if "const" in schema else _list(schema.get("enum"))


def _fields_of_any(parts: list[Object]) -> Object:
    """Return the fields that objects of several forms may have, and those that all must have."""
    found: dict[str, list[Object]] = {}
    for part in parts:
        for name, inner in cast(dict[str, Object], part.get("properties", {})).items():
            found.setdefault(name, []).append(inner)
    merged: Object = {
        "properties": {
            # One that a form does not name may hold anything there.
            name: _any(inners) if len(inners) == len(parts) else _about(inners[0])
            for name, inners in found.items()
        }
    }
    required = [name for name in found if all(name in part.get("required", ()) for part in parts)]
    if required:
        merged["required"] = required
    return merged


def _about(schema: Object) -> Object:
    """Return what a schema says in words."""
    return {key: schema[key] for key in ("title", "description") if key in schema}


def _plain(schema: Object) -> Object:
    """Return a flat schema in the words that every model takes."""
    plain = {key: value for key, value in schema.items() if key in _PLAIN}
    if plain.get("format") != "date-time":
        plain.pop("format", None)
    plain = _one_type(_texts_only(plain))
    # Refused where they are not about the type.
    items: JSON = plain.pop("items", None)
    if plain.get("type") == "array":
        # Refused without.
        about_all = isinstance(items, dict) and "prefixItems" not in schema
        plain["items"] = _plain(cast(Object, items)) if about_all else {}
    fields: JSON = plain.pop("properties", None)
    required: list[str] = plain.pop("required", [])
    if plain.get("type") == "object" and fields:
        plain["properties"] = {name: _plain(inner) for name, inner in fields.items()}
        if known := [name for name in required if name in fields]:
            plain["required"] = known
    return plain


def _texts_only(schema: Object) -> Object:
    """Return a schema whose enum, if any, is one of texts."""
    if "enum" not in schema:
        return schema
    texts = [value for value in schema["enum"] if isinstance(value, str)]
    others = [value for value in schema["enum"] if not isinstance(value, str)]
    if texts and others in ([], [None]):
        type_ = ["string", "null"] if others else "string"
        return {**schema, "type": type_, "enum": texts}
    return _noted(_without(schema, "enum"), [dumps(value) for value in schema["enum"]])


def _one_type(schema: Object) -> Object:
    """Return a schema of one type, or of none where it had several."""
    if not isinstance(schema.get("type"), list):
        return schema
    types = [name for name in _types(schema) if name != "null"]
    if len(types) != 1:
        return _noted(_without(schema, "type"), _types(schema))
    narrowed = {**schema, "type": types[0]}
    return narrowed if len(types) == len(_types(schema)) else {**narrowed, "nullable": True}


def _noted(schema: Object, choices: list[str]) -> Object:
    """Return a schema that says in words what its keywords no longer do."""
    note = f"One of: {', '.join(choices)}."
    about = schema.get("description")
    return {**schema, "description": f"{about} {note}" if about else note}


def _types(schema: Object) -> list[str]:
    type_ = schema["type"]
    return list(cast(list[str], type_)) if isinstance(type_, list) else [type_]


def _without(schema: Object, key: str) -> Object:
    return {name: value for name, value in schema.items() if name != key}


def _list(value: JSON) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []
