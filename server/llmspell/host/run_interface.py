"""What a door knows of runs: their handles, their pages, their steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from llmspell.runs.record import Event, Outcome, Run
from llmspell.values import JSON


class RunHandle(Protocol):
    """A run, under way or ended."""

    id: str

    async def record(self) -> Run:
        """Return the record as it stands now."""
        ...

    def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended.

        With `until_pause` the iteration also ends when the run waits for an answer.
        """
        ...

    async def result(self) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it.

        Cancelling the waiter detaches it; it does not cancel the run.
        """
        ...

    async def cancel(self) -> Run:
        """Stop the run and everything it began, and return its record. Idempotent.

        Raises:
            RunNotCancelable: It has already completed, failed or been rejected.
        """
        ...

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        """Answer a question the run asks, and return its record; the answer is durable by then.

        Args:
            value: An object that fits the question's schema; for a schema with one field,
                that field's value will do.
            question: Id of the question; may be left out while there is one.
            action: `decline` refuses to answer, `cancel` leaves the question open.
        Raises:
            RunNotWaiting: The run asks nothing, or not this.
            AskInvalid: The value does not fit, or several questions are open; nothing changed.
        """
        ...


class WaitedHandle(RunHandle, Protocol):
    """A run whose caller waits for it; see `DoorHost.begin`. Ends with `leave` or `keep`."""

    async def keep(self) -> None:
        """Let the run go on without this caller: its record is durable when this returns, and
        only `cancel` stops it."""
        ...

    async def leave(self) -> None:
        """Stop waiting. The run stops when nobody else has it and its spell is not detached.

        Does nothing after `keep` or a first `leave`.
        """
        ...

    async def let_go(self) -> None:
        """Stop waiting and leave the run as it is: the caller's connection broke, and may be
        back. Does nothing after `keep` or `leave`."""
        ...

    async def last(self, kind: str) -> Event | None:
        """Return the newest event of a kind, or None; looks at the last 1,000 only."""
        ...

    async def settled(self, *, until: float | None = None) -> Outcome:
        """As `result`, but of several questions asked at once none is missing.

        Args:
            until: Time of the event loop at which nobody waits any more.

        Raises:
            TimeoutError: It is `until`.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of a list of runs."""

    runs: Sequence[Run]
    next: str | None
    """Cursor of the next page, or None."""
    total: int
    """How many runs there are on all pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One recorded effect of a run."""

    number: int
    """Growing in the order they were recorded, with gaps; `fork` takes it."""
    key: str
    kind: str
    name: str
    at: float
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What `prune` deleted, or would delete."""

    runs: int
    bytes: int
