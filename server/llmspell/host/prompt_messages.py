"""The messages of prompts: of a text, of a call of the spell, of what a function returned."""

from __future__ import annotations

from typing import Any, cast

from llmspell.errors import OutputInvalid
from llmspell.host.library_interface import PromptMessage
from llmspell.host.shelf import PromptEntry
from llmspell.runs.record import Outcome
from llmspell.values import JSON, Object, dumps

MAX_MESSAGES = 200
"""Most messages of one prompt."""


def text_message(text: str) -> PromptMessage:
    """Return a text as a message of the user."""
    return PromptMessage(role="user", part={"type": "text", "text": text})


def call_message(entry: PromptEntry, input: JSON) -> PromptMessage:
    """Return the message that asks for a call of a prompt's spell with this input."""
    about = entry.published.description
    lines = [f"Use the tool {entry.published.name!r}" + (f": {about}" if about else ".")]
    if input:
        lines.append(f"Its input:\n{dumps(input)}")
    return text_message("\n\n".join(lines))


def messages_of(outcome: Outcome) -> list[PromptMessage]:
    """Return the messages that a completed run returned.

    Raises:
        OutputInvalid: What it returned is no list of messages.
    """
    if outcome.content is not None:
        return [PromptMessage(role="user", part=part) for part in outcome.content]
    output = outcome.output
    items: list[Any] = cast("list[Any]", output) if isinstance(output, list) else [output]
    if not items or len(items) > MAX_MESSAGES:
        raise _no_messages(outcome, f"a prompt has 1 to {MAX_MESSAGES} messages")
    return [message for item in items for message in _messages(item, outcome)]


def _messages(item: Any, outcome: Outcome) -> list[PromptMessage]:
    if isinstance(item, str):
        return [text_message(item)]
    if not isinstance(item, dict):
        raise _no_messages(outcome, "a message is a text or a table")
    table = cast(Object, item)
    role = table.get("role", "user")
    body: Any = table.get("content", table.get("text"))
    if role not in ("user", "assistant") or not set(table) <= {"role", "content", "text"}:
        raise _no_messages(outcome, "a message is { role = 'user' or 'assistant', text | content }")
    if isinstance(body, str):
        return [PromptMessage(role=role, part={"type": "text", "text": body})]
    parts: Any = cast(Object, body).get("$content") if isinstance(body, dict) else None
    if not isinstance(parts, list) or not parts:
        raise _no_messages(outcome, "the content of a message is a text or made by Content.*")
    return [PromptMessage(role=role, part=part) for part in cast("list[Object]", parts)]


def _no_messages(outcome: Outcome, what: str) -> OutputInvalid:
    return OutputInvalid(f"{outcome.spell!r} returned no messages: {what}", run_id=outcome.run_id)
