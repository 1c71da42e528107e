"""A run as one of its callers has it who waits for it: to be kept, or left, in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

from llmspell.host.handles import LiveHandle
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import Event, Outcome, Run
from llmspell.state.store import Durability
from llmspell.values import JSON

_LOOKED_AT = 1000

SETTLE_SECONDS = 0.02
"""How long no further question may come before those asked count as all."""


class Waiting:
    """See `run_interface.WaitedHandle`.

    Args:
        left: Told of a run when its last waiter has left it.
    """

    def __init__(
        self,
        handle: RunHandle,
        left: Callable[[LiveHandle], Awaitable[None]],
    ) -> None:
        self._handle = handle
        self._live = handle if isinstance(handle, LiveHandle) else None
        self._left = left
        self._is_waiting = self._live is not None
        self.id = handle.id
        if self._live is not None:
            self._live.waiters += 1

    async def record(self) -> Run:
        """Return the record as it stands now."""
        return await self._handle.record()

    def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended."""
        return self._handle.events(after, until_pause=until_pause)

    async def result(self) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it."""
        return await self._handle.result()

    async def outcome(self) -> Outcome:
        """As `result`, for a caller that does nothing else: it stops waiting, however this ends.

        When it is cancelled and nobody else has the run, the run stops.
        """
        try:
            return await self.result()
        except asyncio.CancelledError:
            await asyncio.shield(self.leave())
            raise
        finally:
            self._no_more()

    async def settled(self, *, until: float | None = None) -> Outcome:
        """As `result`, but of several questions asked at once none is missing."""
        live = self._live
        outcome = await (live.result(until=until) if live is not None else self._seen(until))
        while outcome.state == "input_required":
            await asyncio.sleep(SETTLE_SECONDS)
            latest = await (live.result(until=until) if live is not None else self._seen(until))
            if len(latest.questions) == len(outcome.questions):
                return latest
            outcome = latest
        return outcome

    async def _seen(self, until: float | None) -> Outcome:
        """As `result`, of a run that has ended or that this caller may only see."""
        async with asyncio.timeout_at(until):
            return await self._handle.result()

    async def cancel(self) -> Run:
        """Stop the run and everything it began, and return its record."""
        return await self._handle.cancel()

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        """Answer a question the run asks."""
        return await self._handle.answer(value, question=question, action=action)

    async def keep(self) -> None:
        """Let the run go on without this caller: its record is durable when this returns."""
        if self._live is not None:
            if not self._live.live.run.is_final:
                await self._live.live.save(Durability.DURABLE)
            self._live.is_given = True
            self._no_more()

    async def leave(self) -> None:
        """Stop waiting. The run stops when nobody else has it and its spell is not detached."""
        live = self._live
        if live is not None and self._is_waiting:
            self._is_waiting = False
            live.waiters -= 1
            if not live.waiters and not live.live.run.is_final:
                await self._left(live)

    async def let_go(self) -> None:
        """Stop waiting and leave the run as it is."""
        self._no_more()

    async def last(self, kind: str) -> Event | None:
        """Return the newest event of a kind, or None; looks at the last 1,000 only."""
        if self._live is not None:
            return self._live.live.log.last(kind, within=_LOOKED_AT)
        run = await self._handle.record()
        found: Event | None = None
        async for event in self._handle.events(max(0, run.generation - _LOOKED_AT)):
            if event.kind == kind:
                found = event
        return found

    def _no_more(self) -> None:
        if self._live is not None and self._is_waiting:
            self._is_waiting = False
            self._live.waiters -= 1
