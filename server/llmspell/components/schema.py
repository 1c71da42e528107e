"""Validation of values against JSON Schema 2020-12, and the repairs Lua's tables need.

A validator is compiled once per spell version. It fetches nothing: a remote
`$ref` is an error when the spell is loaded.
"""

from __future__ import annotations

from typing import Any, cast

import jsonschema_rs

from llmspell.errors import nearest
from llmspell.values import JSON, Object

MAX_SUBSCHEMAS = 20_000
"""Largest schema, counted in its objects with references followed."""

MAX_SCHEMA_DEPTH = 200
"""Deepest nesting of a schema, references followed."""

MAX_PROBLEMS = 5
"""How many problems an error names."""

EXACT = 2**53
"""Up to here a float is exactly one integer; beyond, the digits of one would be invented."""


class SchemaInvalid(ValueError):
    """A schema is not valid JSON Schema 2020-12, or refers to another document."""


class Problem:
    """One way in which a value does not fit."""

    __slots__ = ("field", "message")

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message

    def to_value(self) -> Object:
        """Return the problem as a JSON object."""
        return {"field": self.field, "message": self.message}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"a schema may not refer to another document ({uri})")


class Schema:
    """A compiled JSON Schema.

    Raises:
        SchemaInvalid: It cannot be compiled.
    """

    __slots__ = ("_has_defaults", "_needs_repair", "_validator", "definition")

    def __init__(self, definition: Object) -> None:
        self.definition = definition
        _Growth(definition).check()
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                definition, retriever=_no_retrieval
            )
        except jsonschema_rs.ValidationError as error:
            message = _shorten(error.message.splitlines()[0])
            raise SchemaInvalid(str(Problem(_path(error), message))) from None
        except ValueError as error:
            raise SchemaInvalid(str(error).splitlines()[0]) from None
        self._has_defaults = _mentions(definition, "default")
        self._needs_repair = _mentions_type(definition, ("array", "integer", "object"))

    def problems(self, value: JSON, *, first_only: bool = False) -> list[Problem]:
        """Return up to `MAX_PROBLEMS` ways in which `value` does not fit; none when it does.

        Args:
            first_only: Stop at the first, in time that does not grow with their number.
        """
        try:
            return self._problems(value, first_only=first_only)
        except ValueError as error:  # of the validator's library: too deep, or no Unicode
            return [Problem("", f"it cannot be checked: {error}")]

    def _problems(self, value: JSON, *, first_only: bool) -> list[Problem]:
        if first_only:
            try:
                self._validator.validate(value)
            except jsonschema_rs.ValidationError as error:
                return [self._problem(error)]
            return []
        if self._validator.is_valid(value):
            return []
        found: list[Problem] = []
        for error in self._validator.iter_errors(value):
            found.append(self._problem(error))
            if len(found) == MAX_PROBLEMS:
                break
        return found

    def _problem(self, error: jsonschema_rs.ValidationError) -> Problem:
        message, kind = error.message, error.kind
        if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
            message = _unknown(kind.unexpected, self._fields_at(error.schema_path[:-1]))
        return Problem(_path(error), _shorten(message))

    def _fields_at(self, path: list[str | int]) -> list[str]:
        """Return the fields that the schema at a path names."""
        node: Any = self.definition
        for part in path:
            node = node[part]
        return list(_properties(node))

    def with_defaults(self, value: JSON) -> JSON:
        """Return `value` with the schema's defaults where fields are absent; `value` is kept."""
        return _fill(self.definition, value) if self._has_defaults else value

    def repaired(self, value: JSON) -> JSON:
        """Return `value` as the schema means it.

        A Lua `{}` is a list or an object as the schema says, and a float
        without a fraction is an integer where the schema says so.
        """
        return _repair(self.definition, value) if self._needs_repair else value


class _Growth:
    """Finds schemas whose checking could take exponentially long.

    A validator follows every reference anew, so a short schema can stand for a
    huge one; and one that refers to itself from two alternatives doubles the
    work with each level of the value, unless their types exclude each other.
    """

    def __init__(self, root: Object) -> None:
        self._root = root
        self._known: dict[int, tuple[int, bool]] = {}
        self._open: set[int] = set()

    def check(self) -> None:
        """Raise `SchemaInvalid` when the schema is too large, references followed."""
        size, _ = self._measure(self._root, 0)
        if size > MAX_SUBSCHEMAS:
            raise SchemaInvalid(
                f"the schema has more than {MAX_SUBSCHEMAS} parts when its references are followed"
            )

    def _measure(self, node: Any, depth: int) -> tuple[int, bool]:
        """Return the size of a node with its references followed, and whether it recurs."""
        if depth > MAX_SCHEMA_DEPTH:
            raise SchemaInvalid(f"the schema is nested deeper than {MAX_SCHEMA_DEPTH} levels")
        if isinstance(node, list):
            parts = [self._measure(item, depth + 1) for item in cast(list[Any], node)]
            return _total(parts)
        if not isinstance(node, dict):
            return 0, False
        key = id(cast(object, node))
        if key in self._open:
            return 1, True
        if key in self._known:
            return self._known[key]
        self._open.add(key)
        table = cast(Object, node)
        parts = [self._measure(item, depth + 1) for item in table.values()]
        reference = table.get("$ref")
        if isinstance(reference, str):
            parts.append(self._measure(self._target(reference), depth + 1))
        for name in ("anyOf", "oneOf", "allOf"):
            self._check_alternatives(name, table.get(name), depth + 1)
        self._open.discard(key)
        size, recurs = _total(parts)
        self._known[key] = size + 1, recurs
        return self._known[key]

    def _check_alternatives(self, name: str, branches: Any, depth: int) -> None:
        if not isinstance(branches, list):
            return
        types: list[Any] = []
        for branch in cast(list[Any], branches):
            if self._measure(branch, depth)[1]:
                types.append(cast(Object, branch).get("type") if isinstance(branch, dict) else None)
        named = [kind for kind in types if isinstance(kind, str)]
        if len(types) > 1 and (len(named) < len(types) or len(set(named)) < len(named)):
            raise SchemaInvalid(f"more than one alternative of {name!r} refers back to the schema")

    def _target(self, reference: str) -> Any:
        if reference == "#":
            return self._root
        node: Any = self._root
        for part in reference.removeprefix("#/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or name not in node:
                return None  # an anchor, or nothing: the compiler says which
            node = cast(Object, node)[name]
        return node


def _total(parts: list[tuple[int, bool]]) -> tuple[int, bool]:
    return sum(size for size, _ in parts), any(recurs for _, recurs in parts)


def _path(error: jsonschema_rs.ValidationError) -> str:
    return ".".join(str(part) for part in error.instance_path)


def _unknown(names: list[str], fields: list[str]) -> str:
    told: list[str] = []
    for name in names[:MAX_PROBLEMS]:
        close = nearest(name, fields)
        told.append(repr(name) + (f" (did you mean {close!r}?)" if close else ""))
    there = f"; there is {', '.join(fields)}" if fields else ""
    return f"unknown field{'s' if len(names) > 1 else ''} {', '.join(told)}{there}"


def _shorten(message: str) -> str:
    return message if len(message) <= 300 else message[:297] + "..."


def _mentions(schema: Any, keyword: str) -> bool:
    if isinstance(schema, dict):
        table = cast(Object, schema)
        return keyword in table or any(_mentions(item, keyword) for item in table.values())
    if isinstance(schema, list):
        return any(_mentions(item, keyword) for item in cast(list[Any], schema))
    return False


def _mentions_type(schema: Any, types: tuple[str, ...]) -> bool:
    if isinstance(schema, dict):
        table = cast(Object, schema)
        return table.get("type") in types or any(
            _mentions_type(item, types) for item in table.values()
        )
    if isinstance(schema, list):
        return any(_mentions_type(item, types) for item in cast(list[Any], schema))
    return False


def _properties(schema: Object) -> Object:
    properties = schema.get("properties")
    return cast(Object, properties) if isinstance(properties, dict) else {}


def _fill(schema: Object, value: JSON) -> JSON:
    if isinstance(value, dict):
        filled = dict(cast(Object, value))
        for name, field in _properties(schema).items():
            if not isinstance(field, dict):
                continue
            table = cast(Object, field)
            if name in filled:
                filled[name] = _fill(table, filled[name])
            elif "default" in table:
                filled[name] = table["default"]
        return filled
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        return [_fill(cast(Object, items), item) for item in cast(list[JSON], value)]
    return cast(JSON, value)


def _repair(schema: Any, value: JSON) -> JSON:
    if not isinstance(schema, dict):
        return value
    table = cast(Object, schema)
    kind = table.get("type")
    if kind == "array" and value == {}:
        return []
    if kind == "object" and value == []:
        return {}
    if kind == "integer" and isinstance(value, float) and abs(value) <= EXACT:
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        properties = _properties(table)
        rest = table.get("additionalProperties")
        return {
            name: _repair(properties.get(name, rest), item)
            for name, item in cast(Object, value).items()
        }
    if isinstance(value, list) and "items" in table:
        return [_repair(table["items"], item) for item in cast(list[JSON], value)]
    return cast(JSON, value)
