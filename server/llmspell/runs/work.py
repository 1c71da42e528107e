"""What the performing of one run has at hand: the run, its journal, what it may use.

`recall` and `act` are the two questions every effect asks: was this done
before, and does the store know the run that is about to act.
"""

from __future__ import annotations

from typing import cast

from llmspell.errors import LlmspellError, StateError
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable
from llmspell.runs.journal import Journal
from llmspell.runs.journal_records import UNRECORDED, Row
from llmspell.runs.live import LiveRun
from llmspell.runs.parking import Tree
from llmspell.runs.services import Services
from llmspell.security.principals import Caller
from llmspell.values import Object

LOOK_SECONDS = 30.0
"""Longest time that is waited before the wall clock is looked at again: it may be set."""


class Work:
    """One run at work.

    Args:
        castable: What the run casts; its `granted` names bound what it may reach.
        journal: Of the run, or of the one whose script it shares.
        tree: What the whole cast tree waits for.
        path: What the keys of this run's own effects begin with.
    """

    def __init__(
        self,
        services: Services,
        live: LiveRun,
        castable: Castable,
        caller: Caller,
        budget: Budget,
        *,
        journal: Journal,
        tree: Tree,
        path: str,
    ) -> None:
        self.services = services
        self.live = live
        self.castable = castable
        self.caller = caller
        self.budget = budget
        self.journal = journal
        self.tree = tree
        self.path = path
        self.acted = False
        """Whether anything was done that a repetition would do again."""

    async def act(self) -> None:
        """Note that the run acts: from here on a crash must leave its trace.

        Raises:
            StateError: The run could not be recorded.
        """
        self.acted = True
        if not self.live.is_saved or self.live.failure is not None:
            await self.live.save()

    async def begin(self, key: str, name: str) -> None:
        """As `act`, for what has no record at its key but that it could not be begun.

        Raises:
            StateError: The run could not be recorded, now or when it was performed before.
        """
        self.raise_unrecorded(key, name)
        try:
            await self.act()
        except StateError as error:
            self.journal.note_unrecorded(key, error)
            raise

    def raise_unrecorded(self, key: str, name: str) -> None:
        """Raise what was noted at a key that has no other record, if anything was."""
        row = self.journal.take(key, UNRECORDED, name)
        if row is not None:
            raise LlmspellError.from_value(cast(Object, row.record.value))

    async def recall(self, key: str, kind: str, name: str) -> Row | None:
        """Return what was recorded of an effect; None when it is to be performed now.

        Raises:
            LlmspellError: What the effect raised then.
            RunDiverged: Something else was recorded there.
        """
        row = self.journal.take(key, kind, name)
        if row is None:
            await self.caught_up()
            return None
        self.acted = True
        if not row.record.ok:
            raise LlmspellError.from_value(cast(Object, row.record.value))
        return row

    async def written(self) -> None:
        """Write what is noted when that is much: it is all written in one go.

        Raises:
            StateError: It could not be written.
        """
        if self.journal.is_heavy:
            await self.act()
            await self.journal.flush()

    async def caught_up(self) -> None:
        """Return once all that was recorded has been recalled."""
        if self.journal.is_replaying:
            with self.tree.busy():
                await self.journal.caught_up()
