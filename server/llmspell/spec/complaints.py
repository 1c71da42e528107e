"""What is wrong with a declared value, in the words authors know: a text, a list, a table.

Where it stands, and what is to be done, is for `reading` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmspell.values import FunctionRef


def subject_of(place: tuple[int | str, ...], what: str) -> str:
    """Return what does not fit, as the author wrote it."""
    match place:
        case (key, int(index), *_):
            return f"item {index + 1} of '{key}' in {what}"
        case (key, *_):
            return f"'{key}' in {what}"
        case _:
            return what


_TYPES = {
    "bool": "true or false",
    "dict": "a table with names",
    "float": "a number",
    "int": "an integer",
    "list": "a list",
    "string": "a text",
    "tuple": "a list",
}


def complaint_of(error: Mapping[str, Any], key: str) -> str:
    """Return what is wrong with it, in the words of the documentation.

    Args:
        error: One of the `errors()` of pydantic's `ValidationError`.
    """
    kind, given = error["type"], error["input"]
    if key == "name" and kind == "string_pattern_mismatch":
        return f": {given!r} is no name: a letter, then up to 47 letters, digits or _"
    if kind == "literal_error":
        return f" must be {error['ctx']['expected']}" if "ctx" in error else " has no such value"
    wanted = _TYPES.get(kind.partition("_")[0])
    if wanted is not None and kind.partition("_")[2] in ("type", "parsing", "from_float"):
        return f" must be {wanted}, not {kind_of(given)}"
    return f": {str(error['msg']).removeprefix('Value error, ')}"


def kind_of(value: Any) -> str:
    """Return what a value is in an author's words."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:40]!r}"
        case FunctionRef():
            return "a function"
        case list():
            return "a list"
        case None:
            return "nothing"
        case _:
            return "a table"
