"""What a test answers for people: to its n-th question, the n-th of its answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, cast

from llmspell.components.schema import Schema
from llmspell.errors import AskError, AskInvalid
from llmspell.runs.record import Question
from llmspell.values import JSON, Object

Action: TypeAlias = Literal["accept", "decline", "expire"]
AnswerFunction: TypeAlias = Callable[[JSON], Awaitable[JSON]]
"""Given a question as `{message, schema}`, returns an answer as it may stand in the list."""

DECLINE = "decline"
EXPIRE = "expire"
"""Texts that stand in place of an answer."""


class ScriptedAnswers:
    """The answers of one test, and the questions that were asked so far."""

    def __init__(self) -> None:
        self._answers: list[JSON] = []
        self._function: AnswerFunction | None = None
        self.questions: list[JSON] = []

    def script(self, answers: list[JSON]) -> None:
        """Answer with these, one after the other."""
        self._answers, self._function = list(answers), None

    def script_function(self, function: AnswerFunction) -> None:
        """Answer with what a function returns."""
        self._answers, self._function = [], function

    async def take(self, question: Question) -> tuple[Action, Object]:
        """Return what becomes of a question, and its answer.

        Raises:
            AskError: The test has no answer left.
            AskInvalid: The answer does not fit the question.
        """
        shown: Object = {"message": question.message, "schema": question.schema}
        self.questions.append(shown)
        if self._function is not None:
            answer = await self._function(shown)
        elif self._answers:
            answer = self._answers.pop(0)
        else:
            raise AskError(
                f"the test has no answer, and {question.message!r} was asked",
                hint="answer it: mock.ask { { ok = true } }",
            )
        if answer == DECLINE:
            return "decline", {}
        if answer == EXPIRE:
            return "expire", {}
        problems = Schema(question.schema).problems(answer)
        if problems:
            raise AskInvalid(
                f"the test answers {question.message!r} with what does not fit: {problems[0]}",
                data={"problems": [problem.to_value() for problem in problems]},
            )
        return "accept", cast("dict[str, Any]", answer)
