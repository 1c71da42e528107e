"""Runs whose handle somebody is given: durable before anybody has it, and then nobody's to lose.

`Host.cast` and `Host.begin` are for callers that wait; nothing here waits for a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec

from llmspell.errors import RunError, RunInterrupted, RunNotWaiting
from llmspell.host.handles import LiveHandle
from llmspell.host.joining import Joining
from llmspell.host.limited_run import limited
from llmspell.host.new_runs import NewRuns
from llmspell.host.preparing import Preparing
from llmspell.host.run_interface import RunHandle
from llmspell.host.running import Running
from llmspell.host.spellbook import Spellbook
from llmspell.host.versions import Versions
from llmspell.runs.castable import Castable
from llmspell.runs.casting import Casting
from llmspell.runs.journal_records import copied, read_journal
from llmspell.runs.live import LiveRun
from llmspell.security.principals import Caller, local_caller
from llmspell.security.scopes import require_cast, require_runs
from llmspell.state.store import Durability, Store, Write
from llmspell.values import JSON, Object


class Starting:
    """Starts runs and gives their handles."""

    def __init__(
        self,
        store: Store,
        book: Spellbook,
        versions: Versions,
        new_runs: NewRuns,
        preparing: Preparing,
        running: Running,
        joining: Joining,
    ) -> None:
        self._store = store
        self._book = book
        self._versions = versions
        self._new_runs = new_runs
        self._preparing = preparing
        self._running = running
        self._joining = joining

    async def start(
        self,
        name: str,
        input: JSON,
        *,
        caller: Caller | None,
        timeout: float | None,
        proposal: str | None,
        key: str | None,
    ) -> RunHandle:
        """Begin a cast and return its handle once its record is durable. See `HostInterface.start`.

        When the caller is cancelled meanwhile, the run goes on.
        """
        castable = self._published(name)
        if caller is not None:
            require_cast(caller, name)
        if key is not None or (castable.spec.join and proposal is None):
            found = await self._joining.begun(key, castable, input, caller, timeout)
            if isinstance(found, Casting):
                return await self._started(found)
            if isinstance(found, LiveHandle):
                found.is_given = True
                await found.live.save(Durability.DURABLE)
            return found
        live = await self._proposal(proposal, caller) if proposal else None
        asked = msgspec.structs.replace(live.run) if live is not None else None
        casting = self._preparing.casting(castable, input, caller, timeout, live=live)
        claimed = self._running.get(casting.live.run.id)
        if claimed is None:
            return await self._started(casting)
        # Before the first await, so that a second answer finds the question answered.
        claimed.casting = casting

        def open_again() -> None:
            claimed.casting = None
            if asked is not None:
                self._new_runs.unchosen(claimed.live, asked)

        return await self._kept(claimed, lambda: self._begin(claimed, casting), open_again)

    async def start_source(
        self, file: str, source: str, input: JSON, *, caller: Caller | None, timeout: float | None
    ) -> RunHandle:
        """Begin a cast of a source text and return its handle."""
        return await self._started(self._preparing.of_source(file, source, input, caller, timeout))

    async def propose(self, question: str, *, caller: Caller, data: Object | None) -> RunHandle:
        """Make a run that waits for the choice of a spell: its state is `input_required`."""
        require_cast(caller, "")
        live = self._new_runs.proposed(data, caller)
        live.enter("input_required", message=question)
        await live.save(Durability.DURABLE)
        handle = self._running.hold(live)
        handle.is_given = True
        return handle

    async def fork(
        self, run_id: str, *, caller: Caller, step: int | None, current: bool
    ) -> RunHandle:
        """Begin a new run with the recorded effects of another. See `HostInterface.fork`."""
        origin = await (await self._running.find(run_id, caller)).record()
        if origin.parent is not None or not (origin.spell or origin.source):
            raise RunError(f"run {run_id} cannot be forked", hint="fork the run at its root")
        require_cast(caller, origin.spell)
        castable = self._published(origin.spell) if current else await self._versions.of(origin)
        live = self._new_runs.of(
            castable,
            origin.input,
            replace(caller, session=origin.session, message=origin.message),
            source=origin.source,
        )
        run = live.run
        run.seed, run.forked_from = origin.seed or origin.id, origin.id
        run.seconds, run.epoch, run.created_at = origin.seconds, origin.epoch, origin.created_at
        rows = [
            row
            for row in await read_journal(self._store, run_id)
            if step is None or row.number < step
        ]
        handle = self._running.hold(live)
        return await self._kept(
            handle,
            lambda: self._running.wake(handle.id, "fork"),
            lambda: self._running.give_up(handle),
            also=copied(rows, run.id),
        )

    # -- inside

    def _published(self, name: str) -> Castable:
        castable = self._book.get(name)
        if castable is None:
            raise self._book.unknown(name)
        return castable

    async def _proposal(self, run_id: str, caller: Caller | None) -> LiveRun:
        caller = caller or local_caller()
        require_runs(caller)
        handle = await limited(await self._running.find(run_id, caller), caller)
        if (
            not isinstance(handle, LiveHandle)
            or handle.live.run.state != "input_required"
            or handle.casting is not None
        ):
            raise RunNotWaiting(f"run {run_id} waits for no answer", run_id=run_id)
        return handle.live

    async def _started(self, casting: Casting) -> RunHandle:
        """Begin a cast once its record is durable. Whoever looks for it meanwhile finds it."""
        handle = self._running.hold(casting.live)
        return await self._kept(
            handle,
            lambda: self._begin(handle, casting),
            lambda: self._running.give_up(handle),
        )

    async def _kept(
        self,
        handle: LiveHandle,
        begin: Callable[[], None],
        give_up: Callable[[], None],
        *,
        also: Sequence[Write] = (),
    ) -> RunHandle:
        """Save a run, then begin it; give it up when it could not be saved."""
        try:
            await handle.live.save(Durability.DURABLE, also=also)
        except asyncio.CancelledError:
            # It may be stored by now, and then nobody else in this process would go on with it.
            handle.is_given = True
            with suppress(RunInterrupted):
                begin()
            raise
        except BaseException:  # whatever it is: nobody would ever begin this run
            give_up()
            raise
        handle.is_given = True
        begin()
        return handle

    def _begin(self, handle: LiveHandle, casting: Casting) -> None:
        if not handle.is_canceled:  # by somebody who found it while it was saved
            self._running.begin(casting)
