"""The wire between the server and a worker: length-prefixed MessagePack frames.

A frame to the worker is a list of messages, a frame from it a list of events;
each request frame is answered by exactly one reply frame. The worker's Python
passes frames on unread: the Lua kernel reads and writes them.

    ["load", {name, source, modules, context, expected?}]
    ["main", {name, source, modules, context, input}]
    ["call", task, function, [argument...], with_context]
    ["answer", call, ok, value, now]

    ["loaded", declaration, [name...]] | ["loaded"]     the latter: as expected
    ["request", task, call, operation, arguments]
    ["done", task, ok, value]
    ["failed", error]                        the script is gone
    ["more"]                                 ask again for the rest with an empty frame

A function is extension 1, its number as four bytes. Binary data is extension 2
and becomes base64 text, so that a JSON value never holds bytes.
"""

from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from llmspell.values import JSON, FunctionRef, Object

HEADER = struct.Struct("<I")
"""Before each frame: its length in bytes."""
LIMITS = struct.Struct("<QQ")
"""Before the first frame to a worker: its heap and frame limits in bytes."""
FORKED = struct.Struct("<i")
"""What the zygote sends for each fork: a process id; its pidfd is attached."""
FRAME_EXTRA = 64
"""What a frame may be longer than the largest message, for its own list headers."""

_FUNCTION = 1
_BLOB = 2
_MAX_MESSAGES = 0xFFFF


def _read_extension(code: int, data: memoryview) -> object:
    if code == _FUNCTION and len(data) == 4:
        return FunctionRef(int.from_bytes(data, "big"))
    if code == _BLOB:
        return base64.b64encode(data).decode("ascii")
    raise ValueError(f"extension {code} of {len(data)} bytes is unknown")


_encoder = msgspec.msgpack.Encoder()
_sorted_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(list[list[Any]], ext_hook=_read_extension)


def pack(message: Sequence[Any]) -> bytes:
    """Return one message as bytes.

    Raises:
        ValueError: It holds what MessagePack cannot: an integer beyond 64 bits, text with lone
            surrogates, nesting without end, or something that is no JSON.
    """
    try:
        return _encoder.encode(message)
    except (TypeError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


def _with_extensions(value: JSON) -> JSON:
    if isinstance(value, FunctionRef):
        return msgspec.msgpack.Ext(_FUNCTION, value.number.to_bytes(4, "big"))
    if isinstance(value, dict):
        return {key: _with_extensions(item) for key, item in cast(Object, value).items()}
    if isinstance(value, list):
        return [_with_extensions(item) for item in cast("list[JSON]", value)]
    return value


def pack_declaration(value: JSON) -> bytes:
    """Return a declaration as the very bytes the kernel writes for it: sorted, shortest form."""
    return _sorted_encoder.encode(_with_extensions(value))


def frames(messages: Sequence[bytes], limit: int) -> list[bytes]:
    """Return packed messages as frames of at most `limit` bytes, unless a message alone is longer.

    No message makes one empty frame: it asks for events that did not fit before.
    """
    made: list[bytes] = []
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if batch and (size + len(message) > limit or len(batch) == _MAX_MESSAGES):
            made.append(_list_of(batch))
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    made.append(_list_of(batch))
    return made


def _list_of(batch: list[bytes]) -> bytes:
    count = len(batch)
    head = bytes([0x90 + count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(batch)


def unpack(frame: bytes) -> list[list[Any]]:
    """Return the events of a frame from a worker.

    Raises:
        ValueError: It is none (`msgspec.DecodeError`): the worker is not to be trusted any more.
    """
    return _decoder.decode(frame)


def failure(code: str, message: str) -> bytes:
    """Return a frame that ends the script with an error."""
    return _encoder.encode([["failed", {"code": code, "message": message}]])


def send(sock: socket.socket, frame: bytes) -> None:
    """Send one frame; blocks. For the worker's side."""
    sock.sendall(HEADER.pack(len(frame)))
    sock.sendall(frame)


def receive_exactly(sock: socket.socket, size: int) -> bytes | None:
    """Return `size` bytes, or None when the other side is gone; blocks."""
    parts: list[bytes] = []
    while size:
        part = sock.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive(sock: socket.socket, limit: int) -> bytes | None:
    """Return one frame, or None when the other side is gone or sends more than `limit`; blocks."""
    header = receive_exactly(sock, HEADER.size)
    if header is None:
        return None
    (size,) = HEADER.unpack(header)
    return None if size > limit else receive_exactly(sock, size)
