"""Casting as an effect: children of a run, and what is recorded of them.

A published spell has a journal of its own, so only its end is recorded. What the run's
own file declares works in the run's script: it is performed again, its effects are recalled.
How a child is performed is the casting's part, see `casting`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias

import msgspec

from llmspell.effects.effect import Cast
from llmspell.effects.messages import Usage
from llmspell.errors import LimitWallClock, LlmspellError, SpellNotFound, StateError
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable
from llmspell.runs.journal_records import Record, Spent
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Outcome, Run, child_id, outcome_of
from llmspell.runs.services import Services
from llmspell.runs.targets import Targets, is_published, target_name
from llmspell.runs.work import Work
from llmspell.values import JSON, Object


class Child(NamedTuple):
    """What came of a child."""

    outcome: Outcome
    acted: bool
    """Whether it did what a repetition would do again."""
    children: int = 0
    tool_calls: int = 0
    """What was begun below it."""

    @classmethod
    def of(cls, run: Run, *, acted: bool) -> Child:
        """Return a child by its record."""
        return cls(outcome_of(run), acted, run.children, run.tool_calls)

    @property
    def spent(self) -> Spent:
        """What was spent on it and below."""
        return Spent(self.outcome.usage, self.children, self.tool_calls)


class ChildResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is recorded of a child that completed."""

    output: JSON = None
    content: list[Object] | None = None
    usage: Usage = Usage()


BeginChild: TypeAlias = Callable[[Castable, JSON, str, str], Coroutine[Any, Any, Child]]
"""Casts something as a child: what, its input, its label, its key."""


def new_child(
    services: Services, parent: Run, run_id: str, castable: Castable, input: JSON
) -> LiveRun:
    """Return a new run that another begins, with the same caller."""
    now = services.clock.time()
    run = Run(
        id=run_id,
        tenant=parent.tenant,
        principal=parent.principal,
        session=parent.session,
        spell=castable.name,
        spell_version=castable.version,
        parent=parent.id,
        door="spell",
        input=input,
        created_at=now,
        updated_at=now,
        seconds=castable.spec.budget.seconds,
    )
    return services.new_live(run, castable)


def was_cut_short(run: Run) -> bool:
    """Return whether a run ended by something from outside, so that performed again it would not.

    What shares its parent's journal is performed again with it, unless this is so.
    """
    return run.state == "canceled" or (
        run.error is not None and run.error.get("code") == LimitWallClock.code
    )


async def relay_models(child: LiveRun, parent: LiveRun, *, after: int) -> None:
    """Show a child's model calls and their text in its parent's log, until the child ends.

    Args:
        after: Number of the child's last event that the parent has seen.
    """
    async for event in child.log.read(after):
        if event.kind in ("model.delta", "model.started", "model.ended"):
            data = {key: value for key, value in event.data.items() if key != "answer"}
            parent.note(event.kind, data)


def charge_again(budget: Budget, record: Record) -> None:
    """Charge what was spent on an effect that a run, performed again, does not recall.

    It may lie in a step whose result is known, or in a branch that was canceled.
    """
    if record.usage is not None:
        children = record.children + (record.kind == "cast")
        budget.recharge(record.usage, children=children, tool_calls=record.tool_calls)


class Children:
    """Casts what one run asks to be cast."""

    def __init__(self, work: Work, targets: Targets, begin: BeginChild) -> None:
        self._work = work
        self._targets = targets
        self._begin = begin

    async def perform(self, effect: Cast, key: str) -> JSON:
        """Cast something and return its output, or `{content}`.

        Raises:
            LlmspellError: As `cast`.
        """
        label = effect.label or target_name(effect.target)
        result = await self.cast(
            effect.target, effect.input, label, key, tool_call=effect.tool_call
        )
        if result.content is not None:
            return {"content": result.content}
        return result.output

    async def cast(
        self, target: str | Object, input: JSON, label: str, key: str, *, tool_call: bool = False
    ) -> ChildResult:
        """Cast something and return what came of it.

        Raises:
            LlmspellError: It failed, may not be cast, or a limit of casts was hit.
        """
        if not is_published(target):
            return await self._cast_own(target, input, label, key, tool_call)
        name = target_name(target)
        known = self._work.journal.peek(key)
        if known is not None and not known.record.ok and known.record.usage is not None:
            self._recharge(known.record.usage, known.record, tool_call)
        row = await self._work.recall(key, "cast", name)
        if row is not None:
            result = msgspec.convert(row.record.value, ChildResult)
            self._recharge(result.usage, row.record, tool_call)
            return result
        await self._work.act()
        await self._work.journal.flush()
        child: Child | None = None
        try:
            castable = await self._published(target, key)
            self._work.budget.enter(castable.name, tool_call=tool_call)
            child = await self._begin(castable, input, label, key)
            result = _result_of(child.outcome)
        except LlmspellError as error:
            await self._note_end(key, name, error.to_value(), child, ok=False)
            raise
        await self._note_end(key, name, msgspec.to_builtins(result), child, ok=True)
        return result

    async def _cast_own(
        self, target: str | Object, input: JSON, label: str, key: str, tool_call: bool
    ) -> ChildResult:
        """Cast what the run's own file declares: nothing is recorded but that it could not be."""
        work, end = self._work, key + "!"
        await work.begin(key, target_name(target))
        castable = self._targets.find(target)
        work.budget.enter(castable.name, tool_call=tool_call)
        try:
            child = await self._begin(castable, input, label, key)
        except StateError as error:
            work.journal.note_unrecorded(end, error)
            raise
        work.raise_unrecorded(end, castable.name)
        return _result_of(child.outcome)

    async def _published(self, target: str | Object, key: str) -> Castable:
        try:
            return self._targets.find(target)
        except SpellNotFound:
            # A child that was begun while it was published goes on with what it began with.
            run = self._work.live.run
            begun = await self._work.services.reopen(
                run.tenant, child_id(self._work.journal.run_id, key)
            )
            if begun is None:
                raise
            return await self._work.services.castable_of(begun.run)

    async def _note_end(
        self, key: str, name: str, value: JSON, child: Child | None, *, ok: bool
    ) -> None:
        journal = self._work.journal
        spent = child.spent if child is not None else None
        if child is not None and child.acted:
            await journal.record(key, "cast", name, value, ok=ok, spent=spent)
            return
        # What did nothing can be done again: its end is written with what comes next.
        journal.note(key, "cast", name, value, ok=ok, spent=spent)
        if journal.is_heavy:
            await journal.flush()

    def _recharge(self, usage: Usage, record: Record, tool_call: bool) -> None:
        self._work.budget.recharge(
            usage, children=1 + record.children, tool_calls=tool_call + record.tool_calls
        )


def _result_of(outcome: Outcome) -> ChildResult:
    if outcome.error is not None:
        raise _of_child(outcome.error)
    return ChildResult(output=outcome.output, content=outcome.content, usage=outcome.usage)


def _of_child(value: Object) -> LlmspellError:
    """Return the error of a child as its parent meets it.

    Without the child's run id, which the log has: an error names the run it ended,
    and that is now the parent, unless it catches the error.
    """
    error = LlmspellError.from_value(value)
    error.run_id = None
    return error
