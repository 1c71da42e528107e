"""A run's questions in the words of MCP: as requests to the client, and its answers.

Three ways carry them: the input of a task, the rounds of a call (2026-07-28),
and requests to the client while the call is open (before). What an answer
means is the same on all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from llmspell.endpoints.mcp.exchange import Client
from llmspell.errors import AskInvalid, RunNotWaiting
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import Question
from llmspell.values import Object


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the answers a client sent."""

    settled: int = 0
    """Questions that have an answer now."""
    is_refused: bool = False
    """Whether the person was not asked, or closed the question: it stays open for other doors."""


def can_ask(client: Client, question: Question) -> bool:
    """Return whether the client said that it can put this question to its user.

    A server must not ask otherwise (elicitation, "Capabilities").
    """
    if question.request is not None:
        able = {
            "elicitation/create": client.elicits_forms,
            "sampling/createMessage": client.samples,
            "roots/list": client.lists_roots,
        }
        return able.get(str(question.request.get("method")), False)
    return client.elicits_urls if question.url else client.elicits_forms


def lacking_for(client: Client, questions: Sequence[Question]) -> Object:
    """Return the capabilities that a client lacks for requests that only a client can answer.

    A question to a person is none: it can be answered at another door.
    """
    return {
        str(question.request["method"]).partition("/")[0]: {}
        for question in questions
        if question.request is not None and not can_ask(client, question)
    }


def by_name(questions: Sequence[Question]) -> dict[str, str]:
    """Return the ids of questions by the keys a client sees: names where their author gave one."""
    keys: dict[str, str] = {}
    for question in questions:
        is_named = question.name and question.name not in keys
        keys[question.name if is_named else question.id] = question.id
    return keys


def request_of(question: Question, *, is_modern: bool) -> Object:
    """Return a question as a request `{method, params}` to the client."""
    if question.request is not None:
        given: Object | None = question.request.get("params")
        request: Object = {"method": question.request["method"]}
        if given is not None or request["method"] != "roots/list":
            request["params"] = given or {}
        return request
    if question.url:
        params: Object = {"mode": "url", "message": question.message, "url": question.url}
        if not is_modern:  # taken out in 2026-07-28
            params["elicitationId"] = question.id
    else:
        schema = {
            key: value for key, value in question.schema.items() if key != "additionalProperties"
        }
        params = {"mode": "form", "message": question.message, "requestedSchema": schema}
    return {"method": "elicitation/create", "params": params}


async def take_answers(handle: RunHandle, responses: Mapping[str, Any]) -> Taken:
    """Answer the questions a client sent responses to, by id; what fits none is left aside.

    An answer that does not fit its question leaves it open, to be asked again.
    """
    settled = 0
    is_refused = False
    for question in (await handle.record()).questions:
        if question.id not in responses:
            continue
        action, value = _read(question, responses[question.id])
        if action == "cancel":
            # Clients send it too when nobody was asked, so it answers nothing.
            is_refused = True
            continue
        try:
            await handle.answer(value, question=question.id, action=action)
        except (AskInvalid, RunNotWaiting):
            continue  # asked again if it is open still; answered at another door otherwise
        settled += 1
    return Taken(settled, is_refused)


def _read(question: Question, response: Any) -> tuple[Literal["accept", "decline", "cancel"], Any]:
    if question.request is not None:
        return "accept", response
    if not isinstance(response, dict):
        return "cancel", None
    answer = cast(Object, response)
    action = answer.get("action")
    if action == "accept":
        return "accept", answer.get("content") or {}
    return ("decline" if action == "decline" else "cancel"), None
