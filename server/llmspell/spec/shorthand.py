"""Schema shorthand to JSON Schema 2020-12, in the author's order.

A field made by `Schema.*` arrives as `{"$schema": {...}, "$seq": n}`, where `n`
counts the `Schema.*` calls, so that properties keep the order they were
written in. A table whose `type` is a string is JSON Schema already.
"""

from __future__ import annotations

from typing import Any, cast

from llmspell.errors import nearest
from llmspell.values import JSON, FunctionRef, Object

OPTIONS = ("optional", "default", "min", "max", "pattern", "complete")
"""What `Schema.*` takes beside the keywords of JSON Schema."""

_JSON_SCHEMA = (
    "$anchor $comment $defs $dynamicAnchor $dynamicRef $id $ref $schema additionalProperties allOf "
    "anyOf const contains contentEncoding contentMediaType contentSchema default dependentRequired "
    "dependentSchemas deprecated description else enum enumNames examples exclusiveMaximum "
    "exclusiveMinimum format if items maxContains maxItems maxLength maxProperties maximum "
    "minContains minItems minLength minProperties minimum multipleOf not oneOf pattern "
    "patternProperties prefixItems properties propertyNames readOnly required then title type "
    "unevaluatedItems unevaluatedProperties uniqueItems writeOnly"
)
_KEYWORDS = frozenset(_JSON_SCHEMA.split())
"""JSON Schema 2020-12, and `enumNames` of MCP's forms. Others begin with `x-`."""


class ShorthandError(ValueError):
    """A schema is not understood; `path` names the field.

    Attributes:
        key: The key that is not known, where that is what is wrong.
    """

    def __init__(self, path: str, message: str, *, key: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.key = key


def is_made(value: JSON) -> bool:
    """Return whether `Schema.*` made this value."""
    return isinstance(value, dict) and isinstance(cast(Object, value).get("$schema"), dict)


def completions_in(value: JSON) -> dict[str, FunctionRef]:
    """Return the functions that complete fields of a table of fields, by the fields' names."""
    found: dict[str, FunctionRef] = {}
    for name, field in cast(Object, value).items() if isinstance(value, dict) else ():
        complete = cast(Object, field).get("$complete") if is_made(field) else None
        if isinstance(complete, FunctionRef):
            found[name] = complete
    return found


def to_schema(value: JSON, *, closed: bool, path: str = "") -> Object:
    """Return the JSON Schema of a whole `input` or `output`.

    Args:
        value: A table of fields, a JSON Schema table, or a `Schema.*` value.
        closed: Whether objects refuse fields they do not name.
        path: Where the value stands, for errors.

    Raises:
        ShorthandError: A field is neither a `Schema.*` value nor JSON Schema, or an option of
            `Schema.*` is not known.
    """
    if value in ({}, []):
        return _object({}, closed=closed, path=path)
    if not isinstance(value, dict):
        raise ShorthandError(path, "a schema is a table of fields")
    table = cast(Object, value)
    if is_made(table):
        return _made(table, closed=closed, path=path)
    if isinstance(table.get("type"), str):
        return _plain(table)
    return _object(table, closed=closed, path=path)


def _object(fields: Object, *, closed: bool, path: str) -> Object:
    def order(item: tuple[str, JSON]) -> tuple[int, int, str]:
        name, field = item
        sequence = field.get("$seq") if is_made(field) else None
        return (0, sequence, name) if isinstance(sequence, int) else (1, 0, name)

    properties: Object = {}
    required: list[str] = []
    for name, field in sorted(fields.items(), key=order):
        if name.startswith("$"):
            continue
        place = f"{path}.{name}" if path else name
        if is_made(field):
            properties[name] = _made(field, closed=closed, path=place)
            optional = bool(field.get("$optional")) or "default" in properties[name]
        elif isinstance(field, dict) and isinstance(cast(Object, field).get("type"), str):
            properties[name] = _plain(cast(Object, field))
            optional = "default" in properties[name]
        else:
            raise ShorthandError(
                place, "not a schema: write Schema.string 'about', or a JSON Schema"
            )
        if not optional:
            required.append(name)
    schema: Object = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def _made(field: Object, *, closed: bool, path: str) -> Object:
    schema = dict(cast(Object, field["$schema"]))
    _check_keywords(schema, path)
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        inner = _object(cast(Object, schema.pop("properties")), closed=closed, path=path)
        schema = {**schema, **inner}
    if schema.get("type") == "array" and "items" in schema:
        schema["items"] = to_schema(schema["items"], closed=closed, path=f"{path}[]")
    if schema.get("default") in ({}, []) and schema.get("type") in ("array", "object"):
        # A bare `{}` in Lua is either.
        schema["default"] = [] if schema["type"] == "array" else {}
    return _plain(schema)


def _check_keywords(schema: Object, path: str) -> None:
    """Refuse what is misspelt; in a table that is JSON Schema already, anything may stand."""
    for key in schema:
        if key in _KEYWORDS or key.startswith("x-"):
            continue
        close = nearest(key, [*OPTIONS, *sorted(_KEYWORDS)])
        suggestion = f" (did you mean {close!r}?)" if close and close != key else ""
        raise ShorthandError(path, f"unknown option {key!r}{suggestion}", key=key)


def _plain(schema: Object) -> Object:
    """Copy a JSON Schema, with its first keys in the order readers expect."""
    _refuse_functions(schema)
    first = [key for key in ("type", "title", "description") if key in schema]
    rest = sorted(key for key in schema if key not in first and not key.startswith("$seq"))
    return {key: schema[key] for key in [*first, *rest]}


def _refuse_functions(value: Any) -> None:
    if isinstance(value, FunctionRef):
        raise ShorthandError("", "a schema cannot hold a function")
    if isinstance(value, dict):
        for item in cast(Object, value).values():
            _refuse_functions(item)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            _refuse_functions(item)
