"""Handles of runs: under way in this process, or read from the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal, Protocol

from llmspell.errors import (
    LlmspellError,
    RunError,
    RunInterrupted,
    RunNotCancelable,
    RunNotWaiting,
)
from llmspell.runs.archive import Archive
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Event, Outcome, Run, outcome_of
from llmspell.values import JSON

_PAUSED = ("input_required", "auth_required")


class Keeper(Protocol):
    """Who keeps the runs that have not ended."""

    async def answer(
        self,
        handle: LiveHandle,
        value: JSON,
        *,
        question: str | None,
        action: Literal["accept", "decline", "cancel"],
    ) -> Run:
        """Answer a question of a run."""
        ...

    async def stop(self, handle: LiveHandle) -> None:
        """Stop a run for which no cast with a task of its own is at work."""
        ...

    def get(self, run_id: str) -> LiveHandle | None:
        """Return the handle of a run that lives here, or None."""
        ...


class Runs(Protocol):
    """The runs of this process, as those see them who wake them, recover them and answer them."""

    def get(self, run_id: str) -> LiveHandle | None:
        """Return the handle of a run that lives here, or None."""
        ...

    def hold(self, live: LiveRun) -> LiveHandle:
        """Keep a run that no cast is at work for."""
        ...

    async def opened(self, run: Run) -> LiveRun:
        """Return a run of the store as a live one; the same one to everybody."""
        ...

    def begin(self, casting: Casting) -> LiveHandle:
        """Begin or go on with a cast in a task of its own, and return the handle of its run."""
        ...

    async def fail(self, live: LiveRun, error: LlmspellError) -> None:
        """End a run that cannot go on."""
        ...


class LiveHandle:
    """A run that has not ended: one that is cast, is parked, or waits for an answer."""

    def __init__(self, live: LiveRun, keeper: Keeper) -> None:
        self.live = live
        self._keeper = keeper
        self.id = live.run.id
        self.casting: Casting | None = None
        self.task: asyncio.Task[Outcome] | None = None
        self.waiters = 0
        """Callers that wait for its result."""
        self.is_given = False
        """Whether somebody has its handle: it goes on when nobody waits."""
        self.is_wanted = False
        """Whether it is to be woken as soon as it is parked."""
        self.is_canceled = False
        """Whether somebody stops it: no cast may be begun for it any more."""

    @property
    def is_detached(self) -> bool:
        """Whether it goes on when every caller has left."""
        return self.casting is not None and self.casting.is_detached

    @property
    def is_at_work(self) -> bool:
        """Whether a cast is under way for it."""
        return self.task is not None and not self.task.done()

    async def record(self) -> Run:
        """Return the record as it stands now."""
        return self.live.run

    async def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended.

        Raises:
            StateError: The end of the run could not be written.
            RunInterrupted: The server shuts down; a saved run goes on when it is back.
        """
        if until_pause and self.live.run.state in _PAUSED and after >= len(self.live.log):
            return
        async for event in self.live.log.read(after):
            yield event
            at_end = event.number == len(self.live.log)
            if until_pause and at_end and self.live.run.state in _PAUSED:
                return
        if not self.live.run.is_final:
            await self._explain()

    async def _explain(self) -> None:
        """Raise why there is no end to show."""
        task = self.task
        if task is not None:
            await asyncio.wait([task])
            if not task.cancelled() and (failed := task.exception()) is not None:
                raise failed
        if not self.live.run.is_final:
            raise interrupted(self.live)

    async def result(self, *, until: float | None = None) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it.

        Args:
            until: Time of the event loop at which nobody waits any more.

        Raises:
            TimeoutError: It is `until`.
        """
        await self.live.stopped(until=until)
        if self.live.log.is_closed and not self.live.run.is_final:
            await self._explain()
        return outcome_of(self.live.run)

    async def cancel(self) -> Run:
        """Stop the run and everything it began, and return its record. Idempotent.

        Raises:
            RunNotCancelable: It has already completed, failed or been rejected.
        """
        current = self._keeper.get(self.id)
        if current is not None and current is not self:
            return await current.cancel()  # the run was given up since, and taken up again
        if self.is_at_work:
            await asyncio.sleep(0)  # a task that is cancelled before its first step records nothing
        self.is_canceled = True
        try:
            await self._end_canceled()
        except BaseException:  # a caller that has gone, too: it may go on
            self.is_canceled = False
            raise
        _check_canceled(self.live.run)
        return self.live.run

    async def _end_canceled(self) -> None:
        if self.casting is not None and self.task is not None and not self.task.done():
            self.casting.cancel()
            await asyncio.wait([self.task])
        if not self.live.run.is_final:
            try:
                await self._record_cancel()
            except RunError:
                if not self.live.run.is_final:
                    raise  # else another cancel came first

    async def _record_cancel(self) -> None:
        if self.casting is not None and self.casting.leaving is None:
            await self.casting.stopped()  # its end could not be written: once more
            return
        await self._keeper.stop(self)

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        """Answer a question the run asks, and return its record; the answer is durable by then.

        Raises:
            RunNotWaiting: The run asks nothing, or not this.
            AskInvalid: The value does not fit, or several questions are open.
        """
        return await self._keeper.answer(self, value, question=question, action=action)


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

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        """Refuse an answer.

        Raises:
            RunNotWaiting: Always: the run has ended.
        """
        raise RunNotWaiting(f"run {self.id} has ended: it is {self._run.state}", run_id=self.id)


def interrupted(live: LiveRun) -> RunInterrupted:
    """Return the error of a run that was under way when the host was closed."""
    goes_on = "it goes on when llmspell is back" if live.is_saved else "cast it again"
    return RunInterrupted(
        f"llmspell shut down while {live.run.spell!r} was under way",
        hint=goes_on,
        run_id=live.run.id,
    )


def _check_canceled(run: Run) -> None:
    if run.state != "canceled":
        raise RunNotCancelable(f"run {run.id} has ended: it is {run.state}", run_id=run.id)
