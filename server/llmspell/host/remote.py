"""The host behind the control socket: what `Host.connect` gives.

It says the same as `host.host.Host` and performs nothing. Every call is made as
the person this process belongs to; of a given caller only the session and the
message are passed on.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from llmspell.bridge.meeting import Address, Meeting, UnreachableError, connect, connect_or_spawn
from llmspell.errors import CATALOGUE, LlmspellError, OwnerError, OwnerUnreachable
from llmspell.host.control import MAX_LINE_BYTES, read_lines
from llmspell.host.interface import Catalogue, RunHandle, RunPage
from llmspell.runs.record import Event, Outcome, Run, RunState
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object

if TYPE_CHECKING:
    from llmspell.config import Project  # settings are the owner's business, not a client's

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


class _Started(msgspec.Struct):
    run: str


def unreachable(error: UnreachableError) -> LlmspellError:
    """Return the error of the catalogue that a failed meeting stands for."""
    if error.cause is not None:
        return LlmspellError.from_value(error.cause)
    kind = CATALOGUE.get(error.code, OwnerUnreachable)
    return kind(error.message, hint=error.hint, data={"pid": error.pid} if error.pid else None)


class RemoteHost:
    """A host whose work another process does. Made by `attach` or `find`."""

    def __init__(
        self, meeting: Meeting, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = meeting.pid
        """The owner's process id."""
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._streams: dict[int, asyncio.Queue[Event | None]] = {}
        self._listeners: list[Callable[[Catalogue], None]] = []
        self._catalogue = Catalogue(0, ())
        self._gone: LlmspellError | None = None
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def attach(cls, place: Address | Project) -> RemoteHost:
        """Connect to the owner, started when there is none.

        Raises:
            OwnerError: None answers and none could be started, or it is of
                another version.
            LlmspellError: What a started owner failed with, e.g. `config.invalid`.
        """
        address = place if isinstance(place, Address) else Address(place.root, place.state)
        try:
            meeting = await asyncio.to_thread(connect_or_spawn, address, "control")
        except UnreachableError as error:
            raise unreachable(error) from None
        return await cls._open(meeting)

    @classmethod
    async def find(cls, state: Path) -> RemoteHost | None:
        """Connect to the owner of a state directory; return None when there is none.

        Raises:
            OwnerError: There is one, and it can't be used; `data["pid"]` is its pid.
        """
        try:
            meeting = await asyncio.to_thread(connect, state, "control")
        except UnreachableError as error:
            raise unreachable(error) from None
        return None if meeting is None else await cls._open(meeting)

    @classmethod
    async def _open(cls, meeting: Meeting) -> RemoteHost:
        streams = await asyncio.open_unix_connection(sock=meeting.socket, limit=MAX_LINE_BYTES)
        host = cls(meeting, *streams)
        try:
            host._catalogue = await host._ask("catalogue", {"watch": True}, Catalogue)
        except BaseException:
            await host.close()
            raise
        return host

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- the host's methods ---------------------------------------------------

    def catalogue(self) -> Catalogue:
        """Return what is published now, as the owner last said."""
        return self._catalogue

    def on_change(self, listener: Callable[[Catalogue], None]) -> Callable[[], None]:
        """Call `listener` after each change of the catalogue; return what ends that."""
        self._listeners.append(listener)

        def end() -> None:
            with suppress(ValueError):  # ended twice
                self._listeners.remove(listener)

        return end

    async def cast(
        self, name: str, input: JSON, *, caller: Caller | None = None, timeout: float | None = None
    ) -> Outcome:
        """Cast a published spell and wait for what comes of it. See `HostInterface.cast`."""
        params = {"name": name, "input": input, "timeout": timeout, **_passed(caller)}
        return await self._ask("cast", params, Outcome)

    async def start(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        proposal: str | None = None,
        attached: bool = False,
    ) -> RunHandle:
        """Begin a cast and return its handle. See `HostInterface.start`.

        Args:
            attached: Stop the run when this connection ends before its result was read.
        """
        params = {
            "name": name,
            "input": input,
            "timeout": timeout,
            "proposal": proposal,
            "attached": attached,
            **_passed(caller),
        }
        started = await self._ask("start", params, _Started)
        return RemoteRun(self, started.run)

    async def cast_source(
        self,
        file: str,
        source: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Cast a source text that is not published. See `HostInterface.cast_source`."""
        params = {"file": file, "source": source, "input": input, "timeout": timeout}
        return await self._ask("cast_source", {**params, **_passed(caller)}, Outcome)

    async def start_source(
        self,
        file: str,
        source: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        attached: bool = False,
    ) -> RunHandle:
        """Begin a cast of a source text and return its handle. See `HostInterface.start_source`.

        Args:
            attached: As `start`.
        """
        params = {
            "file": file,
            "source": source,
            "input": input,
            "timeout": timeout,
            "attached": attached,
            **_passed(caller),
        }
        return RemoteRun(self, (await self._ask("start_source", params, _Started)).run)

    async def propose(
        self, question: str, *, caller: Caller, data: Object | None = None
    ) -> RunHandle:
        """Make a run that waits for the choice of a spell. See `HostInterface.propose`."""
        params = {"question": question, "data": data, **_passed(caller)}
        return RemoteRun(self, (await self._ask("propose", params, _Started)).run)

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of this person's.

        Raises:
            RunNotFound: There is none.
        """
        await self._ask("run.record", {"run": run_id, **_passed(caller)}, Run)
        return RemoteRun(self, run_id)

    async def runs(
        self,
        *,
        caller: Caller,
        session: str | None = None,
        state: RunState | None = None,
        door: str | None = None,
        updated_after: float | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> RunPage:
        """Return this person's runs, the last updated first. See `HostInterface.runs`."""
        params = {
            "in_session": session,
            "state": state,
            "door": door,
            "updated_after": updated_after,
            "limit": limit,
            "after": after,
        }
        return await self._ask("runs", {**params, **_passed(caller)}, RunPage)

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

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method beside the host's own, e.g. `info` or `http.open`."""
        return msgspec.json.decode(await self._request(next(self._ids), method, params))

    # -- the wire -------------------------------------------------------------

    async def _ask(self, method: str, params: Object, kind: type[_T]) -> _T:
        identifier = next(self._ids)
        answer = await self._request(identifier, method, params)
        return msgspec.json.decode(answer, type=kind)

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
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def _drain(self) -> None:
        # A broken connection is noticed, and told to everybody, by the reader.
        with suppress(ConnectionError):
            await self._writer.drain()

    async def stream(self, run_id: str, after: int, until_pause: bool) -> AsyncIterator[Event]:
        """Yield the events of a run; the body of `RemoteRun.events`."""
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

    async def _listen(self) -> None:
        try:
            async for line in read_lines(self._reader):
                if line is not None:
                    self._receive(msgspec.json.decode(line, type=_Answer))
        finally:
            self._gone = OwnerUnreachable(
                f"the owner (pid {self.pid}) ended the connection",
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
            self._catalogue = msgspec.json.decode(message.params, type=Catalogue)
            for listener in list(self._listeners):
                listener(self._catalogue)
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


class RemoteRun:
    """A run of the owner's. See `RunHandle`."""

    def __init__(self, host: RemoteHost, run_id: str) -> None:
        self.id = run_id
        self._host = host

    async def record(self) -> Run:
        """Return the record as it stands now."""
        return msgspec.convert(await self._host.call("run.record", run=self.id), Run)

    def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended."""
        return self._host.stream(self.id, after, until_pause)

    async def result(self) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it."""
        return msgspec.convert(await self._host.call("run.result", run=self.id), Outcome)

    async def cancel(self) -> Run:
        """Stop the run and everything it began, and return its record."""
        return msgspec.convert(await self._host.call("run.cancel", run=self.id), Run)


def _passed(caller: Caller | None) -> Object:
    return {} if caller is None else {"session": caller.session, "message": caller.message}


def _error(body: Object) -> LlmspellError:
    data = body.get("data")
    if isinstance(data, dict):
        return LlmspellError.from_value(msgspec.convert(data, Object))
    return OwnerError(str(body.get("message", "the owner failed")))
