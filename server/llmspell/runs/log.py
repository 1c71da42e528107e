"""The event log of one run: numbered from 1 without gaps, readable late, twice and live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal, TypeAlias

from llmspell.clock import Clock
from llmspell.runs.record import Event
from llmspell.values import Object

KINDS = frozenset(
    {
        "state",  # {state, message?, error?}: the run's state changed
        "progress",  # {done, total?, message?}
        "log",  # {level, message, fields?}
        "part",  # {text | data | ..., name?, media_type?, append?, last?}: a piece of the answer
        "model.started",  # {model, source}
        "model.delta",  # {text, source}: text of a model as it streams
        "model.ended",  # {model, source, finish, usage}
        "cast.started",  # {spell, run_id, label}: a child
        "cast.ended",  # {spell, run_id, label, state}
        "step.started",  # {name}
        "step.ended",  # {name}
        "notice",  # {method, params}: a notification to the client that casts the run
        "changed",  # {uri} or {list}: what a resource holds, or what is in a list, was changed
        "question",  # {id, run_id, message, schema, expires_at, name?, url?, request?}
        "answer",  # {id, run_id, action, by}: how the question ended; by = whose principal
        "resumed",  # {reason}: restart, answer, time, stopped, fork or continued
    }
)
"""What an event can be."""

ListKind: TypeAlias = Literal["tools", "prompts", "resources"]
"""What clients are shown lists of."""


class RunLog:
    """The log of a run that is under way in this process.

    Appending is synchronous and wakes every reader; persisting is the
    archive's part, which takes what `unsaved` holds.
    """

    def __init__(self, clock: Clock, events: list[Event] | None = None) -> None:
        self._clock = clock
        self._events = events or []
        self._saved = len(self._events)
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def next(self, kind: str, data: Object, key: str = "") -> Event:
        """Return the event that would come next, without appending it."""
        return Event(
            number=len(self._events) + 1,
            at=self._clock.time(),
            kind=kind,
            data=data,
            key=key,
        )

    def keys(self) -> set[str]:
        """Return the keys of the effects whose events are here."""
        return {event.key for event in self._events if event.key}

    def append(self, event: Event) -> None:
        """Append an event made by `next`, and wake the readers."""
        if event.number != len(self._events) + 1:
            raise ValueError(f"event {event.number} after {len(self._events)}")
        self._events.append(event)
        if self._waiters:
            self._wake()

    def last(self, kind: str, *, within: int) -> Event | None:
        """Return the newest event of a kind among the last `within`, or None."""
        newest = self._events[-within:]
        return next((event for event in reversed(newest) if event.kind == kind), None)

    def unsaved(self) -> list[Event]:
        """Return the events not marked saved, in order."""
        return self._events[self._saved :]

    @property
    def saved(self) -> int:
        """Number of the last event that is marked saved."""
        return self._saved

    @property
    def unsaved_count(self) -> int:
        """How many events are not marked saved."""
        return len(self._events) - self._saved

    def mark_saved(self, number: int) -> None:
        """Note that every event up to `number` is in the store."""
        self._saved = max(self._saved, number)

    def reopen(self) -> None:
        """Expect more events after all."""
        self._closed = False

    def close(self) -> None:
        """Let every reader end after the last event."""
        self._closed = True
        if self._waiters:
            self._wake()

    async def read(self, after: int = 0) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, then each new one, until the log is closed."""
        position = after
        while True:
            while position < len(self._events):
                event = self._events[position]
                position += 1
                yield event
            if self._closed:
                return
            await self._changed()

    async def _changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
