"""The client's end of a control connection: requests, their answers, and what the owner tells.

One task reads; whoever asked is woken by it. What methods there are is not
known here: see `host.remote`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from llmspell.bridge.meeting import Meeting
from llmspell.errors import InputTooLarge, LlmspellError, OwnerError, OwnerUnreachable
from llmspell.host.catalogue import Catalogue
from llmspell.host.control import MAX_LINE_BYTES, read_lines
from llmspell.runs.record import Event
from llmspell.values import Object

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class _Answer(msgspec.Struct):
    """Any message of the owner."""

    id: int | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()
    error: Object | None = None


class _EventParams(msgspec.Struct):
    request: int
    event: Event


class Wire:
    """A control connection, open until `close` or until the owner goes. Made by `open`."""

    def __init__(
        self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.on_catalogue: Callable[[Catalogue], None] = lambda _: None
        """Called with each new catalogue, once they were asked for."""
        self._pid = pid
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._streams: dict[int, asyncio.Queue[Event | None]] = {}
        self._gone: LlmspellError | None = None
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, meeting: Meeting) -> Wire:
        """Begin to speak on a greeted connection."""
        streams = await asyncio.open_unix_connection(sock=meeting.socket, limit=MAX_LINE_BYTES)
        return cls(meeting.pid, *streams)

    async def ask(self, method: str, params: Object, kind: type[_T]) -> _T:
        """Ask the owner and return its answer, read as `kind`. See `call`."""
        return msgspec.json.decode(await self._request(next(self._ids), method, params), type=kind)

    async def call(self, method: str, params: Object) -> Any:
        """Ask the owner and return its answer as plain JSON; cancelling this cancels it there.

        Raises:
            OwnerUnreachable: The owner ended the connection.
            InputTooLarge: The params are longer than a message may be.
            LlmspellError: What the owner answered with.
        """
        return msgspec.json.decode(await self._request(next(self._ids), method, params))

    async def stream(self, run_id: str, after: int, until_pause: bool) -> AsyncIterator[Event]:
        """Yield the events of a run. See `RunHandle.events`."""
        identifier = next(self._ids)
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._streams[identifier] = queue
        params = {"run": run_id, "after": after, "until_pause": until_pause}
        asking = asyncio.create_task(self._request(identifier, "run.events", params))
        asking.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            await asking
        finally:
            del self._streams[identifier]
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def wait_closed(self) -> None:
        """Return once the owner has ended the connection."""
        await asyncio.wait([self._listening])

    async def close(self) -> None:
        """End the connection, and with it what waits through it. Closing twice is no error."""
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _request(self, identifier: int, method: str, params: Object) -> msgspec.Raw:
        if self._gone is not None:
            raise self._gone
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = future
        try:
            self._send({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params})
            await self._drain()
            return await future
        except asyncio.CancelledError:
            self._send({"jsonrpc": "2.0", "method": "cancel", "params": {"id": identifier}})
            raise
        finally:
            self._waiting.pop(identifier, None)

    def _send(self, message: Object) -> None:
        line = msgspec.json.encode(message)
        if len(line) >= MAX_LINE_BYTES:
            # The owner would drop it, unable to say whose request it was.
            raise InputTooLarge(f"a message may be {MAX_LINE_BYTES} bytes long, not {len(line)}")
        if not self._writer.is_closing():
            self._writer.write(line + b"\n")

    async def _drain(self) -> None:
        # A broken connection is noticed, and told to everybody, by the reader.
        with suppress(ConnectionError):
            await self._writer.drain()

    async def _listen(self) -> None:
        try:
            async for line in read_lines(self._reader):
                if line is not None:
                    self._receive(msgspec.json.decode(line, type=_Answer))
        except Exception:  # nobody awaits this task: its end must be seen, and told to all below
            _log.exception("what the owner says cannot be read")
        finally:
            self._gone = OwnerUnreachable(
                f"the owner (pid {self._pid}) ended the connection",
                hint="try again; the state directory's log/owner.log may say why",
            )
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(self._gone)

    def _receive(self, message: _Answer) -> None:
        if message.method == "run.event":
            params = msgspec.json.decode(message.params, type=_EventParams)
            queue = self._streams.get(params.request)
            if queue is not None:
                queue.put_nowait(params.event)
        elif message.method == "catalogue.changed":
            self.on_catalogue(msgspec.json.decode(message.params, type=Catalogue))
        elif message.id is not None:
            future = self._waiting.get(message.id)
            if future is None or future.done():
                return
            if message.error is None:
                future.set_result(message.result)
            else:
                future.set_exception(_error(message.error))
        elif message.error is not None:
            _log.warning("the owner refused a message: %s", message.error.get("message"))


def _error(body: Object) -> LlmspellError:
    data = body.get("data")
    if isinstance(data, dict):
        return LlmspellError.from_value(msgspec.convert(data, Object))
    return OwnerError(str(body.get("message", "the owner failed")))
