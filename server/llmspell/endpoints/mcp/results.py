"""What came of a cast, as the result of a `tools/call`.

A failed run is a result too (`isError`), so that the model reads what went
wrong and how to mend it; only a tool that does not exist is a JSON-RPC error.
"""

from __future__ import annotations

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from llmspell.errors import LlmspellError, RunError
from llmspell.host.interface import Published
from llmspell.runs.record import Outcome
from llmspell.values import JSON, Object, dumps

RUN_ID_META = "llmspell/run_id"
"""Key in a result's `_meta`: the run that made it."""

STATUS_META = "llmspell/status"
"""Key in the `_meta` of a result that is not the run's last word: the run's state."""

ERROR_META = "llmspell/error"
"""Key in an error result's `_meta`: `{code, hint, run_id?, data?}`."""


def outcome_result(outcome: Outcome, spell: Published, *, objects_only: bool) -> CallToolResult:
    """Return the tool result of an outcome.

    The output stands in `structuredContent` when the spell declares an output
    schema or the output is an object, and always in the text too: older
    clients read nothing else.

    Args:
        objects_only: Whether the protocol version allows only an object as
            `structuredContent` (2025-11-25 and before).
    """
    if outcome.state == "input_required":
        return _question_result(outcome, spell)
    if not outcome.ok:
        return error_result(_error_of(outcome))
    output = outcome.output
    is_structured = isinstance(output, dict) or (
        spell.output_schema is not None and not objects_only
    )
    if outcome.content is not None:
        content = [content_block(part) for part in outcome.content]
    else:
        content = _text_of(output, declared=spell.output_schema is not None)
    return CallToolResult(
        content=content,
        structured_content=output if is_structured else None,
        _meta={RUN_ID_META: outcome.run_id},
    )


def _question_result(outcome: Outcome, spell: Published) -> CallToolResult:
    """Return what a caller is told whose cast waits for a person.

    An error where the spell declares an output: without one the result would not
    fit its schema, and clients check that.
    """
    lines = [f"The run of {outcome.spell!r} waits for a person to answer:"]
    for question in outcome.questions:
        lines.append(f"  {question.message}")
        lines.append(f"  schema of the answer: {dumps(question.schema)}")
    lines.append(f"Answer it with: llmspell runs answer {outcome.run_id}")
    lines.append(f"Then read its result with: llmspell runs result {outcome.run_id}")
    return CallToolResult(
        content=[TextContent(text="\n".join(lines))],
        is_error=spell.output_schema is not None,
        _meta={RUN_ID_META: outcome.run_id, STATUS_META: outcome.state},
    )


def error_result(error: LlmspellError) -> CallToolResult:
    """Return the tool result of an error: its report as text, its parts in `_meta`."""
    detail: Object = {"code": error.code, "hint": error.hint}
    meta: Object = {ERROR_META: detail}
    if error.run_id:
        detail["run_id"] = meta[RUN_ID_META] = error.run_id
    if error.data:
        detail["data"] = error.data
    return CallToolResult(content=[TextContent(text=error.report())], is_error=True, _meta=meta)


def content_block(part: Object) -> ContentBlock:
    """Return a typed part of an answer (what `Content.*` made in a spell) as MCP content.

    A part this wire has no form for is shown as its JSON.
    """
    media_type = part.get("media_type")
    match part:
        case {"type": "text", "text": str(text)}:
            return TextContent(text=text)
        case {"type": "image", "data": str(data)}:
            return ImageContent(data=data, mime_type=media_type or "image/png")
        case {"type": "audio", "data": str(data)}:
            return AudioContent(data=data, mime_type=media_type or "audio/wav")
        case {"type": "resource", "uri": str(uri), "text": str(text)}:
            return EmbeddedResource(
                resource=TextResourceContents(uri=uri, text=text, mime_type=media_type)
            )
        case {"type": "resource", "uri": str(uri), "data": str(data)}:
            return EmbeddedResource(
                resource=BlobResourceContents(uri=uri, blob=data, mime_type=media_type)
            )
        case {"type": "resource", "uri": str(uri)}:
            return ResourceLink(uri=uri, name=part.get("name") or uri, mime_type=media_type)
        case _:
            return TextContent(text=dumps(part))


def _text_of(output: JSON, *, declared: bool) -> list[ContentBlock]:
    if output is None and not declared:
        return []
    return [TextContent(text=output if isinstance(output, str) else dumps(output))]


def _error_of(outcome: Outcome) -> LlmspellError:
    if outcome.error is not None:
        return LlmspellError.from_value(outcome.error).with_run(outcome.run_id)
    return RunError(f"the run of {outcome.spell!r} ended as {outcome.state}", run_id=outcome.run_id)
