"""Templates: texts with `{{name.part}}` placeholders, filled from JSON data.

Not a language: no conditions, no loops, no escapes. Steps of workflows and
`template()` in spells use it.
"""

from __future__ import annotations

import re
from typing import cast

from llmspell.errors import LimitError, TemplateError, nearest
from llmspell.spec.placeholders import PATH, PLACEHOLDER
from llmspell.values import JSON, Object, canonical

SHOWN_NAMES = 100
"""Most names that an error lists."""

MAX_CHARACTERS = 4 << 20
"""Longest text that filling placeholders may make."""


def render(text: str, data: Object) -> JSON:
    """Return `text` with its placeholders filled.

    A text that is exactly one placeholder yields the value itself. Inside a
    longer text a string stands as it is, null as nothing, and anything else as
    JSON with sorted keys. Parts of a list are numbered from 1, as in Lua.

    Raises:
        TemplateError: A placeholder has no value in `data`; the names that
            have one are in the hint and in `data["names"]`.
    """
    whole = PLACEHOLDER.fullmatch(text)
    if whole is not None:
        return _look_up(whole[1], data)
    size = len(text)

    def fill(found: re.Match[str]) -> str:
        nonlocal size
        filled = as_text(_look_up(found[1], data))
        size += len(filled)
        if size > MAX_CHARACTERS:
            raise LimitError(
                f"a text grows beyond {MAX_CHARACTERS} characters when its placeholders are filled",
                hint="name a part of the value, not all of it",
            )
        return filled

    return PLACEHOLDER.sub(fill, text)


def render_all(value: JSON, data: Object) -> JSON:
    """Return `value` with every text in it rendered; keys of objects stay as they are.

    Raises:
        TemplateError: As `render`.
    """
    if isinstance(value, str):
        return render(value, data)
    if isinstance(value, dict):
        return {name: render_all(item, data) for name, item in cast(Object, value).items()}
    if isinstance(value, list):
        return [render_all(item, data) for item in cast(list[JSON], value)]
    return value


def as_text(value: JSON) -> str:
    """Return `value` as it stands inside a text: a string as it is, null as "", else JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else canonical(value).decode()


def _look_up(path: str, data: Object) -> JSON:
    if PATH.fullmatch(path) is None:
        raise TemplateError(
            f"'{{{{{path}}}}}' is no placeholder",
            hint="write {{name}} or {{name.part}}: letters, digits, _ and -",
        )
    value: JSON = data
    done: list[str] = []
    for part in path.strip().split("."):
        names = _names(value)
        if part not in names:
            raise _unknown(path.strip(), part, ".".join(done), value, names)
        value = _part(value, part)
        done.append(part)
    return value


def _names(value: JSON) -> list[str]:
    if isinstance(value, dict):
        return list(cast(Object, value))
    if isinstance(value, list):
        return [str(number) for number in range(1, len(cast(list[JSON], value)) + 1)]
    return []


def _part(value: JSON, name: str) -> JSON:
    if isinstance(value, list):
        return cast(list[JSON], value)[int(name) - 1]
    return cast(Object, value)[name]


def _unknown(path: str, part: str, parent: str, value: JSON, names: list[str]) -> TemplateError:
    if isinstance(value, dict | list):
        there = ", ".join(name[:64] for name in names[:SHOWN_NAMES]) or "nothing"
        hint = f"in {parent} there is: {there}" if parent else f"there is: {there}"
        close = nearest(part, names)
        if close:
            hint = f"did you mean {close!r}? {hint[0].upper()}{hint[1:]}"
    else:
        kind = "null" if value is None else "a text" if isinstance(value, str) else "no object"
        hint = f"{parent} is {kind} and has no parts"
    return TemplateError(
        f"unknown placeholder '{{{{{path}}}}}'",
        hint=hint,
        data={"placeholder": path, "names": names[:SHOWN_NAMES]},
    )
