"""The fields of a declaration, whatever it declares: keys, lists, tables, schemas.

What does not fit is refused with the file and the line. Which fields there are, is for
those to say who read a kind of declaration.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic import BaseModel, ValidationError

from llmspell.errors import SpecError, SpecUnknownKey, nearest
from llmspell.spec.complaints import complaint_of, kind_of, subject_of
from llmspell.spec.origin import Origin
from llmspell.spec.shorthand import OPTIONS, ShorthandError, to_schema
from llmspell.values import JSON, Object

UNGRANTED = frozenset({"net", "secrets", "files"})
"""Needs that are understood, and refused: no hint offers them."""


def line_of(table: Object) -> int:
    """Return the line of a declaration in its file, 0 when it is not known."""
    # Constructors set it, but any table may come from a file.
    line = table.get("$line")
    return line if isinstance(line, int) else 0


def check_keys(fields: Object, allowed: set[str], what: str, line: int, origin: Origin) -> None:
    """Refuse keys that a declaration does not have, with a suggestion.

    Raises:
        SpecUnknownKey: With file and line.
    """
    for key in fields:
        if key in allowed:
            continue
        if key == "create" and what.endswith(".create"):  # the table it is a function of
            raise SpecError(
                f"{what} is called with a colon",
                hint=f"write {what} {{ ... }}, with a dot",
                where=origin.where(line),
            )
        named = sorted(allowed - UNGRANTED)
        close = nearest(key, named)
        suggestion = f"did you mean {close!r}? " if close else ""
        raise SpecUnknownKey(
            f"unknown key {key!r} in {what}",
            hint=f"{suggestion}Allowed: {', '.join(named)}",
            where=origin.where(line, key),
        )


def read_list(value: JSON, key: str, what: str, line: int, origin: Origin) -> list[JSON]:
    """Return a field that is a list; one that is missing or `{}` is empty.

    Raises:
        SpecError: It is something else; with file and line.
    """
    if value in ({}, None):
        return []
    if not isinstance(value, list):
        raise SpecError(f"'{key}' in {what} must be a list", where=origin.where(line, key))
    return cast("list[JSON]", value)


def read_schema(
    value: JSON, key: str, what: str, line: int, origin: Origin, *, closed: bool
) -> Object:
    """Return the JSON Schema of a field of a declaration.

    Raises:
        SpecError: It is none; with file and line.
    """
    try:
        return to_schema(value, closed=closed)
    except ShorthandError as error:
        if error.key:
            raise SpecUnknownKey(
                f"{key!r} in {what}: {error}",
                hint=f"Allowed: {', '.join(OPTIONS)}, and the keywords of JSON Schema",
                where=origin.where(line, error.key),
            ) from None
        raise SpecError(f"'{key}' in {what}: {error}", where=origin.where(line, key)) from None


def read_section(model: type[BaseModel], value: JSON, what: str, line: int, origin: Origin) -> Any:
    """Return a model of a field that is a table; an empty list is an empty one.

    Raises:
        SpecError: It is none, or a key or value does not fit; with file and line.
    """
    if value == []:
        value = {}
    key = what.split()[0]
    if not isinstance(value, dict):
        names = (name for name in model.model_fields if name not in UNGRANTED)
        raise SpecError(
            f"{what} must be a table with names, not {kind_of(value)}",
            hint=f"its names are: {', '.join(names)}",
            where=origin.where(line, key),
        )
    fields = cast(Object, value)
    check_keys(fields, set(model.model_fields), what, line, origin)
    return build(model, fields, what, line, origin)


def build(model: type[Any], fields: Object, what: str, line: int, origin: Origin) -> Any:
    """Return a model of these fields.

    Raises:
        SpecError: A value does not fit; with file and line.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        # Without a key the whole table is meant, which `what` begins with.
        raise SpecError(
            f"{subject_of(first['loc'], what)}{complaint_of(first, key)}",
            where=origin.where(line, key or what.split()[0]),
        ) from None
