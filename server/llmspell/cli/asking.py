"""Asking the person at the terminal: a question of a run, field by field.

Everything is written to stderr, because stdout is for results. Waiting for a
line does not block the event loop, so Ctrl-C works as it does elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from llmspell.cli.inputs import read_field
from llmspell.cli.outputs import say
from llmspell.cli.tables import clean
from llmspell.errors import AskInvalid
from llmspell.values import JSON, Object, dumps

if TYPE_CHECKING:
    from llmspell.host.run_interface import RunHandle
    from llmspell.runs.record import Question, Run


class Unanswered(Exception):
    """The person ended the input instead of answering: the question stays open."""


def has_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def ask(handle: RunHandle, question: Question) -> Run:
    """Ask the person, again while the answer does not fit, and give it to the run.

    Returns:
        The record of the run after the answer.

    Raises:
        Unanswered: The person ended the input (Ctrl-D).
    """
    say(clean(question.message))
    terminal = _Terminal()
    while True:
        value = await _form(terminal, question.schema)
        try:
            return await handle.answer(value, question=question.id)
        except AskInvalid as error:
            say(clean(error.message))


async def _form(terminal: _Terminal, schema: Object) -> JSON:
    """Return an object with what was typed for each field; what was left empty is left out."""
    properties: dict[str, Any] = schema.get("properties") or {}
    if not properties:
        return _argument(await terminal.line("answer, as JSON: "))
    required: list[str] = schema.get("required") or []
    value: Object = {}
    for name, field in properties.items():
        text = await terminal.line(_prompt(name, field, is_required=name in required))
        while not text and name in required and not _takes_empty(field):
            text = await terminal.line(_prompt(name, field, is_required=True))
        if text or name in required:
            value[name] = _chosen(text, field)
    return value


def _argument(text: str) -> JSON:
    return read_field(text, {})


def _takes_empty(field: Any) -> bool:
    return isinstance(field, dict) and cast(Object, field).get("type") == "string"


def _prompt(name: str, field: Any, *, is_required: bool) -> str:
    known = cast(Object, field) if isinstance(field, dict) else {}
    choices: list[Any] = known.get("enum") or []
    notes: list[str] = []
    if choices:
        notes.append(", ".join(_shown(choice) for choice in choices))
    elif known.get("type") == "boolean":
        notes.append("yes or no")
    elif isinstance(known.get("type"), str) and known["type"] != "string":
        notes.append(str(known["type"]))
    if not is_required:
        notes.append("may be left empty")
    label = str(known.get("description") or known.get("title") or name)
    return clean(f"{label} ({'; '.join(notes)}): " if notes else f"{label}: ")


def _shown(choice: Any) -> str:
    return choice if isinstance(choice, str) else dumps(choice)


def _chosen(text: str, field: Any) -> JSON:
    choices: list[Any] = cast(Object, field).get("enum") or [] if isinstance(field, dict) else []
    return next((each for each in choices if _shown(each) == text), read_field(text, field))


class _Terminal:
    """Lines from the terminal, as they are typed."""

    def __init__(self) -> None:
        self._typed = b""

    async def line(self, prompt: str) -> str:
        """Return the next line.

        Raises:
            Unanswered: There is none.
        """
        print(prompt, end="", file=sys.stderr, flush=True)
        while b"\n" not in self._typed:
            await self._readable()
            # One read of a terminal gives one line, or more when lines were pasted.
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                print(file=sys.stderr)
                raise Unanswered
            self._typed += data
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace").strip()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()

        def tell() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(sys.stdin.fileno(), tell)
        try:
            await ready
        finally:
            loop.remove_reader(sys.stdin.fileno())
