"""JSON values, and the one byte form of them that hashes and compares are made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

# An exact recursive union would make every dict literal invariant, and so every
# call site a cast: the border and the schemas check these values, not the types.
JSON: TypeAlias = Any
"""None, bool, int, float, str, list of JSON, or dict of str to JSON: what effects take and give."""

Object: TypeAlias = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """A function of a script, standing where JSON has none: its number in the script's order."""

    number: int


_encoder = msgspec.json.Encoder(order="sorted")
_plain = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def canonical(value: JSON) -> bytes:
    """Return `value` as JSON with sorted keys and no spaces: equal values, equal bytes."""
    return _encoder.encode(value)


def dumps(value: JSON) -> str:
    """Return `value` as compact JSON text, keys in their own order."""
    return _plain.encode(value).decode()


def loads(text: str | bytes) -> JSON:
    """Parse JSON text.

    Raises:
        ValueError: The text is not JSON (`msgspec.DecodeError`), or nested without end.
    """
    try:
        return _decoder.decode(text)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def content_hash(*parts: bytes) -> str:
    """Return a SHA-256 over length-prefixed parts, as 64 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
