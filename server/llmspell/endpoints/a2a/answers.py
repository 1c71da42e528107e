"""A message to a task that asks a person: what of it is the answer.

A data part is the answer. A text answers a question with one field: yes or no, a
number, or the text itself, as that field's schema says.
"""

from __future__ import annotations

from typing import Any, cast

from llmspell.endpoints.a2a.errors import invalid_params
from llmspell.runs.record import Question
from llmspell.values import JSON, Object, dumps, loads

QUESTION_KEY = "llmspell/question"
"""Metadata of a message: the id of the question it answers, where several are open."""

_YES = frozenset({"yes", "y", "true", "ok"})
_NO = frozenset({"no", "n", "false"})


def answer_of(questions: list[Question], message: Object) -> tuple[str, JSON]:
    """Return the id of the question a message answers, and the answer.

    Raises:
        A2AError: It names no open question, or says nothing that could be an answer.
    """
    wanted = cast("Object", message.get("metadata") or {}).get(QUESTION_KEY)
    question = next((each for each in questions if wanted in (None, each.id)), None)
    if question is None:
        open_ones = ", ".join(each.id for each in questions)
        raise invalid_params(
            f"message.metadata[{QUESTION_KEY!r}]", f"no such question; open are: {open_ones}"
        )
    parts = cast("list[Object]", message.get("parts", []))
    data = [part["data"] for part in parts if "data" in part]
    if len(data) > 1:
        raise invalid_params("message.parts", "at most one of them is a data part")
    if data:
        return question.id, data[0]
    text = "\n".join(str(part["text"]) for part in parts if "text" in part)
    return question.id, _read(question, text)


def _read(question: Question, text: str) -> JSON:
    fields = cast("Object", question.schema.get("properties") or {})
    if len(fields) != 1:
        raise invalid_params(
            "message.parts", f"the answer is a data part that fits: {dumps(question.schema)}"
        )
    field: Any = next(iter(fields.values()))
    kind = cast("Object", field).get("type") if isinstance(field, dict) else None
    if kind == "boolean":
        word = text.strip().lower()
        return True if word in _YES else False if word in _NO else text
    if kind in ("integer", "number"):
        try:
            return loads(text)
        except ValueError:
            return text  # the schema says what is wrong with it
    return text
