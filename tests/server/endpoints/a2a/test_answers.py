"""Questions to a person over A2A: a task that asks, and the message that answers it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from a2a.utils.errors import A2AError

from llmspell.endpoints.a2a.answers import answer_of
from llmspell.endpoints.a2a.dispatch import Dispatcher, RequestFailed
from llmspell.endpoints.a2a.handler import TaskHandler
from llmspell.runs.record import Question
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host

V1 = {"a2a-version": "1.0"}
ME = local_caller("a2a")

ASKS = """
return Spell.create {
  input = {},
  run = function(_, ctx)
    local answer = ctx:ask {
      message = "How many?",
      schema = { n = Schema.integer("Number", { min = 1 }) },
    }
    return "so " .. answer.n
  end,
}
"""


def question(schema: Any, id: str = "q") -> Question:
    return Question(
        id=id, run_id="r", key=":1", message="?", schema=schema, asked_at=0, expires_at=1
    )


def one(kind: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": {"type": kind}}, "required": ["x"]}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("boolean", "Yes", True),
        ("boolean", " no ", False),
        ("boolean", "maybe", "maybe"),
        ("integer", "3", 3),
        ("number", "2.5", 2.5),
        ("number", "many", "many"),
        ("string", "3", "3"),
    ],
)
def test_a_text_is_read_as_the_only_field_says(kind: str, text: str, value: Any) -> None:
    assert answer_of([question(one(kind))], {"parts": [{"text": text}]}) == ("q", value)


def test_a_data_part_is_the_answer() -> None:
    message = {"parts": [{"text": "here"}, {"data": {"x": 1}}]}
    assert answer_of([question(one("integer"))], message) == ("q", {"x": 1})


def test_a_message_names_the_question_it_answers_where_there_are_several() -> None:
    questions = [question(one("string"), "a"), question(one("string"), "b")]
    named = {"parts": [{"text": "x"}], "metadata": {"llmspell/question": "b"}}
    assert answer_of(questions, named) == ("b", "x")
    named["metadata"] = {"llmspell/question": "c"}
    with pytest.raises(A2AError, match="open are: a, b"):
        answer_of(questions, named)


def test_a_text_cannot_fill_several_fields() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    with pytest.raises(A2AError, match="a data part that fits"):
        answer_of([question(schema)], {"parts": [{"text": "x"}]})


def message(text: str, task: str = "") -> dict[str, Any]:
    body: dict[str, Any] = {"messageId": text, "role": "ROLE_USER", "parts": [{"text": text}]}
    if task:
        body["taskId"] = task
    return {"message": body}


async def test_a_task_that_asks_goes_on_with_the_answer_of_the_next_message(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, {"asks": ASKS}) as host, asyncio.timeout(20):
        dispatcher = Dispatcher(TaskHandler(host))
        asked: Any = await dispatcher.call("SendMessage", message("begin"), V1, ME)
        task = asked["task"]
        assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        assert task["status"]["message"]["parts"] == [{"text": "How many?"}]
        with pytest.raises(RequestFailed) as refused:
            await dispatcher.call("SendMessage", message("0", task["id"]), V1, ME)
        assert refused.value.error.code == -32602
        done: Any = await dispatcher.call("SendMessage", message("3", task["id"]), V1, ME)
        assert done["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        assert done["task"]["artifacts"][0]["parts"] == [{"text": "so 3"}]
