"""Handles of runs: under way in this process, or read from the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from llmspell.errors import RunCanceled, RunError, RunNotCancelable
from llmspell.runs.archive import Archive
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Event, Outcome, Run, outcome_of
from llmspell.state.store import Durability

_PAUSED = ("input_required", "auth_required")


class LiveHandle:
    """A run of this process: one that is cast, or one that waits for an answer.

    Args:
        forget: Called with the id when a run that nothing casts has ended.
    """

    def __init__(self, live: LiveRun, *, forget: Callable[[str], object]) -> None:
        self.live = live
        self._forget = forget
        self.id = live.run.id
        self.casting: Casting | None = None
        self.task: asyncio.Task[Outcome] | None = None

    async def record(self) -> Run:
        """Return the record as it stands now."""
        return self.live.run

    async def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended.

        Raises:
            StateError: The end of the run could not be written.
        """
        if until_pause and self.live.run.state in _PAUSED and after >= len(self.live.log):
            return
        async for event in self.live.log.read(after):
            yield event
            at_end = event.number == len(self.live.log)
            if until_pause and at_end and self.live.run.state in _PAUSED:
                return
        if not self.live.run.is_final and self.task is not None:
            # The end could not be written, so there is none to show: the reader is told why.
            await asyncio.shield(self.task)

    async def result(self) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it."""
        async for _ in self.events(until_pause=True):
            pass
        return outcome_of(self.live.run)

    async def cancel(self) -> Run:
        """Stop the run and everything it began, and return its record. Idempotent.

        Raises:
            RunNotCancelable: It has already completed, failed or been rejected.
        """
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])
        if not self.live.run.is_final:
            try:
                await self._record_cancel()
            except RunError:
                if not self.live.run.is_final:
                    raise  # else another cancel came first
        _check_canceled(self.live.run)
        return self.live.run

    async def _record_cancel(self) -> None:
        if self.casting is not None:
            await self.casting.stopped()
            return
        error = RunCanceled("the run was canceled").with_run(self.id)
        await self.live.finish("canceled", error=error.to_value(), durability=Durability.DURABLE)
        self._forget(self.id)


class StoredHandle:
    """A run that has ended, read from the store."""

    def __init__(self, run: Run, archive: Archive) -> None:
        self.id = run.id
        self._run = run
        self._archive = archive

    async def record(self) -> Run:
        """Return the record."""
        return self._run

    async def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`."""
        for event in await self._archive.events(self.id, after):
            yield event

    async def result(self) -> Outcome:
        """Return what came of the run."""
        return outcome_of(self._run)

    async def cancel(self) -> Run:
        """Return the record of a run that was canceled.

        Raises:
            RunNotCancelable: It ended otherwise.
        """
        _check_canceled(self._run)
        return self._run


def _check_canceled(run: Run) -> None:
    if run.state != "canceled":
        raise RunNotCancelable(f"run {run.id} has ended: it is {run.state}", run_id=run.id)
