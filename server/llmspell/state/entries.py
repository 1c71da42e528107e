"""How an entry lies in a row: a header of version, flags and expiry, then the value.

    8 bytes  version, big-endian
    1 byte   flags: 1 = it expires
    8 bytes  Unix time of expiry, a big-endian double; only with flag 1

These bytes are on disk: changing them is a new `FORMAT_VERSION`.
"""

from __future__ import annotations

import struct
from typing import Final

from llmspell.errors import StateCorrupt
from llmspell.state.keys import unpack
from llmspell.state.store import Entry, Key

_HEADER: Final = 9
_PLAIN: Final = 0
_EXPIRES: Final = 1
_EXPIRY: Final = struct.Struct(">d")
_BODY: Final = _HEADER + _EXPIRY.size


def header_of(version: int) -> bytes:
    """Return the header of what a commit writes to stay."""
    return version.to_bytes(8, "big") + b"\0"


def encode(header: bytes, value: bytes, expires_at: float | None) -> bytes:
    """Return the stored bytes of a value under the `header_of` its commit."""
    if expires_at is None:
        return header + value
    return header[:8] + b"\1" + _EXPIRY.pack(expires_at) + value


def decode(key: bytes, stored: bytes) -> Entry:
    """Return the entry of stored bytes; `key` is for the error.

    Raises:
        StateCorrupt: They have no valid header.
    """
    if len(stored) >= _HEADER:
        flags = stored[8]
        if flags == _PLAIN:
            return Entry(stored[_HEADER:], int.from_bytes(stored[:8], "big"))
        if flags == _EXPIRES and len(stored) >= _BODY:
            expires_at: float = _EXPIRY.unpack_from(stored, _HEADER)[0]
            return Entry(stored[_BODY:], int.from_bytes(stored[:8], "big"), expires_at)
    raise StateCorrupt(f"the value of key {key!r} has no valid header")


def measure(key: bytes, stored: bytes) -> tuple[int, float | None]:
    """Return how many bytes of value stored bytes hold, and when they expire.

    Raises:
        StateCorrupt: They have no valid header.
    """
    if len(stored) >= _HEADER and stored[8] == _PLAIN:
        return len(stored) - _HEADER, None
    return len(stored) - _BODY, decode(key, stored).expires_at


def decode_key(packed: bytes) -> Key:
    """Return the key of packed bytes.

    Raises:
        StateCorrupt: They are malformed.
    """
    try:
        return unpack(packed)
    except ValueError as error:
        raise StateCorrupt(str(error)) from error
