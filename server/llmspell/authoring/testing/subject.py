"""A test as a cast: its effects are performed as a spell's are, with the test's own before them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from llmspell.clock import Clock
from llmspell.effects.effect import Effect
from llmspell.runs.archive import Archive
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable
from llmspell.runs.casting import Casting
from llmspell.runs.children import Child
from llmspell.runs.live import LiveRun
from llmspell.runs.performing import Performer
from llmspell.runs.record import Outcome, Question, Run
from llmspell.runs.services import Services
from llmspell.runs.work import Work
from llmspell.security.principals import Caller
from llmspell.spec.declaration import Budget as BudgetSpec
from llmspell.values import JSON, FunctionRef

Own: TypeAlias = Callable[[Effect, str], Awaitable[Any] | None]
"""Performs an effect that only a test may ask for; None for any other."""

CastPublished: TypeAlias = Callable[[Castable, JSON, Caller], Awaitable[Outcome]]
"""Casts something by its name, as this caller."""


class TrialRun(LiveRun):
    """The run of a test, which nobody but the test itself answers.

    Args:
        asked: Told of each question that the test, or a spell it declares, asks.
    """

    def __init__(
        self, run: Run, archive: Archive, clock: Clock, asked: Callable[[Question], None]
    ) -> None:
        super().__init__(run, archive, clock)
        self._asked = asked

    def asks(self, question: Question) -> None:
        """Show a question, and have it answered."""
        super().asks(question)
        self._asked(question)


class TrialCasting(Casting):
    """The cast that a test is."""

    def __init__(
        self,
        services: Services,
        live: LiveRun,
        castable: Castable,
        caller: Caller,
        *,
        own: Own,
        cast_published: CastPublished,
    ) -> None:
        super().__init__(
            services, live, castable, {}, caller, journal=services.journal(live.run.id)
        )
        self._cast_published = cast_published
        self._paths = 0
        self._performer = _TrialPerformer(
            self._work,
            own,
            session=self._script.session,
            begin_child=self._begin_as(caller),
            show=self._show,
            settle=self._settle,
        )

    def performer(self, castable: Castable, caller: Caller) -> Performer:
        """Return what performs effects as those of another castable or caller."""
        limits = self._services.limits
        work = Work(
            self._services,
            self.live,
            castable,
            caller,
            Budget(BudgetSpec(), calls=limits.model_calls, depth=limits.depth),
            journal=self._journal,
            tree=self._tree,
            path="",
        )
        return Performer(
            work,
            session=self._script.session,
            begin_child=self._begin_as(caller),
            show=self._show,
            settle=self._settle,
        )

    async def call(self, function: FunctionRef, input: JSON) -> JSON:
        """Call a function of the test and return its result."""
        self._paths += 1
        session = await self._script.session()
        return await session.call(
            function,
            (input,),
            with_context=False,
            path=f"mock{self._paths}",
            perform=self._performer.perform,
        )

    def _begin_as(self, caller: Caller) -> Any:
        async def begin(castable: Castable, input: JSON, label: str, key: str) -> Child:
            if castable.program is None:  # the test declares it itself
                return await self._cast_child(castable, input, label, key)
            return Child(await self._cast_published(castable, input, caller), acted=True)

        return begin


class _TrialPerformer(Performer):
    def __init__(self, work: Work, own: Own, **parts: Any) -> None:
        super().__init__(work, **parts)
        self._own = own

    async def perform(self, effect: Effect, key: str) -> Any:
        own = self._own(effect, key)
        if own is not None:
            return await own
        return await super().perform(effect, key)
