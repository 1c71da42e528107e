"""A run that is under way in this process: its record, its log, and when they are saved."""

from __future__ import annotations

import asyncio

import msgspec

from llmspell import failpoints
from llmspell.clock import Clock
from llmspell.effects.messages import Usage
from llmspell.errors import InternalError, RunError
from llmspell.runs.archive import Archive
from llmspell.runs.log import KINDS, RunLog
from llmspell.runs.record import TRANSITIONS, Event, Run, RunState
from llmspell.state.store import Durability
from llmspell.values import JSON, Object

SAVE_SECONDS = 0.05
"""Longest time an event of a saved run waits before it is written."""


class LiveRun:
    """Keeps one run's record and log true, in memory and in the store.

    A run nobody else has a handle of is first saved when it ends or acts;
    from then on its events are saved a moment after they happen.
    """

    def __init__(
        self, run: Run, archive: Archive, clock: Clock, *, events: list[Event] | None = None
    ) -> None:
        self.run = run
        self._clock = clock
        self._archive = archive
        self._lock = asyncio.Lock()
        self._indexed_at: float | None = run.updated_at if events is not None else None
        self._saver: asyncio.Task[None] | None = None
        self.log = RunLog(clock, events)
        self._ended = asyncio.Event()
        self._ending = False
        self.failure: BaseException | None = None
        """Why saving in the background failed; the run then fails with it."""

    @property
    def is_saved(self) -> bool:
        """Whether the store knows this run."""
        return self._indexed_at is not None

    def note(self, kind: str, data: Object) -> None:
        """Append an event; it is saved soon when the run is saved already."""
        if kind not in KINDS:
            raise InternalError(f"{kind!r} is no kind of event")
        if self._ending or self.run.is_final:
            return  # a straggler of a canceled branch: the run's last event is its end
        self._append(self.log.next(kind, data))
        self._save_soon()

    def enter(self, state: RunState, *, message: str | None = None) -> None:
        """Change to a state that is not final.

        Raises:
            RunError: The transition is not legal.
        """
        self._check(state)
        data: Object = {"state": state}
        if message is not None:
            data["message"] = message
        event = self.log.next("state", data)
        self.run.state = state
        self.run.updated_at = event.at
        self._append(event)
        self._save_soon()

    async def save(self, durability: Durability = Durability.WRITTEN) -> None:
        """Write the record and every event not yet written."""
        async with self._lock:
            events = self.log.unsaved()
            if not events and self.is_saved and durability is not Durability.DURABLE:
                return
            # The record as it is now is what is written: it may change meanwhile.
            updated_at = self.run.updated_at
            await self._archive.save(
                self.run, events, indexed_at=self._indexed_at, durability=durability
            )
            self._indexed_at = updated_at
            if events:
                self.log.mark_saved(events[-1].number)
        if self.log.unsaved():
            self._save_soon()

    async def finish(
        self,
        state: RunState,
        *,
        output: JSON = None,
        content: list[Object] | None = None,
        error: Object | None = None,
        usage: Usage | None = None,
        durability: Durability = Durability.WRITTEN,
    ) -> None:
        """End the run: the end is written before any reader sees it.

        Raises:
            RunError: The transition is not legal, e.g. because the run has ended.
            StateError: The end could not be written; the run goes on.
        """
        data: Object = {"state": state}
        if error is not None:
            data["error"] = error
        async with self._lock:
            self._check(state)
            run = self.run
            self._ending = True
            event = self.log.next("state", data)
            ended = msgspec.structs.replace(
                run,
                state=state,
                output=output,
                content=content,
                error=error,
                usage=usage or run.usage,
                updated_at=event.at,
                generation=event.number,
            )
            try:
                await self._archive.save(
                    ended,
                    [*self.log.unsaved(), event],
                    indexed_at=self._indexed_at,
                    durability=durability,
                )
            except BaseException:
                self._ending = False
                raise
            failpoints.hit("run.after_end")
            self.run = ended
            self._indexed_at = ended.updated_at
            self.log.append(event)
            self.log.mark_saved(event.number)
        self.log.close()
        self._ended.set()

    def abandon(self) -> None:
        """Let readers and waiters go although the end could not be written.

        The store still holds the run as under way: the next owner ends it.
        """
        self.log.close()
        self._ended.set()

    async def ended(self) -> None:
        """Return once the run has ended."""
        await self._ended.wait()

    def _check(self, state: RunState) -> None:
        if self._ending or state not in TRANSITIONS[self.run.state]:
            raise RunError(f"run {self.run.id} cannot go from {self.run.state} to {state}")

    def _append(self, event: Event) -> None:
        self.run.generation = event.number
        self.log.append(event)

    def _save_soon(self) -> None:
        if self.is_saved and self._saver is None:
            self._saver = asyncio.get_running_loop().create_task(self._save_later())

    async def _save_later(self) -> None:
        try:
            await self._clock_pause()
            self._saver = None
            await self.save()
        except Exception as error:  # kept, so that the cast itself ends with it
            self.failure = error

    async def _clock_pause(self) -> None:
        # Real time on purpose: a manual clock must not hold back what is to be written.
        await asyncio.sleep(SAVE_SECONDS)
