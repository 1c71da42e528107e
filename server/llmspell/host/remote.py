"""The host behind the control socket: what `Host.connect` gives.

It says the same as `host.host.Host` and performs nothing. Every call is made as
the person this process belongs to; of a given caller only the session and the
message are passed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from llmspell.bridge.meeting import Address, Meeting, UnreachableError, connect, connect_or_spawn
from llmspell.errors import CATALOGUE, LlmspellError, OwnerUnreachable
from llmspell.host.catalogue import Catalogue
from llmspell.host.remote_keys import RemoteKeys
from llmspell.host.remote_run import RemoteRun
from llmspell.host.remote_state import RemoteState
from llmspell.host.remote_wire import Wire
from llmspell.host.run_interface import Pruned, RunHandle, RunPage, Step
from llmspell.runs.record import Outcome, Run, RunState
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object

if TYPE_CHECKING:
    from llmspell.config import Project  # settings are the owner's business, not a client's


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

    def __init__(self, meeting: Meeting, wire: Wire) -> None:
        self.pid = meeting.pid
        """The owner's process id."""
        self.state = RemoteState(wire)
        self.api_keys = RemoteKeys(wire)
        self._wire = wire
        self._listeners: list[Callable[[Catalogue], None]] = []
        self._catalogue = Catalogue(0, ())
        wire.on_catalogue = self._changed

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
        host = cls(meeting, await Wire.open(meeting))
        try:
            host._catalogue = await host._wire.ask("catalogue", {"watch": True}, Catalogue)
        except BaseException:  # a cancelled attach too must leave no connection behind
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
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Outcome:
        """Cast a published spell and wait for what comes of it. See `HostInterface.cast`."""
        params = {"name": name, "input": input, "timeout": timeout, "key": key}
        return await self._wire.ask("cast", {**params, **_passed(caller)}, Outcome)

    async def start(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None = None,
        timeout: float | None = None,
        proposal: str | None = None,
        key: str | None = None,
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
            "key": key,
            "attached": attached,
            **_passed(caller),
        }
        started = await self._wire.ask("start", params, _Started)
        return RemoteRun(self._wire, started.run)

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
        return await self._wire.ask("cast_source", {**params, **_passed(caller)}, Outcome)

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
        return RemoteRun(self._wire, (await self._wire.ask("start_source", params, _Started)).run)

    async def propose(
        self, question: str, *, caller: Caller, data: Object | None = None
    ) -> RunHandle:
        """Make a run that waits for the choice of a spell. See `HostInterface.propose`."""
        params = {"question": question, "data": data, **_passed(caller)}
        return RemoteRun(self._wire, (await self._wire.ask("propose", params, _Started)).run)

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of this person's.

        Raises:
            RunNotFound: There is none.
        """
        await self._wire.ask("run.record", {"run": run_id, **_passed(caller)}, Run)
        return RemoteRun(self._wire, run_id)

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
        return await self._wire.ask("runs", {**params, **_passed(caller)}, RunPage)

    async def fork(
        self, run_id: str, *, caller: Caller, step: int | None = None, current: bool = False
    ) -> RunHandle:
        """Begin a new run with the recorded effects of another. See `HostInterface.fork`."""
        params = {"run": run_id, "step": step, "current": current, **_passed(caller)}
        return RemoteRun(self._wire, (await self._wire.ask("run.fork", params, _Started)).run)

    async def journal(self, run_id: str, *, caller: Caller) -> Sequence[Step]:
        """Return the recorded effects of a run, in the order they were recorded."""
        return await self._wire.ask("run.journal", {"run": run_id, **_passed(caller)}, list[Step])

    async def prune(
        self, *, caller: Caller, before: float | None = None, dry: bool = False
    ) -> Pruned:
        """Delete ended runs, or with `dry` only count them. See `HostInterface.prune`."""
        params = {"before": before, "dry": dry, **_passed(caller)}
        return await self._wire.ask("runs.prune", params, Pruned)

    async def wait_closed(self) -> None:
        """Return once the owner has ended the connection."""
        await self._wire.wait_closed()

    async def close(self) -> None:
        """End the connection, and with it what waits through it. Closing twice is no error."""
        await self._wire.close()

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method beside the host's own, e.g. `info` or `http.open`."""
        return await self._wire.call(method, params)

    def _changed(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        for listener in list(self._listeners):
            listener(catalogue)


def _passed(caller: Caller | None) -> Object:
    return {} if caller is None else {"session": caller.session, "message": caller.message}
