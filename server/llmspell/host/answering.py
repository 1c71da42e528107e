"""Answers of persons to what runs ask: which question, whether it fits, and that it is kept.

Where a question comes from and how its answer reaches the spell is `runs.asking`'s
part; who may answer, the edges'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from llmspell.clock import Clock
from llmspell.components.schema import Schema
from llmspell.errors import AskInvalid, RunNotWaiting
from llmspell.host.handles import LiveHandle, Runs
from llmspell.host.waking import Waking
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Question, Run
from llmspell.runs.services import Services
from llmspell.values import JSON, Object


class Answering:
    """Takes the answers to the questions of runs.

    Args:
        runs: Where runs live.
        waking: Takes a parked run up again once it is answered.
    """

    def __init__(self, runs: Runs, waking: Waking, services: Services) -> None:
        self._runs = runs
        self._waking = waking
        self._services = services
        self._clock: Clock = services.clock

    async def answer(
        self,
        handle: LiveHandle,
        value: JSON,
        *,
        question: str | None,
        action: Literal["accept", "decline", "cancel"],
    ) -> Run:
        """Answer a question of a run; see `RunHandle.answer`."""
        run = handle.live.run
        found = _question(run, question)
        if action == "cancel":
            return run
        if self._clock.time() >= found.expires_at:
            raise RunNotWaiting(f"run {run.id} waits no more: the question has expired")
        answer: Object = {"action": action, "by": run.principal}
        if action == "accept":
            answer["value"] = _fitting(found, value)
        chain, root = await self._chain(run.tenant, found.run_id)
        target = chain[0]
        if found.key in target.run.answers or target.run.is_final:
            raise RunNotWaiting(f"run {run.id} was answered already", run_id=run.id)
        target.answer(found.key, answer)
        for live in chain:
            live.settled(found, action, run.principal)
        await self._go_on(chain, root, "answer")
        return run

    async def withdraw(self, run: Run, questions: Sequence[Question]) -> None:
        """Take back what a run asked that was stopped, and let those above it go on."""
        assert run.parent is not None  # else nobody is above it
        chain, root = await self._chain(run.tenant, run.parent)
        for question in questions:
            for live in chain:
                live.settled(question, "withdraw")
        await self._go_on(chain, root, "stopped")

    async def _go_on(self, chain: Sequence[LiveRun], root: LiveHandle, reason: str) -> None:
        if not root.is_at_work:
            # Saved too: the next owner must not let the run sleep until its question expires.
            root.live.run.parked, root.live.run.wake_at = False, None
        try:
            await chain[0].save_with(chain[1:])
        finally:  # also when whoever did this has gone: nothing else would wake the run
            self._waking.wake(root.id, reason)

    async def _chain(self, tenant: str, run_id: str) -> tuple[list[LiveRun], LiveHandle]:
        """Return a run and all above it, and the handle of the last, the root.

        One that is being parked is parked by then; those of the store are opened.
        """
        while True:
            chain: list[LiveRun] = []
            following: str | None = run_id
            while following is not None:
                live = self._services.live.get(following)
                if live is None:
                    run = await self._services.archive.load(tenant, following)
                    live = await self._runs.opened(run)
                chain.append(live)
                following = live.run.parent
            root = self._runs.get(chain[-1].run.id) or self._runs.hold(chain[-1])
            if root.task is None or root.casting is None or root.casting.leaving is None:
                return chain, root
            # It would be written as parked after its answer was.
            await asyncio.wait([root.task])


def _question(run: Run, wanted: str | None) -> Question:
    if not run.questions:
        raise RunNotWaiting(f"run {run.id} waits for no answer", run_id=run.id)
    if wanted is None:
        if len(run.questions) > 1:
            names = ", ".join(f"{item.id} ({item.message})" for item in run.questions)
            raise AskInvalid(
                f"run {run.id} asks several questions",
                hint=f"name one of them: {names}",
                run_id=run.id,
            )
        return run.questions[0]
    for item in run.questions:
        if item.id == wanted:
            return item
    raise RunNotWaiting(f"run {run.id} does not ask {wanted!r}", run_id=run.id)


def _fitting(question: Question, value: JSON) -> JSON:
    """Return an answer as its schema means it.

    Raises:
        AskInvalid: It does not fit.
    """
    fields: Object = question.schema.get("properties") or {}
    if len(fields) == 1 and not isinstance(value, dict):
        value = {next(iter(fields)): value}
    schema = Schema(question.schema)
    value = schema.with_defaults(value)
    problems = schema.problems(value)
    if problems:
        raise AskInvalid(
            "the answer does not fit: " + "; ".join(map(str, problems)),
            data={"errors": [problem.to_value() for problem in problems], "question": question.id},
        )
    return value
