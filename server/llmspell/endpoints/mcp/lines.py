"""Splits a byte stream into lines of a bounded length, and survives one that is longer."""

from __future__ import annotations

import asyncio
import re
from typing import Self

_CHUNK = 256 << 10
_EDGE = 512
# The id of a message too long to parse: the first or second member, or the last one.
_ID = rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\]{1,200}")'
_ID_AT_START = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID + rb"\s*,")
_ID_AT_END = re.compile(rb"[,{\s]" + _ID + rb"\s*\}\s*$")


class TooLong:
    """What is left of a line over the limit: enough to say which request it was."""

    def __init__(self, head: bytes, tail: bytes) -> None:
        self._head = head
        self._tail = tail

    @classmethod
    def of(cls, line: bytes) -> Self:
        """Return what would be left of a line."""
        return cls(line[:_EDGE], line[-_EDGE:])

    def request_id(self) -> str | int | None:
        """Return the id of the request, where it stands first or last in the message."""
        match = _ID_AT_START.match(self._head) or _ID_AT_END.search(self._tail)
        if match is None:
            return None
        text = match[1].decode(errors="replace")
        return text[1:-1] if text.startswith('"') else int(text)


class LineReader:
    """Splits a byte stream into lines of at most `limit` bytes."""

    def __init__(self, reader: asyncio.StreamReader, limit: int) -> None:
        self._reader = reader
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0

    async def next(self) -> bytes | TooLong | None:
        """Return the next line, what is known of one too long, or None at the end."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if 0 <= end < self._limit:
                line = bytes(memoryview(self._buffer)[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                return line
            if len(self._buffer) >= self._limit:
                return await self._skip()
            self._searched = len(self._buffer)
            chunk = await self._read()
            if not chunk:
                line = bytes(self._buffer)
                self._buffer.clear()
                self._searched = 0
                return line or None
            self._buffer += chunk

    async def _skip(self) -> TooLong:
        head = bytes(self._buffer[:_EDGE])
        tail = b""
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                tail += bytes(self._buffer[max(0, end - _EDGE) : end])
                del self._buffer[: end + 1]
                break
            tail = (tail + bytes(self._buffer[-_EDGE:]))[-_EDGE:]
            self._buffer.clear()
            chunk = await self._read()
            if not chunk:
                break
            self._buffer += chunk
        self._searched = 0
        return TooLong(head, tail[-_EDGE:])

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(_CHUNK)
        except ConnectionError:
            return b""  # the peer is gone: the end
