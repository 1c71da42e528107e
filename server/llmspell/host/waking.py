"""Parked runs that go on: woken by an answer, by their time, or by whoever finds one left lying.

Waking is a task of its own: what a run began with is read first. A run whose cast is
at work goes on by itself, and is not woken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from llmspell.errors import LlmspellError, RunError, RunInterrupted, StateCorrupt, StateError
from llmspell.host.alarms import Alarms
from llmspell.host.handles import LiveHandle, Runs
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Run
from llmspell.runs.services import Services

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
"""How often what a run began with is read again when the store could not read it."""

_T = TypeVar("_T")


class Waking:
    """Wakes the runs of this process.

    Args:
        runs: Where runs live, and are begun.
        prepare: Returns the casting that takes a stored run up again.
    """

    def __init__(
        self,
        runs: Runs,
        services: Services,
        prepare: Callable[[LiveRun], Awaitable[Casting]],
    ) -> None:
        self._runs = runs
        self._archive = services.archive
        self._clock = services.clock
        self._prepare = prepare
        self._alarms = Alarms(services.clock, self._ring)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sleeping: dict[str, str] = {}
        """Parked runs that nobody has opened yet: their tenants, by id."""
        self._closed = asyncio.Event()

    @property
    def is_busy(self) -> bool:
        """Whether a run is being woken."""
        return bool(self._tasks)

    def next_due(self) -> float | None:
        """Return when the next parked run goes on by itself, or None."""
        return self._alarms.next_due()

    def sleep(self, run: Run) -> None:
        """Wake a run that nobody has opened at its time, if it has one."""
        if run.wake_at is not None:
            self._sleeping[run.id] = run.tenant
            self._alarms.set(run.id, run.wake_at)

    def parked(self, handle: LiveHandle) -> None:
        """Look after a run that was parked: wake it at its time, or now when it has no reason."""
        run = handle.live.run
        if handle.is_wanted or not (run.questions or run.wake_at):
            self.wake(handle.id, "answer")  # the answer came while it was being parked
        elif run.wake_at is not None:
            self._alarms.set(handle.id, run.wake_at)

    def forget(self, run_id: str) -> None:
        """Wake a run no more."""
        self._alarms.forget(run_id)
        self._sleeping.pop(run_id, None)

    def wake(self, run_id: str, reason: str) -> None:
        """Take a parked run up again, unless that is being done already."""
        if self._closed.is_set() or run_id in self._tasks:
            return
        handle = self._runs.get(run_id)
        if handle is None or handle.is_canceled or handle.live.run.is_final:
            return
        if handle.is_at_work:
            # Being parked at this moment it must be woken again; at work it goes on by itself.
            handle.is_wanted = handle.casting is not None and handle.casting.leaving is not None
            return
        self.forget(run_id)
        task = asyncio.get_running_loop().create_task(self._resume(handle, reason))
        self._tasks[run_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run_id, None))

    async def close(self) -> None:
        """Wake nothing any more; what is being woken is left as it is stored."""
        self._closed.set()
        await self._alarms.close()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _ring(self, run_id: str) -> None:
        tenant = self._sleeping.pop(run_id, None)
        if tenant is None or self._runs.get(run_id) is not None:
            self.wake(run_id, "time")
            return
        task = asyncio.get_running_loop().create_task(self._open_and_wake(tenant, run_id))
        self._tasks[run_id] = task

    async def _open_and_wake(self, tenant: str, run_id: str) -> None:
        try:
            live = await self._read(run_id, partial(self._opened, tenant, run_id))
            if live is None:
                return
            if self._runs.get(run_id) is None:
                self._runs.hold(live)
        except (RunError, StateError) as error:
            log.error("run %s cannot go on: %s", run_id, error)
            return
        finally:
            self._tasks.pop(run_id, None)
        self.wake(run_id, "time")

    async def _opened(self, tenant: str, run_id: str) -> LiveRun:
        return await self._runs.opened(await self._archive.load(tenant, run_id))

    async def _read(self, run_id: str, read: Callable[[], Awaitable[_T]]) -> _T | None:
        """Read of a run until the store can, and return what was read; None = all is closed.

        Raises:
            StateCorrupt: The stored bytes are damaged, and will be.
        """
        while not self._closed.is_set():
            try:
                return await read()
            except StateCorrupt:
                raise
            except StateError as error:
                log.warning("run %s cannot be read, and is tried again: %s", run_id, error)
            try:
                async with self._clock.timeout(RETRY_SECONDS):
                    await self._closed.wait()
            except TimeoutError:
                continue
        return None

    async def _resume(self, handle: LiveHandle, reason: str) -> None:
        live = handle.live
        try:
            live.run.parked, live.run.wake_at = False, None
            handle.is_wanted = False
            casting = await self._read(handle.id, partial(self._prepare, live))
            if self._closed.is_set() or handle.is_canceled or live.run.is_final:
                return
            assert casting is not None  # else all is closed
            live.note("resumed", {"reason": reason})
            self._runs.begin(casting)
        except LlmspellError as error:
            log.warning("run %s cannot go on: %s", handle.id, error)
            await self._runs.fail(live, error)
        except Exception as error:  # the run must not be stuck over a fault of ours
            log.exception("run %s cannot go on", handle.id)
            await self._runs.fail(live, RunInterrupted(f"the run cannot go on: {error!r}"))
