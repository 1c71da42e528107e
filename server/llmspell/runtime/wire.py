"""The wire between the server and a worker: length-prefixed packets, MessagePack frames in them.

A packet to the worker has a kind: `PROGRAM` (what the next scripts are made of,
sent once), `BEGIN` (a script begins, with these limits, in a state no script has
run in), `FRAME` (messages for it) and `END` (it is over: forget it; `BEGIN`
says so too). Only a `FRAME` is answered, by exactly one reply. A reply is headed by its length and
the CPU time the worker has used so far.

A frame to the worker is a list of messages, a frame from it a list of events.
The worker passes frames on unread, in C (`lua/worker.c`) or Python (`worker`): the Lua kernel
reads and writes them.

    ["load", {context, expected?}]
    ["main", {context, input}]
    ["call", task, function, [argument...], with_context, path]
    ["evaluate", task, name, source, path, now, modules]
    ["answer", call, ok, value, now]

    ["loaded", declaration, [name...]] | ["loaded"]     the latter: as expected
    ["request", task, call, operation, arguments, key]
    ["note", task, operation, arguments, key]           as a request, and nothing is waited for
    ["cancel", call]                         end that effect, then answer it all the same
    ["done", task, ok, value]
    ["failed", error]                        the script is gone
    ["covered", file, [line...], [line...]]  lines there are, and that ran (with the line hook)
    ["more"]                                 ask again for the rest with an empty frame

A program is a frame with the one element {name, source, modules}. A function is
extension 1, its number as four bytes. Binary data is extension 2 and becomes
base64 text, so that a JSON value never holds bytes.
"""

from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

from llmspell.values import JSON, FunctionRef, Object

PACKET = struct.Struct("<BI")
"""Before each packet to a worker: its kind and its length in bytes."""
REPLY = struct.Struct("<IQ")
"""Before each frame from a worker: its length in bytes, its CPU time so far in microseconds."""
PROGRAM, BEGIN, FRAME, END = range(4)
LIMITS = struct.Struct("<QQdd")
"""What `BEGIN` holds: limits of heap and frame in bytes, the CPU seconds after which the worker
ends itself in the middle of a slice, and those after which the count hook ends it; 0 = no hook."""
LINE_HOOK = -1.0
"""In place of the latter: no count hook, but one that notes which lines run."""
ROOM = struct.Struct("<Q")
"""The first bytes to a worker: the address space it may use, in bytes."""
FORKED = struct.Struct("<i")
"""What the zygote sends for each worker ordered: its process id, with its pidfd attached; or, where
it could not be forked, the negative number of the error."""
FRAME_EXTRA = 64
"""What a frame may be longer than the largest message, for its own list headers."""

_FUNCTION = 1
_BLOB = 2
_MAX_MESSAGES = 0xFFFF
_CHUNK = 1 << 16


def _read_extension(code: int, data: memoryview) -> object:
    if code == _FUNCTION and len(data) == 4:
        return FunctionRef(int.from_bytes(data, "big"))
    if code == _BLOB:
        return base64.b64encode(data).decode("ascii")
    raise ValueError(f"extension {code} of {len(data)} bytes is unknown")


_encoder = msgspec.msgpack.Encoder()
_sorted_encoder = msgspec.msgpack.Encoder(order="sorted")
_checker = msgspec.json.Encoder(enc_hook=lambda _: None)
"""Refuses what decodes but is no JSON, such as a list for a key. Functions pass."""


class _Event(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a worker says, as the table above has it."""


class LoadedEvent(_Event, tag="loaded"):
    """Without fields: the declaration is as expected."""

    declaration: Any = msgspec.UNSET
    names: list[str] = []


class RequestEvent(_Event, tag="request"):
    """See above."""

    task: int
    call: int
    operation: str
    arguments: Any
    key: str


class NoteEvent(_Event, tag="note"):
    """See above."""

    task: int
    operation: Literal["step.begin"]
    arguments: Any
    key: str


class CancelEvent(_Event, tag="cancel"):
    """See above."""

    call: int


class DoneEvent(_Event, tag="done"):
    """See above."""

    task: int
    ok: bool
    value: Any


class FailedEvent(_Event, tag="failed"):
    """See above."""

    error: Object


class CoveredEvent(_Event, tag="covered"):
    """See above."""

    file: str
    lines: list[int]
    ran: list[int]


class MoreEvent(_Event, tag="more"):
    """See above."""


Event: TypeAlias = (
    LoadedEvent
    | RequestEvent
    | NoteEvent
    | CancelEvent
    | DoneEvent
    | FailedEvent
    | CoveredEvent
    | MoreEvent
)
_decoder = msgspec.msgpack.Decoder(list[Event], ext_hook=_read_extension)


def pack_program(name: str, source: bytes, modules: Mapping[str, bytes]) -> bytes:
    """Return the frame that stands for a program."""
    program = {"name": name, "source": source, "modules": dict(modules)}
    return _list_of([_encoder.encode(program)])


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


def unpack(frame: bytes) -> list[Event]:
    """Return the events of a frame from a worker.

    Raises:
        ValueError: It is none (`msgspec.DecodeError`): the worker is not to be trusted any more.
    """
    try:
        events = _decoder.decode(frame)
        _checker.encode(events)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return events


def failure(code: str, message: str) -> bytes:
    """Return a frame that ends the script with an error."""
    return _encoder.encode([["failed", {"code": code, "message": message}]])


def packet(kind: int, payload: bytes = b"") -> bytes:
    """Return a packet to a worker."""
    return PACKET.pack(kind, len(payload)) + payload


class Reader:
    """Reads packets from a blocking socket. For the worker's side.

    Args:
        received: What has come from it already.
    """

    def __init__(self, sock: socket.socket, received: bytes = b"") -> None:
        self._sock = sock
        self._unread = received
        self._at = 0

    def unread(self) -> bytes:
        """Return what has been received and not been asked for."""
        return self._unread[self._at :]

    def exactly(self, size: int) -> bytes | None:
        """Return `size` bytes, or None when the other side is gone; blocks."""
        end = self._at + size
        if end > len(self._unread):
            parts = [self._unread[self._at :]]
            missing = size - len(parts[0])
            while missing > 0:
                part = self._sock.recv(max(_CHUNK, min(missing, 1 << 20)))
                if not part:
                    return None
                parts.append(part)
                missing -= len(part)
            self._unread = b"".join(parts)
            self._at, end = 0, size
        found = self._unread[self._at : end]
        self._at = end
        return found

    def packet(self) -> tuple[int, bytes] | None:
        """Return a packet's kind and payload, or None when the other side is gone; blocks."""
        if len(self._unread) - self._at >= PACKET.size:
            kind, size = PACKET.unpack_from(self._unread, self._at)
            self._at += PACKET.size
        else:
            header = self.exactly(PACKET.size)
            if header is None:
                return None
            kind, size = PACKET.unpack(header)
        payload = self.exactly(size)
        return None if payload is None else (kind, payload)
