"""Casts of parts of a file that make something to read, to fill in or to complete."""

from __future__ import annotations

from typing import Protocol

from llmspell.errors import LlmspellError, RunError
from llmspell.host.run_interface import RunHandle, RunPage, WaitedHandle
from llmspell.runs.castable import Castable
from llmspell.runs.record import Outcome
from llmspell.security.principals import Caller
from llmspell.values import JSON


class PartHost(Protocol):
    """What the library needs of its host."""

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller."""
        ...

    async def runs(self, *, caller: Caller, limit: int = 50) -> RunPage:
        """Return the caller's runs, the last updated first."""
        ...

    def begin_part(self, castable: Castable, input: JSON, caller: Caller) -> WaitedHandle:
        """Begin a cast of a part of a file for a caller that waits."""
        ...


def check_completed(outcome: Outcome) -> None:
    """Refuse what came of a run that did not complete.

    Raises:
        LlmspellError: What it failed with.
        RunError: It waits for an answer.
    """
    if outcome.ok:
        return
    if outcome.error is not None:
        raise LlmspellError.from_value(outcome.error).with_run(outcome.run_id)
    raise RunError(
        f"the run of {outcome.spell!r} is {outcome.state}: nobody could answer what it asks",
        run_id=outcome.run_id,
    )
