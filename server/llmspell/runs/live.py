"""A run that is under way in this process: its record, its log, and when they are saved."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Protocol

import msgspec

from llmspell import failpoints
from llmspell.clock import Clock
from llmspell.effects.messages import Usage
from llmspell.errors import InternalError, RunError
from llmspell.runs.archive import Archive
from llmspell.runs.log import KINDS, RunLog
from llmspell.runs.record import TRANSITIONS, Event, Question, Run, RunState
from llmspell.state.store import Durability, Write
from llmspell.values import JSON, Object

SAVE_SECONDS = 0.05
"""Longest time an event of a saved run waits before it is written."""

_EVENTS_AT_ONCE = 500
"""Events written in one go where an end has many to write."""


class FirstSave(Protocol):
    """What is stored together with a run when it is first saved."""

    def writes(self) -> Sequence[Write]:
        """Return what to write; called again when a save failed."""
        ...

    def done(self) -> None:
        """Note that it is stored."""
        ...


class LiveRun:
    """Keeps one run's record and log true, in memory and in the store.

    A run nobody else has a handle of is first saved when it ends or acts;
    from then on its events are saved a moment after they happen.

    Args:
        events: What the store has of it; None when it does not know the run yet.
        first_save: What is written together with the record when it is first saved.
    """

    def __init__(
        self,
        run: Run,
        archive: Archive,
        clock: Clock,
        *,
        events: list[Event] | None = None,
        first_save: FirstSave | None = None,
    ) -> None:
        self.run = run
        self._first_save = first_save
        self._is_first = events is None
        self._made_before: set[str] = set()
        self._clock = clock
        self._archive = archive
        self._lock = asyncio.Lock()
        self._is_known = events is not None
        self._listed_at: tuple[float, ...] = (run.updated_at,) if events is not None else ()
        """Each time under which the store may list the run: what came of a save is not known when
        it was cut short."""
        self._attempted = 0
        """Number of the last event that a save may have written which was cut short or failed."""
        self._saver: asyncio.Task[None] | None = None
        self.log = RunLog(clock, events)
        self._ending = False
        # Made when somebody waits for it: most runs end before anybody asks them anything.
        self._answered: asyncio.Event | None = None
        self._is_stopped = run.state not in ("submitted", "working")
        self._waiters: set[asyncio.Future[None]] = set()
        self.failure: BaseException | None = None
        """Why the last save in the background failed: before the run acts again it is saved."""

    @property
    def is_saved(self) -> bool:
        """Whether the store knows this run."""
        return self._is_known

    def also_save(self, first_save: FirstSave) -> None:
        """Write something with the next save, as if it were the first."""
        self._first_save = first_save
        self._is_first = True

    def perform_again(self) -> None:
        """Expect the events that the log has already to be noted once more: they are not added."""
        self._made_before = self.log.keys()

    def note(self, kind: str, data: Object, key: str = "") -> None:
        """Append an event; it is saved soon when the run is saved already.

        Args:
            key: The effect that makes it, when a run performed again makes it again.
        """
        if kind not in KINDS:
            raise InternalError(f"{kind!r} is no kind of event")
        if self._ending or self.run.is_final:
            return  # a straggler of a canceled branch: the run's last event is its end
        if key and key in self._made_before:
            return
        self._append(self.log.next(kind, data, key))
        self._save_soon()

    # -- questions

    def asks(self, question: Question) -> None:
        """Show a question of this run, or of one below it; the run then waits for an answer."""
        if any(other.id == question.id for other in self.run.questions):
            return
        self.run.questions = [*self.run.questions, question]
        shown = msgspec.to_builtins(question)
        del shown["key"], shown["asked_at"]
        self.note("question", shown, key=f"{question.run_id}{question.key}?")
        if self.run.state == "working":
            self.enter("input_required", message=question.message)

    def settled(self, question: Question, action: str, by: str = "") -> None:
        """Take a question back that was answered or has expired; the last one lets the run work."""
        left = [other for other in self.run.questions if other.id != question.id]
        if len(left) == len(self.run.questions):
            return
        self.run.questions = left
        data: Object = {"id": question.id, "run_id": question.run_id, "action": action, "by": by}
        self.note("answer", data)
        if not left and self.run.state == "input_required" and not self._ending:
            self.enter("working")

    def answer(self, key: str, answer: Object) -> None:
        """Keep the answer to a question of this run, and wake who waits for it."""
        self.run.answers = {**self.run.answers, key: answer}
        if self._answered is not None:
            self._answered.set()
            self._answered = None

    async def answered(self, key: str) -> Object:
        """Return the answer to the question at `key` once it is there."""
        while key not in self.run.answers:
            if self._answered is None:
                self._answered = asyncio.Event()
            await self._answered.wait()
        return self.run.answers[key]

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
        if state == "working":
            self._is_stopped = False
        else:
            self._stop()
        self._append(event)
        self._save_soon()

    async def save(
        self,
        durability: Durability = Durability.WRITTEN,
        *,
        also: Sequence[Write] = (),
        most: int | None = None,
    ) -> None:
        """Write the record and every event not yet written, and `also`, all or none.

        Args:
            most: Events written at most.
        """
        async with self._lock:
            events = self.log.unsaved()[:most]
            if not events and self.is_saved and durability is not Durability.DURABLE:
                self.failure = None
                return
            # The record as it is now is what is written: it may change meanwhile.
            updated_at = self.run.updated_at
            await self._archive.save(
                self.run,
                events,
                is_known=self._is_known,
                listed_at=self._list(updated_at),
                over=self._over(len(events)),
                durability=durability,
                also=[*also, *self._first()],
            )
            self._saved_as(updated_at)
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
        children: int = 0,
        tool_calls: int = 0,
        durability: Durability = Durability.WRITTEN,
        is_kept: bool = True,
    ) -> None:
        """End the run: the end is written before any reader sees it.

        Args:
            is_kept: Whether it is written; else the run is forgotten with its process.

        Raises:
            RunError: The transition is not legal, e.g. because the run has ended.
            StateError: The end could not be written; the run goes on.
        """
        data: Object = {"state": state}
        if error is not None:
            data["error"] = error
        while is_kept and self.log.unsaved_count > _EVENTS_AT_ONCE:
            await self.save(most=_EVENTS_AT_ONCE)
            await asyncio.sleep(0)  # thousands of events must not hold up others
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
                children=children,
                tool_calls=tool_calls,
                questions=[],
                answers={},
                parked=False,
                wake_at=None,
                updated_at=event.at,
                generation=event.number,
            )
            events = [*self.log.unsaved(), event]
            try:
                if is_kept:
                    await self._archive.save(
                        ended,
                        events,
                        is_known=self._is_known,
                        listed_at=self._list(event.at),
                        over=self._over(len(events)),
                        durability=durability,
                        also=self._first(),
                    )
            except BaseException:  # cancelled too: the run has not ended and may be ended again
                self._ending = False
                raise
            failpoints.hit("run.after_end")
            self.run = ended
            self._saved_as(ended.updated_at)
            self.log.append(event)
            self.log.mark_saved(event.number)
        self.log.close()
        self._stop()

    async def save_with(self, others: Sequence[LiveRun]) -> None:
        """Write this run and others, all or none, durable."""
        runs = [self, *others]
        async with AsyncExitStack() as stack:
            # One order for all, so that two who save the same runs cannot wait for each other.
            for live in sorted(runs, key=lambda live: live.run.id):
                await stack.enter_async_context(live._lock)
            writes: list[Write] = []
            saved: list[tuple[LiveRun, float, list[Event]]] = []
            for live in runs:
                events = live.log.unsaved()
                updated_at = live.run.updated_at
                writes += live._first()
                writes += self._archive.writes(
                    live.run,
                    events,
                    is_known=live._is_known,
                    listed_at=live._list(updated_at),
                    over=live._over(len(events)),
                )
                saved.append((live, updated_at, events))
            await self._archive.store.commit(writes, durability=Durability.DURABLE)
            for live, updated_at, events in saved:
                live._saved_as(updated_at)
                if events:
                    live.log.mark_saved(events[-1].number)

    def abandon(self) -> None:
        """Let readers and waiters go although the end could not be written.

        The store still holds the run as under way: the next owner ends it.
        """
        if self._saver is not None:
            self._saver.cancel()  # what is written from now on is the next owner's
        self.log.close()
        self._stop()

    def revive(self) -> None:
        """Expect more of a run that was abandoned: it is to be performed again."""
        if self.log.is_closed and not self.run.is_final:
            self.log.reopen()
            self._saver = None
            self._is_stopped = self.run.state not in ("submitted", "working")

    async def stopped(self, *, until: float | None = None) -> None:
        """Return once the run has ended, waits for an answer, or was abandoned.

        Args:
            until: Time of the event loop at which nobody waits any more.

        Raises:
            TimeoutError: It is `until`.
        """
        if self._is_stopped:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.add(waiter)
        # Not `asyncio.timeout`: most casts end at once, and it takes as long as a part of one.
        timer = None if until is None else loop.call_at(until, _time_out, waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()

    def _stop(self) -> None:
        self._is_stopped = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _first(self) -> Sequence[Write]:
        return self._first_save.writes() if self._is_first and self._first_save else ()

    def _saved_as(self, updated_at: float) -> None:
        if self._is_first and self._first_save is not None:
            self._first_save.done()
        self._is_first = False
        self._is_known = True
        self.failure = None
        self._listed_at = (updated_at,)
        self._attempted = 0

    def _list(self, updated_at: float) -> tuple[float, ...]:
        """Note that the store may list the run under this time soon; return where it may now."""
        listed_at = self._listed_at
        if len(listed_at) < 2 or updated_at not in listed_at:  # two tell that one was cut short
            self._listed_at = (*listed_at, updated_at)
        return listed_at

    def _over(self, count: int) -> range:
        """Note that so many events may be written; return where they may have been already.

        The rows of such a save need not begin where those of the next one do.
        """
        saved = self.log.saved
        over = range(saved + 1, self._attempted + 1)
        self._attempted = max(self._attempted, saved + count)
        return over

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
        except Exception as error:  # kept, so that the next act of the run tries again
            self.failure = error

    async def _clock_pause(self) -> None:
        # Real time on purpose: a manual clock must not hold back what is to be written.
        await asyncio.sleep(SAVE_SECONDS)


def _time_out(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
