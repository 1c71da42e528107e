"""What a person types, as a spell's input: JSON, a text, KEY=VALUE, files."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from llmspell.cli.streams import read_stdin
from llmspell.errors import UsageError
from llmspell.values import JSON, Object, loads

_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


def read_input(given: str | None, arguments: Sequence[str], schema: Object | None) -> JSON:
    """Return the input that `--input` and `--arg` make.

    Args:
        given: JSON, else a text for the only string field; `-` reads stdin.
        arguments: `KEY=VALUE`, laid over the input. A value is a string where the
            schema says so, else JSON where it can be read as such.
        schema: The spell's input schema; None when it is not known.

    Raises:
        UsageError: An argument has no `=`, or the text fits no field.
    """
    value: JSON = {}
    if given is not None:
        text = read_stdin() if given == "-" else given
        value = _value(text, schema)
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise UsageError(f"--arg {argument!r} is not KEY=VALUE")
        fields = _object(value, "--arg needs an input that is an object")
        fields[key] = _argument(text, _properties(schema).get(key, {}))
    return value


def read_answer(given: str | None, fields: Sequence[str], schema: Object) -> JSON:
    """Return the answer to a question that a value and `--field` make.

    Args:
        given: A JSON object, else the value of the only field: JSON, a text, yes or no;
            `-` reads stdin.
        fields: `KEY=VALUE`, laid over the value, each read as its field's type says.
        schema: The question's schema, an object.

    Raises:
        UsageError: A field has no `=`, or the value is for no single field.
    """
    properties = _properties(schema)
    answer: Object = {}
    if given is not None:
        text = (read_stdin() if given == "-" else given).removesuffix("\n")
        value = _argument(text, {})
        if isinstance(value, dict):
            answer = dict(cast(Object, value))
        elif len(properties) == 1:
            [(name, field)] = properties.items()
            typed = read_field(text, field)
            # In quotes it is JSON, so without them.
            answer[name] = value if typed == text and isinstance(value, str) else typed
        else:
            raise UsageError(
                f"the question has {len(properties)} fields, and one value is for none of them",
                hint=f"give each with --field KEY=VALUE: {', '.join(properties)}",
            )
    for argument in fields:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise UsageError(f"--field {argument!r} is not KEY=VALUE")
        answer[key] = read_field(text, properties.get(key, {}))
    return answer


def read_field(text: str, field: Any) -> JSON:
    """Return what a person typed, as the value of a field: yes and no are truth values."""
    kind = cast(Object, field).get("type") if isinstance(field, dict) else None
    if kind == "boolean" and text.strip().lower() in ("y", "yes", "n", "no"):
        return text.strip().lower().startswith("y")
    return _argument(text, field)


def read_duration(option: str, text: str) -> float:
    """Return the seconds of a duration, e.g. `30d`, or `90`, which are seconds.

    Raises:
        UsageError: It is none.
    """
    from llmspell.durations import seconds_of

    try:
        return seconds_of(float(text) if _NUMBER.fullmatch(text) else text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint="") from None


def read_timeout(text: str | None) -> float | None:
    """Return the seconds that `--timeout` allows; None where it is not given.

    Raises:
        UsageError: It is no duration, or none at all.
    """
    seconds = None if text is None else read_duration("--timeout", text)
    if seconds is not None and seconds < 0.001:
        raise UsageError("--timeout: nothing is done within no time", hint="")
    return seconds


def read_parts(files: Sequence[Path]) -> list[Object]:
    """Return files as parts of a message: `{name, media_type, text}`, or `bytes` in base64.

    Raises:
        UsageError: A file can't be read.
    """
    parts: list[Object] = []
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"--file {str(path)!r}: {error.strerror}", hint="") from None
        media_type = mimetypes.guess_type(path.name)[0]
        part: Object = {"name": path.name}
        try:
            part["text"] = content.decode("utf-8")
            part["media_type"] = media_type or "text/plain"
        except UnicodeDecodeError:
            part["bytes"] = base64.b64encode(content).decode("ascii")
            part["media_type"] = media_type or "application/octet-stream"
        parts.append(part)
    return parts


def _object(value: JSON, otherwise: str) -> Object:
    if not isinstance(value, dict):
        raise UsageError(otherwise)
    return cast(Object, value)


def _properties(schema: Object | None) -> dict[str, Any]:
    return (schema or {}).get("properties") or {}


def _value(text: str, schema: Object | None) -> JSON:
    try:
        value: JSON = loads(text)
    except ValueError:
        value = text.removesuffix("\n")
    if isinstance(value, dict) or schema is None:
        return cast(JSON, value)
    field = _text_field(schema)
    if field is None:
        raise UsageError(
            "the input is a text, and the spell has no single string field for it",
            hint="give --input as a JSON object, or each field with --arg KEY=VALUE",
        )
    return {field: value if isinstance(value, str) else text.removesuffix("\n")}


def _text_field(schema: Object) -> str | None:
    """Return the only required string field, else the only string field, else None."""
    fields = [name for name, field in _properties(schema).items() if field.get("type") == "string"]
    required = [name for name in fields if name in (schema.get("required") or [])]
    for candidates in (required, fields):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _argument(text: str, field: Any) -> JSON:
    if isinstance(field, dict) and cast(Object, field).get("type") == "string":
        return text
    try:
        return loads(text)
    except ValueError:
        return text
