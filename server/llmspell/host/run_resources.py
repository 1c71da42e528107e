"""Runs as resources: `run://ID`, its result and its log, as JSON or as what the spell returned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import msgspec

from llmspell.host.library_interface import PublishedResource, ResourceContent
from llmspell.runs.record import Event, Run, is_run_id
from llmspell.values import Object, dumps

LOG_PAGE = 1000
"""Events of one page of `run://ID/log`."""

JSON_TYPE = "application/json"
JSON_LINES = "application/x-ndjson"

RunPart: TypeAlias = Literal["record", "result", "log"]

TEMPLATES = (
    PublishedResource(
        uri="run://{id}",
        is_template=True,
        name="run",
        title="Run",
        description="The record of one of your runs: its input, its state and what came of it.",
        media_type=JSON_TYPE,
    ),
    PublishedResource(
        uri="run://{id}/log",
        is_template=True,
        name="run_log",
        title="Log of a run",
        description=f"The events of a run, one a line, {LOG_PAGE} a page; "
        "?after=N goes on behind event N.",
        media_type=JSON_LINES,
    ),
    PublishedResource(
        uri="run://{id}/result",
        is_template=True,
        name="run_result",
        title="Result of a run",
        description="What a run returned, or the state it is in while it has not ended.",
    ),
)

_URI = re.compile(r"run://([^/?#]+)(?:/(result|log))?(?:\?after=(\d{1,15}))?")
_INTERNAL = ("answers", "seed", "key", "worked", "resumed", "resumed_at", "epoch", "message")


@dataclass(frozen=True, slots=True)
class RunUri:
    """What a `run://` URI stands for."""

    run_id: str
    part: RunPart = "record"
    after: int = 0
    """Number of the event behind which a page of the log begins."""


def parse(uri: str) -> RunUri | None:
    """Return what a URI stands for; None when it is that of no run."""
    found = _URI.fullmatch(uri)
    if found is None or not is_run_id(found[1]) or (found[3] and found[2] != "log"):
        return None
    return RunUri(found[1], cast(Any, found[2] or "record"), int(found[3] or 0))


def run_of_uri(uri: str) -> str | None:
    """Return the id of the run whose record, result or log this is the URI of; None for others."""
    parsed = parse(uri)
    return parsed.run_id if parsed is not None and not parsed.after else None


def uris_of_run(run_id: str) -> tuple[str, str, str]:
    """Return the URIs of a run's record, result and log."""
    return f"run://{run_id}", f"run://{run_id}/result", f"run://{run_id}/log"


def record_content(uri: str, run: Run) -> ResourceContent:
    """Return a run's record as its principal sees it."""
    value: Object = msgspec.to_builtins(run)
    for name in _INTERNAL:
        value.pop(name, None)
    value["state"] = run.state
    value["result_uri"], value["log_uri"] = uris_of_run(run.id)[1:]
    return ResourceContent(uri=uri, media_type=JSON_TYPE, text=dumps(value))


def result_content(uri: str, run: Run) -> list[ResourceContent]:
    """Return what a run returned: a text as it is, typed content as that, else JSON."""
    if run.state != "completed":
        value: Object = {"run_id": run.id, "state": run.state}
        if run.error is not None:
            value["error"] = run.error
        return [ResourceContent(uri=uri, media_type=JSON_TYPE, text=dumps(value))]
    if run.content is not None:
        return contents_of(uri, run.content)
    return [value_content(uri, run.output)]


def value_content(uri: str, value: Any, media_type: str = "") -> ResourceContent:
    """Return a value as the content of a resource: a text as it is, anything else as JSON."""
    if isinstance(value, str):
        return ResourceContent(uri=uri, media_type=media_type or "text/plain", text=value)
    return ResourceContent(uri=uri, media_type=media_type or JSON_TYPE, text=dumps(value))


def contents_of(uri: str, parts: Sequence[Object], media_type: str = "") -> list[ResourceContent]:
    """Return typed content as contents of a resource; a part may have a URI of its own."""
    return [
        ResourceContent(
            uri=str(part.get("uri") or uri),
            media_type=str(part.get("media_type") or media_type or _TYPES.get(part["type"], "")),
            text=part.get("text") if "data" not in part else None,
            data=part.get("data"),
        )
        if "text" in part or "data" in part
        else value_content(uri, part)
        for part in parts
    ]


def log_content(uri: RunUri, events: Sequence[Event]) -> ResourceContent:
    """Return one page of a run's log.

    Args:
        events: Those of the page and one more, where there is one.
    """
    page = events[:LOG_PAGE]
    log = uris_of_run(uri.run_id)[2]
    return ResourceContent(
        uri=f"{log}?after={uri.after}" if uri.after else log,
        media_type=JSON_LINES,
        text="".join(dumps(_event(event)) + "\n" for event in page),
        next=f"{log}?after={page[-1].number}" if len(events) > LOG_PAGE else "",
    )


def _event(event: Event) -> Object:
    return {"number": event.number, "at": event.at, "kind": event.kind, "data": event.data}


_TYPES = {
    "text": "text/plain",
    "image": "image/png",
    "audio": "audio/wav",
    "resource": "text/plain",
}
