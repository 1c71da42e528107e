"""What a command shows of a cast: progress on stderr, the result alone on stdout."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from llmspell.cli.tables import clean
from llmspell.errors import LlmspellError
from llmspell.runs.record import Event, Outcome
from llmspell.values import JSON, dumps

COMPLETED, FAILED, QUESTION = 0, 1, 3


def say(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr, flush=True)


def show_event(event: Event) -> None:
    """Show what an event says to a person; most say nothing."""
    data = event.data
    if event.kind == "progress":
        done, total = data.get("done"), data.get("total")
        count = "" if done is None else f"{done:g}" if total is None else f"{done:g}/{total:g}"
        say(" ".join(part for part in (count, data.get("message") or "") if part))
    elif event.kind == "log":
        fields: dict[str, Any] = data.get("fields") or {}
        extra = "".join(f" {name}={dumps(value)}" for name, value in fields.items())
        say(f"{data.get('level', 'info')}: {data.get('message', '')}{extra}")
    elif event.kind == "step.started":
        name = str(data.get("name"))
        say(name if name.startswith("step ") else f"step {name}")  # one without a name is "step 2"
    elif event.kind == "question":
        say(clean(f"question: {data.get('message')}"))


def show_json(value: JSON) -> None:
    """Write a value as indented JSON to stdout."""
    print(msgspec.json.format(dumps(value), indent=2))


def show_outcome(outcome: Outcome, *, as_json: bool) -> int:
    """Show what came of a cast and return the exit status.

    Args:
        as_json: Write the whole outcome as JSON instead of the output alone.
    """
    if as_json:
        show_json(msgspec.to_builtins(outcome))
    elif outcome.ok:
        _show_output(outcome)
    if outcome.error is not None:
        say(LlmspellError.from_value(outcome.error).report())
    if outcome.state in ("input_required", "auth_required"):
        say(f"the run waits for an answer: llmspell runs answer {outcome.run_id}")
        return QUESTION
    return COMPLETED if outcome.ok else FAILED


def _show_output(outcome: Outcome) -> None:
    if outcome.content is not None and outcome.output is None:
        for part in outcome.content:
            text = part.get("text")
            print(text if isinstance(text, str) else dumps(part))
    elif isinstance(outcome.output, str):
        print(outcome.output)
    else:
        print(msgspec.json.format(dumps(outcome.output), indent=2))
