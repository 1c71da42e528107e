"""The runs of this process: begun, held, found, stopped, left to the next owner.

A run lives here from its beginning to its end, with or without a cast at work: a parked
one waits until `waking` takes it up. What a cast does is `runs`' part; which spell is
cast with what, the host's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

from llmspell.errors import (
    LlmspellError,
    RunError,
    RunNotFound,
    StateError,
)
from llmspell.host.answering import Answering
from llmspell.host.handles import LiveHandle, StoredHandle, interrupted
from llmspell.host.keeping import missing_run
from llmspell.host.recovering import recover
from llmspell.host.run_interface import RunHandle
from llmspell.host.waking import Waking
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Outcome, Run, is_run_id
from llmspell.runs.services import Services
from llmspell.runs.stored_trees import stop_below, stop_tree
from llmspell.security.principals import Caller
from llmspell.state.store import Durability
from llmspell.values import JSON

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
"""Longest time `close` waits for casts to write down where they stand."""


class Running:
    """Keeps the runs that have not ended.

    Args:
        prepare: Returns the casting that takes a stored run up again.
        ended: Told of each run with a key that lives here no more.
    """

    def __init__(
        self,
        services: Services,
        prepare: Callable[[LiveRun], Awaitable[Casting]],
        ended: Callable[[Run], None],
    ) -> None:
        self._services = services
        self._archive = services.archive
        self._ended = ended
        self._handles: dict[str, LiveHandle] = {}
        self._waking = Waking(self, services, prepare)
        self._answering = Answering(self, self._waking, services)
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a cast is under way, or about to be, or has ended and was not looked at yet."""
        return self._waking.is_busy or any(
            handle.task is not None for handle in self._handles.values()
        )

    def next_due(self) -> float | None:
        """Return when the next parked run goes on by itself, or None."""
        return self._waking.next_due()

    async def recover(self) -> None:
        """Take up every run the last owner left: at once, parked ones when their time comes."""
        await recover(self, self._waking, self._services)

    # -- beginning

    def begin(self, casting: Casting) -> LiveHandle:
        """Begin or go on with a cast in a task of its own, and return the handle of its run.

        Raises:
            RunInterrupted: The host was closed meanwhile; a saved run is the next owner's.
        """
        live = casting.live
        run = live.run
        run_id = run.id
        if self._is_closed:
            raise interrupted(live)
        handle = self._handles.get(run_id)
        if handle is None:
            handle = self._handles[run_id] = LiveHandle(live, self)
        handle.casting = casting
        # At once: who is given the handle of an answered question must not find it waiting.
        if run.state in ("submitted", "input_required") and not run.questions:
            live.enter("working")
        task = asyncio.get_running_loop().create_task(casting.run(), name=run_id)
        casting.task = handle.task = task
        task.add_done_callback(self._left)
        return handle

    def hold(self, live: LiveRun) -> LiveHandle:
        """Keep a run that no cast is at work for: it waits for something, or is new."""
        handle = self._handles[live.run.id] = LiveHandle(live, self)
        return handle

    def give_up(self, handle: LiveHandle) -> None:
        """Keep a run no longer that could not be saved."""
        handle.live.abandon()
        self._forget(handle.live.run)

    def _left(self, task: asyncio.Task[Outcome]) -> None:
        """Look at a run whose task is over: it has ended, was parked or left."""
        handle = self._handles.get(task.get_name())
        if handle is None or handle.task is not task:
            return
        if not task.cancelled() and (failed := task.exception()) is not None:
            log.error("run %s could not be recorded: %s", handle.id, failed)
        run = handle.live.run
        if run.is_final:
            self._forget(run)
        elif self._is_closed or handle.casting is None or handle.casting.leaving != "parked":
            self.give_up(handle)
        else:
            handle.casting = handle.task = None
            self._waking.parked(handle)

    def _forget(self, run: Run) -> None:
        self._handles.pop(run.id, None)
        if run.key:
            self._ended(run)

    # -- finding

    def get(self, run_id: str) -> LiveHandle | None:
        """Return the handle of a run that lives here, or None."""
        return self._handles.get(run_id)

    async def find(self, run_id: str, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller's tenant and principal.

        Raises:
            RunNotFound: There is none the caller may see.
            RunCollected: It was deleted: it ended too long ago.
        """
        if not is_run_id(run_id):
            raise RunNotFound(f"no run {run_id[:64]!r}")
        handle = self._handles.get(run_id)
        child = self._services.live.get(run_id)
        if handle is not None:
            run = handle.live.run
        elif child is not None:
            run = child.run
        else:
            found = await self._archive.find(caller.tenant, run_id)
            if found is None:
                raise await missing_run(self._archive.store, caller, run_id)
            run = found
        if run.tenant != caller.tenant or run.principal != caller.principal:
            # The same answer as for a run that never was: ids of others are not confirmed.
            raise RunNotFound(f"no run {run_id!r}")
        if handle is not None:
            return handle
        if run.is_final:
            return StoredHandle(run, self._archive)
        return LiveHandle(child, self) if child is not None else await self._open(run)

    async def _open(self, run: Run) -> RunHandle:
        """Return the handle of a run that no cast is at work for."""
        live = await self.opened(run)
        handle = self._handles.get(run.id)  # somebody else may have opened it meanwhile
        if handle is not None:
            return handle
        if live.run.is_final:
            return StoredHandle(live.run, self._archive)
        if run.parent is not None:
            return LiveHandle(live, self)
        handle = self.hold(live)
        if not run.parked and (run.spell or run.source):
            # It waits for nothing: its beginning or its end could not be recorded.
            self._waking.wake(run.id, "restart")
        return handle

    async def opened(self, run: Run) -> LiveRun:
        """Return a run of the store as a live one; the same one to everybody.

        Raises:
            RunNotFound: It is not there any more.
        """
        handle = self._handles.get(run.id)
        if handle is not None:
            return handle.live
        live = await self._services.reopen(run.tenant, run.id)
        handle = self._handles.get(run.id)  # somebody else may have opened it during that read
        if handle is not None:
            return handle.live
        if live is None:
            raise RunNotFound(f"no run {run.id!r}")
        return live

    async def save(self) -> None:
        """Write every run that is in the store already as it stands now."""
        for handle in list(self._handles.values()):
            if handle.live.is_saved:
                await handle.live.save()

    # -- acting on runs

    async def answer(
        self,
        handle: LiveHandle,
        value: JSON,
        *,
        question: str | None,
        action: Literal["accept", "decline", "cancel"],
    ) -> Run:
        """Answer a question of a run; see `RunHandle.answer`."""
        return await self._answering.answer(handle, value, question=question, action=action)

    def wake(self, run_id: str, reason: str) -> None:
        """Take up a run that is held or parked, from what is stored of it."""
        self._waking.wake(run_id, reason)

    async def left(self, handle: LiveHandle) -> None:
        """Stop a run that nobody waits for any more, unless somebody has it or it is detached.

        When the host closes, nothing is stopped: what is saved is the next owner's.
        """
        run = handle.live.run
        if handle.is_given or run.is_final or run.questions or self._is_closed:
            return
        try:
            if handle.is_detached:
                handle.is_given = True
                await handle.live.save(Durability.DURABLE)
            else:
                await handle.cancel()
        except RunError as error:  # it ended meanwhile
            log.debug("run %s: %s", handle.id, error)
        except StateError as error:  # whoever left has no use for it
            log.error("run %s was left and could not be saved: %s", handle.id, error)

    async def stop(self, handle: LiveHandle) -> None:
        """Stop a run for which no cast with a task of its own is at work, and all below it.

        Who began it is told, and goes on.
        """
        run = handle.live.run
        questions = run.questions
        stop = self._services.stops.get(handle.id)
        if stop is not None:  # a child at work: its parent is there, and hears of it
            await stop()
        if not handle.live.run.is_final:
            await stop_tree(self._services, handle.live)
            self._waking.forget(handle.id)
            self._forget(run)
        elif not questions:
            return
        if run.parent is not None:
            await self._answering.withdraw(run, questions)

    async def fail(self, live: LiveRun, error: LlmspellError) -> None:
        """End a run that cannot go on, and all below it.

        When that cannot be written, it is the next owner's.
        """
        try:
            value = error.with_run(live.run.id).to_value()
            await stop_below(self._services, live.run.id)
            await live.finish("failed", error=value, durability=Durability.DURABLE)
        except (RunError, StateError) as failed:
            log.error("run %s could not be ended: %s", live.run.id, failed)
            live.abandon()
        self._forget(live.run)

    async def close(self) -> None:
        """Leave what is under way as it stands: the next owner goes on with what is saved.

        Returns once all of it has put itself in order, scripts and effects included.
        """
        self._is_closed = True
        await self._waking.close()
        await asyncio.sleep(0)  # what was begun just now must have begun to be left
        tasks: dict[asyncio.Task[Outcome], str] = {}
        for handle in list(self._handles.values()):
            if handle.casting is not None and handle.task is not None and not handle.task.done():
                handle.casting.leave("suspended")
                tasks[handle.task] = handle.id
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            if late:
                names = ", ".join(sorted(tasks[task] for task in late))
                log.error("runs did not stop in %g seconds: %s", CLOSE_SECONDS, names)
        for handle in list(self._handles.values()):
            handle.live.abandon()
