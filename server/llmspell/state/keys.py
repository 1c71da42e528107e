"""The byte form of keys: tuples packed so that comparing the bytes compares the tuples.

The encoding is FoundationDB's tuple layer, narrowed to three kinds of part
(https://github.com/apple/foundationdb/blob/main/design/tuple.md):

    bytes  01, the bytes with 00 written as 00 ff, 00
    str    02, its UTF-8 with 00 written as 00 ff, 00
    int    14 for 0; 14 + n and n big-endian bytes above it; 14 - n and the
           n bytes of `value + 256**n - 1` below it

So parts of one kind sort by value (text by code point), kinds sort as bytes <
str < int, and a tuple sorts before every tuple that extends it. These bytes
are on disk: changing them is a new `FORMAT_VERSION`.
"""

from __future__ import annotations

from typing import Final

from llmspell.state.store import Key

_BYTES: Final = 0x01
_STR: Final = 0x02
_ZERO: Final = 0x14
_INT_BYTES: Final = 8
_FIRST_INT: Final = _ZERO - _INT_BYTES
_LAST_INT: Final = _ZERO + _INT_BYTES
_SMALL_INTS: Final = 256


def pack(key: Key) -> bytes:
    """Return the bytes of `key`.

    Raises:
        TypeError: A part is neither str, int nor bytes; a bool is no int here.
        ValueError: An int needs more than 8 bytes, or a text is not valid Unicode.
    """
    packed = bytearray()
    for part in key:
        if type(part) is str:
            packed.append(_STR)
            packed += part.encode().replace(b"\0", b"\0\xff")
            packed.append(0)
        elif type(part) is int:
            if 0 < part < _SMALL_INTS:
                packed += b"%c%c" % (_ZERO + 1, part)
            else:
                packed += _pack_int(part)
        elif type(part) is bytes:
            packed.append(_BYTES)
            packed += part.replace(b"\0", b"\0\xff")
            packed.append(0)
        else:
            raise TypeError(f"a key part must be str, int or bytes, not {part!r}")
    return bytes(packed)


def _pack_int(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    if size > _INT_BYTES:
        raise ValueError(f"an int in a key has at most {_INT_BYTES} bytes: {value}")
    if value >= 0:
        return bytes((_ZERO + size,)) + value.to_bytes(size, "big")
    return bytes((_ZERO - size,)) + (value + (1 << 8 * size) - 1).to_bytes(size, "big")


def unpack(packed: bytes) -> Key:
    """Return the key whose bytes are `packed`.

    Raises:
        ValueError: `packed` is malformed.
    """
    parts: list[str | int | bytes] = []
    at, end = 0, len(packed)
    while at < end:
        kind = packed[at]
        at += 1
        if kind in (_STR, _BYTES):
            stop = packed.find(0, at)
            while stop >= 0 and packed[stop + 1 : stop + 2] == b"\xff":
                stop = packed.find(0, stop + 2)
            if stop < 0:
                raise ValueError(f"no end of a part in key {packed!r}")
            data = packed[at:stop].replace(b"\0\xff", b"\0")
            parts.append(data.decode() if kind == _STR else data)
            at = stop + 1
        elif _FIRST_INT <= kind <= _LAST_INT:
            size = abs(kind - _ZERO)
            if at + size > end:
                raise ValueError(f"an int is cut short in key {packed!r}")
            value = int.from_bytes(packed[at : at + size], "big")
            parts.append(value if kind >= _ZERO else value - (1 << 8 * size) + 1)
            at += size
        else:
            raise ValueError(f"unknown kind {kind:#04x} of a part in key {packed!r}")
    return tuple(parts)


def prefix_range(prefix: Key, *, partial: bool = False) -> tuple[bytes, bytes]:
    """Return `(low, high)`: the packed keys that extend `prefix` are those in `low <= key < high`.

    Args:
        prefix: The leading parts; `()` is every key.
        partial: The last part, a str or bytes, need only begin the key's part.

    Raises:
        ValueError: `partial`, and the last part has no beginning: it is an int, or absent.
    """
    packed = pack(prefix)
    if not partial:
        # No part begins with ff, so nothing that extends `prefix` sorts above;
        # and ff is what an escaped 00 goes on with, which `high` so excludes.
        return packed, packed + b"\xff"
    if not prefix or isinstance(prefix[-1], int):
        raise ValueError(f"a partial prefix ends with a str or bytes: {prefix!r}")
    low = packed[:-1]
    # The next byte string no key with this beginning reaches. A kind byte stands
    # in front, so there always is one.
    stem = low.rstrip(b"\xff")
    return low, stem[:-1] + bytes((stem[-1] + 1,))


def scan_range(
    prefix: Key, after: Key | None, before: Key | None, *, partial: bool = False
) -> tuple[bytes, bytes]:
    """Return the `low <= key < high` of a scan with these exclusive bounds (see `Store.scan`).

    `high` is below `low` when nothing can match.
    """
    low, high = prefix_range(prefix, partial=partial)
    if after is not None:
        # The very next byte string: `after` itself is out, what extends it is in.
        low = max(low, pack(after) + b"\0")
    if before is not None:
        high = min(high, pack(before))
    return low, high
