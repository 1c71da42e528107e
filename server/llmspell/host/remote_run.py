"""A run of the owner's, seen through the control socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from llmspell.host.remote_wire import Wire
from llmspell.runs.record import Event, Outcome, Run
from llmspell.values import JSON


class RemoteRun:
    """A run of the owner's. See `RunHandle`."""

    def __init__(self, wire: Wire, run_id: str) -> None:
        self.id = run_id
        self._wire = wire

    async def record(self) -> Run:
        """Return the record as it stands now."""
        return await self._wire.ask("run.record", {"run": self.id}, Run)

    def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended."""
        return self._wire.stream(self.id, after, until_pause)

    async def result(self) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it."""
        return await self._wire.ask("run.result", {"run": self.id}, Outcome)

    async def cancel(self) -> Run:
        """Stop the run and everything it began, and return its record."""
        return await self._wire.ask("run.cancel", {"run": self.id}, Run)

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        """Answer a question the run asks, and return its record. See `RunHandle.answer`."""
        params = {"run": self.id, "value": value, "question": question, "action": action}
        return await self._wire.ask("run.answer", params, Run)
