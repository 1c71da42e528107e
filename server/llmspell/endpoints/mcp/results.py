"""What came of a cast, as the result of a `tools/call`, ready for the wire.

A failed run is a result too (`isError`), so that the model reads what went
wrong and how to mend it; only a tool that does not exist, and what a spell ends
with `ctx:protocol_error`, is a JSON-RPC error. Results are plain objects:
every call makes one, and the SDK's models cost more than the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import SERVER_INFO_META_KEY

from llmspell.errors import LlmspellError, RunError
from llmspell.host.catalogue import Published
from llmspell.runs.record import Outcome, Run
from llmspell.values import JSON, Object, dumps

RUN_ID_META = "llmspell/run_id"
"""Key in a result's `_meta`: the run that made it."""

STATUS_META = "llmspell/status"
"""Key in the `_meta` of a result that is not the run's last word: the run's state."""

ERROR_META = "llmspell/error"
"""Key in an error result's `_meta`: `{code, hint, run_id?, data?}`."""

HANDLE_FIELDS: Mapping[str, Object] = {
    "run_id": {"type": "string", "description": "Id of the run, when it is still under way."},
    "status": {"type": "string", "description": "How far it is."},
    "how_to_continue": {"type": "string", "description": "How to get its result."},
}
"""What a handle holds, and what a spell's own output therefore may not."""


def published_output(spell: Published) -> Object | None:
    """Return the output schema a client is told, or None for none.

    Clients hold every answer against it, a handle too. So it is a flat schema
    of the spell's own fields and those of a handle, none required; the host
    enforces the spell's own. Exact where a caller never gets a handle.
    """
    schema = spell.output_schema
    if schema is None or spell.when_long == "wait":
        return schema
    if schema.get("type") != "object":
        return None  # no handle would fit it
    loose = {
        key: value
        for key, value in schema.items()
        if key not in ("required", "additionalProperties", "minProperties")
    }
    loose["properties"] = {**schema.get("properties", {}), **HANDLE_FIELDS}
    return loose


def outcome_result(outcome: Outcome, spell: Published | None, *, is_modern: bool) -> Object:
    """Return the tool result of an outcome.

    The output stands in `structuredContent` when the spell publishes an output
    schema or the output is an object, and always in the text too: older
    clients read nothing else. Up to 2025-11-25 only an object may stand there.

    Args:
        spell: What was cast; None when it is published no more.

    Raises:
        MCPError: The spell ended with an error of the protocol.
    """
    if not outcome.ok:
        return failure_result(outcome, is_modern=is_modern)
    output = outcome.output
    declared = spell is not None and spell.output_schema is not None
    if outcome.content is not None:
        content = [content_block(part) for part in outcome.content]
    else:
        content = _text_of(output, declared=declared)
    result: Object = {"content": content}
    if isinstance(output, dict) or (declared and is_modern):
        result["structuredContent"] = output
    return _complete(result, {RUN_ID_META: outcome.run_id}, is_modern=is_modern)


def failure_result(outcome: Outcome, *, is_modern: bool) -> Object:
    """Return the tool result of a run that did not complete.

    Raises:
        MCPError: The spell ended with an error of the protocol.
    """
    error = error_of(outcome)
    if (protocol := protocol_error(error)) is not None:
        raise protocol
    return error_result(error, is_modern=is_modern)


def handle_result(run: Run, *, offers: Callable[[str], bool], is_modern: bool) -> Object:
    """Return what a caller gets of a run that goes on without it.

    Args:
        offers: Returns whether a control tool is offered: no other is named.
    """
    how = _how_to_continue(run, offers)
    handle: Object = {"run_id": run.id, "status": run.state, "how_to_continue": how}
    result: Object = {
        "content": [{"type": "text", "text": dumps(handle)}],
        "structuredContent": handle,
    }
    meta: Object = {RUN_ID_META: run.id, STATUS_META: run.state}
    return _complete(result, meta, is_modern=is_modern)


def _how_to_continue(run: Run, offers: Callable[[str], bool]) -> str:
    get = how_to_get(run.id, offers)
    if run.state == "canceled":
        return f"The run of {run.spell!r} was stopped. There is nothing to wait for."
    if run.questions:
        lines = [f"The run of {run.spell!r} waits for a person to answer:"]
        for question in run.questions:
            lines.append(f"  {question.message}")
            if question.url:
                lines.append(f"  at {question.url}")
            else:
                lines.append(f"  schema of the answer: {dumps(question.schema)}")
        lines.append(f"A person answers it with: llmspell runs answer {run.id}")
        lines.append(f"Then {get}.")
        return "\n".join(lines)
    lines = [f"The run of {run.spell!r} takes longer and goes on."]
    lines.append(f"{get[0].upper()}{get[1:]}; do not call {run.spell!r} again for it.")
    if offers("run_cancel"):
        lines.append(f"The tool run_cancel with {_arguments(run.id)} stops it.")
    return " ".join(lines)


def how_to_get(run_id: str, offers: Callable[[str], bool]) -> str:
    """Return what a client does for the result of a run.

    Args:
        offers: Returns whether a control tool is offered.
    """
    if offers("run_result"):
        return f"call the tool run_result with {_arguments(run_id)} for its result"
    return f"get its result with: llmspell runs result {run_id}"


def _arguments(run_id: str) -> str:
    return f'{{"run_id": "{run_id}"}}'


def stamped(result: Object, server: Any) -> Object:
    """Return a result that says which server it is from, as the SDK's results do.

    Args:
        server: What the SDK says of it.
    """
    meta: Object = result.get("_meta") or {}
    if SERVER_INFO_META_KEY in meta:
        return result
    return {**result, "_meta": {**meta, SERVER_INFO_META_KEY: server}}


def error_result(error: LlmspellError, *, is_modern: bool) -> Object:
    """Return the tool result of an error: its report as text, its parts in `_meta`.

    There is no `structuredContent`: nothing in it could fit the output schema.
    """
    detail: Object = {"code": error.code, "hint": error.hint}
    meta: Object = {ERROR_META: detail}
    if error.run_id:
        detail["run_id"] = meta[RUN_ID_META] = error.run_id
    if error.data:
        detail["data"] = error.data
    result: Object = {"content": [{"type": "text", "text": error.report()}], "isError": True}
    return _complete(result, meta, is_modern=is_modern)


def error_of(outcome: Outcome) -> LlmspellError:
    """Return the error a run ended with."""
    if outcome.error is not None:
        return LlmspellError.from_value(outcome.error).with_run(outcome.run_id)
    return RunError(f"the run of {outcome.spell!r} ended as {outcome.state}", run_id=outcome.run_id)


def protocol_error(error: LlmspellError) -> MCPError | None:
    """Return the JSON-RPC error that a spell asked for, or None for an ordinary failure."""
    data = error.data or {}
    code = data.get("code")
    if error.code != "run.protocol_error" or not isinstance(code, int):
        return None
    return MCPError(code, str(data.get("message", error.message)), data.get("data"))


def content_block(part: Object) -> Object:
    """Return a typed part of an answer (what `Content.*` made in a spell) as MCP content.

    A part this wire has no form for is shown as its JSON.
    """
    media_type = part.get("media_type")
    match part:
        case {"type": "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "image", "data": str(data)}:
            return {"type": "image", "data": data, "mimeType": media_type or "image/png"}
        case {"type": "audio", "data": str(data)}:
            return {"type": "audio", "data": data, "mimeType": media_type or "audio/wav"}
        case {"type": "resource", "uri": str(uri), "text": str(text)}:
            return {"type": "resource", "resource": _contents(uri, "text", text, media_type)}
        case {"type": "resource", "uri": str(uri), "data": str(data)}:
            return {"type": "resource", "resource": _contents(uri, "blob", data, media_type)}
        case {"type": "resource", "uri": str(uri)}:
            link: Object = {"type": "resource_link", "uri": uri, "name": part.get("name") or uri}
            if media_type:
                link["mimeType"] = media_type
            return link
        case _:
            return {"type": "text", "text": dumps(part)}


def _contents(uri: str, field: str, value: str, media_type: Any) -> Object:
    contents: Object = {"uri": uri, field: value}
    if media_type:
        contents["mimeType"] = media_type
    return contents


def _text_of(output: JSON, *, declared: bool) -> list[Object]:
    if output is None and not declared:
        return []
    return [{"type": "text", "text": output if isinstance(output, str) else dumps(output)}]


def _complete(result: Object, meta: Object, *, is_modern: bool) -> Object:
    result["_meta"] = meta
    if is_modern:
        result["resultType"] = "complete"
    return result
