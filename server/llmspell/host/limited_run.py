"""A run as a caller has it who may see it, but not act on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from llmspell.errors import AccessForbidden
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import Event, Outcome, Run
from llmspell.security.principals import Caller
from llmspell.security.scopes import cast_forbidden, may_cast
from llmspell.values import JSON


async def limited(handle: RunHandle, caller: Caller) -> RunHandle:
    """Return a run with what its caller's scopes allow: all of it to who may cast its spell."""
    if caller.scopes is None or may_cast(caller, (await handle.record()).spell):
        return handle
    return LimitedRun(handle, caller)


class LimitedRun:
    """See `interface.RunHandle`; what changes the run is refused with `AccessForbidden`."""

    def __init__(self, handle: RunHandle, caller: Caller) -> None:
        self.id = handle.id
        self._handle = handle
        self._caller = caller

    async def record(self) -> Run:
        """Return the record as it stands now."""
        return await self._handle.record()

    def events(self, after: int = 0, *, until_pause: bool = False) -> AsyncIterator[Event]:
        """Yield every event numbered above `after`, live, until the run has ended."""
        return self._handle.events(after, until_pause=until_pause)

    async def result(self) -> Outcome:
        """Wait until the run has ended or waits for an answer, and return what came of it."""
        return await self._handle.result()

    async def cancel(self) -> Run:
        """Refuse.

        Raises:
            AccessForbidden: Always.
        """
        raise await self._forbidden()

    async def answer(
        self,
        value: JSON,
        *,
        question: str | None = None,
        action: Literal["accept", "decline", "cancel"] = "accept",
    ) -> Run:
        """Refuse.

        Raises:
            AccessForbidden: Always.
        """
        raise await self._forbidden()

    async def _forbidden(self) -> AccessForbidden:
        return cast_forbidden(self._caller, (await self._handle.record()).spell)
