"""An event of a run as one line of text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmspell.cli.tables import clean
from llmspell.values import Object, dumps

if TYPE_CHECKING:
    from llmspell.runs.record import Event


def line_of(run_id: str, event: Event) -> str:
    """Return the line: number, local time, kind, and what the event says."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    return clean(f"{event.number:>4}  {at}  {event.kind:<13}  {_text(run_id, event)}").rstrip()


def _text(run_id: str, event: Event) -> str:
    data = event.data
    match event.kind:
        case "state":
            error: Any = data.get("error") or {}
            return _joined(data.get("state"), data.get("message"), error.get("message"))
        case "progress":
            done, total = data.get("done"), data.get("total")
            count = "" if done is None else f"{done:g}" if total is None else f"{done:g}/{total:g}"
            return _joined(count, data.get("message"))
        case "log":
            fields: Object = data.get("fields") or {}
            extra = (f"{name}={dumps(value)}" for name, value in fields.items())
            return _joined(f"{data.get('level', 'info')}:", data.get("message"), *extra)
        case "question":
            return f"{data.get('message')}  (llmspell runs answer {data.get('run_id', run_id)})"
        case "answer":
            return _joined(data.get("action"), f"by {data.get('by')}" if data.get("by") else "")
        case "step.started" | "step.ended":
            return _joined(data.get("name"))
        case "resumed":
            return _joined(data.get("reason"))
        case _:
            return dumps(data)


def _joined(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part)
