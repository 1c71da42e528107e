"""Asking a person: the question is recorded and shown, its answer is waited for.

Which door shows it, and which brings the answer, is the edges' part: they read
the run's questions and call `RunHandle.answer`. A question is bound to what was
shown by a hash, and expires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec

from llmspell.effects.effect import Ask
from llmspell.errors import AskDeclined, AskExpired, LlmspellError, SpellRaised
from llmspell.runs.record import Question, Run
from llmspell.runs.work import Work
from llmspell.values import JSON, Object, canonical

YES_OR_NO: Object = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
"""The schema of a question that brings none."""

_ANY_OBJECT: Object = {"type": "object"}
"""The schema of what comes back from a page, or from the caller's own client."""


class Asking:
    """Performs the questions of one run.

    Args:
        show: Shows a question at this run and every run above, durable when it returns.
        settle: Takes it back from all of them: it has expired.
    """

    def __init__(
        self,
        work: Work,
        show: Callable[[Question], Coroutine[Any, Any, None]],
        settle: Callable[[Question, str], None],
    ) -> None:
        self._work = work
        self._show = show
        self._settle = settle

    async def perform(self, effect: Ask, key: str) -> JSON:
        """Ask, wait and return the answer.

        Raises:
            AskDeclined: The person declined.
            AskExpired: Nobody answered in time.
            SpellRaised: It is a request to the caller's client, and the caller has none.
        """
        is_form = not effect.url and effect.request is None
        schema = effect.schema or (YES_OR_NO if is_form else _ANY_OBJECT)
        shown: list[JSON] = [effect.message, schema]
        if effect.name or not is_form:
            shown += [effect.name, effect.url, effect.request]
        name = hashlib.sha256(canonical(shown)).hexdigest()[:16]
        row = await self._work.recall(key, "ask", name)
        if row is not None:
            return row.record.value
        if effect.request is not None:
            check_client(self._work.live.run)
        await self._work.act()
        clock = self._work.services.clock
        begun = self._work.journal.begun(key)
        if begun is None:
            seconds = effect.expires_seconds or self._work.services.ask_seconds
            now = clock.time()
            question = Question(
                id=hashlib.sha256(f"{self._work.live.run.id}{key}{name}".encode()).hexdigest()[:12],
                run_id=self._work.live.run.id,
                key=key,
                message=effect.message,
                schema=schema,
                asked_at=now,
                expires_at=round(now + seconds, 6),
                name=effect.name,
                url=effect.url,
                request=effect.request,
            )
            await self._work.journal.record(
                key, "ask", name, msgspec.to_builtins(question), begun=True
            )
        else:
            question = msgspec.convert(begun, Question)
        try:
            if key not in self._work.live.run.answers:
                await self._show(question)
            answer = await self._answer_of(question)
            ok, value = _read_answer(question, answer)
            await self._work.journal.record(key, "ask", name, value, ok=ok)
        except BaseException:  # whatever it is: nobody waits for the answer any more
            self._settle(question, "withdraw")
            raise
        if not ok:
            if answer is None:
                self._settle(question, "expire")
            raise LlmspellError.from_value(cast(Object, value))
        return value

    async def _answer_of(self, question: Question) -> Object | None:
        """Wait for an answer; None when it did not come in time."""
        clock = self._work.services.clock
        with self._work.tree.waits(question.expires_at):
            try:
                async with clock.timeout_at(question.expires_at):
                    return await self._work.live.answered(question.key)
            except TimeoutError:
                return self._work.live.run.answers.get(question.key)


def check_client(run: Run) -> None:
    """Check that a run has a client of its own, which is sent what only MCP has.

    Raises:
        SpellRaised: It was cast through another door, or by another spell.
    """
    if run.door != "mcp":
        raise SpellRaised(
            f"ctx:client: the run has no MCP client: it came from {run.door!r}",
            hint="only what an MCP client casts itself can reach it; ask a person with ctx:ask",
        )


def _read_answer(question: Question, answer: Object | None) -> tuple[bool, JSON]:
    if answer is None:
        return False, AskExpired(
            f"nobody answered {question.message!r} in time", data={"question": question.id}
        ).to_value()
    if answer.get("action") != "accept":
        return False, AskDeclined(
            f"{question.message!r} was declined", data={"question": question.id}
        ).to_value()
    return True, answer.get("value")
