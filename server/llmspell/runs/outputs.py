"""What a cast returned, judged: the output of its run, or content that is shown as it is."""

from __future__ import annotations

import sys
from typing import Any, cast

from llmspell.errors import OutputInvalid
from llmspell.runs.castable import Castable
from llmspell.values import JSON, Object

_TYPES = ("text", "image", "audio", "resource")


def accepted(
    castable: Castable, result: JSON, limit_bytes: int
) -> tuple[JSON, list[Object] | None]:
    """Return the output and the content of a cast that returned `result`: one of them is None.

    Args:
        limit_bytes: What the settings allow; the spell's own limit holds too.

    Raises:
        OutputInvalid: It does not fit the output schema, or is no content.
        OutputTooLarge: It is larger than either limit.
    """
    limit = min(castable.spec.limits.output_bytes or sys.maxsize, limit_bytes)
    if isinstance(result, dict) and "$content" in result:
        content = _content(cast(Object, result)["$content"])
        castable.accept_output(content, limit_bytes=limit)
        return None, content
    return castable.accept_output(result, limit_bytes=limit), None


def _content(value: Any) -> list[Object]:
    """Return the parts of `Content.*`; a script can also write such a table by hand."""
    parts: list[Any] = cast("list[Any]", value) if isinstance(value, list) else []
    if not parts or not all(_is_part(part) for part in parts):
        raise OutputInvalid("'$content' is no list of content", hint="make it with Content.*")
    return parts


def _is_part(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    part = cast(Object, value)
    fields = [part.get(name) for name in ("text", "data", "uri", "media_type")]
    return part.get("type") in _TYPES and all(
        field is None or isinstance(field, str) for field in fields
    )
