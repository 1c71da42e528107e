"""Arguments that a wire carries as texts, read as their schema means them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from llmspell.values import JSON, Object, loads

_TRUTH = {"true": True, "false": False}


def from_texts(schema: Object, texts: Mapping[str, str]) -> Object:
    """Return an object of these texts, numbers, booleans and JSON read where the schema has them.

    A text that cannot be read so stays one: whoever checks the object says what is wrong.
    """
    fields: Any = schema.get("properties")
    known: Object = cast(Object, fields) if isinstance(fields, dict) else {}
    return {name: _read(known.get(name), text) for name, text in texts.items()}


def _read(field: Any, text: str) -> JSON:
    kind = cast(Object, field).get("type") if isinstance(field, dict) else None
    if kind == "boolean":
        return _TRUTH.get(text.strip().lower(), text)
    if kind in ("integer", "number", "array", "object"):
        try:
            value = loads(text)
        except ValueError:
            return text
        return text if isinstance(value, str | bool) or value is None else value
    return text
