"""HTTP/1.1 and server-sent events on bare sockets: for clients that break off where they like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any


class Broken(Exception):
    """The connection could not be made, or ended before the answer did."""


class Response:
    """An answer: its head is there, its body comes.

    Args:
        reader: What the body is read from.
    """

    def __init__(
        self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]
    ) -> None:
        self.status = status
        self.headers = headers
        self.last_event = ""
        """Id of the last event, by which a client that comes back names it."""
        self._reader = reader

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([chunk async for chunk in self._chunks()])

    async def messages(self) -> AsyncGenerator[dict[str, Any]]:
        """Yield the JSON-RPC messages of the body, be it a stream or not."""
        if not self.is_stream:
            body = await self.read()
            if body:
                yield json.loads(body)
            return
        buffer = b""
        async for chunk in self._chunks():
            buffer += chunk
            while b"\n\n" in buffer:
                block, _, buffer = buffer.partition(b"\n\n")
                data = self._event(block)
                if data:
                    yield json.loads(data)

    def _event(self, block: bytes) -> bytes:
        data: list[bytes] = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"id":
                self.last_event = value.decode()
        return b"\n".join(data)

    async def _chunks(self) -> AsyncGenerator[bytes]:
        try:
            if "chunked" not in self.headers.get("transfer-encoding", ""):
                length = int(self.headers.get("content-length", "0"))
                yield await self._reader.readexactly(length)
                return
            while True:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                chunk = await self._reader.readexactly(size + 2)
                if not size:
                    return
                yield chunk[:-2]
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Broken(str(error)) from error


class Connection:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> Connection:
        """Connect to a server of this machine.

        Raises:
            Broken: Nobody listens.
        """
        try:
            return cls(*await asyncio.open_connection("127.0.0.1", port, limit=16 << 20))
        except OSError as error:
            raise Broken(str(error)) from error

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Broken(str(error)) from error

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        """Send a request and return its answer once the head has come."""
        await self.write(request_bytes(method, path, headers, body))
        return await self.response()

    async def response(self) -> Response:
        """Return the next answer once its head has come."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Broken(str(error)) from error
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        return Response(self._reader, int(first.split()[1]), fields)

    async def is_ended(self) -> bool:
        """Wait for more, and return whether there is none: the server has closed it."""
        return not await self._reader.read(1)

    def abort(self) -> None:
        """Break off, whatever is under way."""
        self._writer.transport.abort()


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    fields = {"host": "127.0.0.1", **headers}
    if method == "POST":
        fields["content-length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
