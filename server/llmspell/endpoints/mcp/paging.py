"""Results longer than a client passes on whole: cut, with a way to the rest.

Clients cap what a tool may say and then drop it, save it to a file or fail, so
what is too long for them is cut here, where the rest can be kept within reach:
by the tool `run_result` with an offset, and as the resource `run://ID/result`.

Only text is cut: of images and sound a part is nothing. An offset counts the
characters of all text of the result, in its order, so a page depends on
nothing but the result and where it begins.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from llmspell.endpoints.mcp.results import published_output
from llmspell.host.catalogue import Published
from llmspell.values import Object


class Cut(NamedTuple):
    """A part of a result's content."""

    content: list[Object]
    next: int | None
    """Offset of what follows; None when nothing does."""


def cut(content: list[Object], limit: int, run_id: str, *, offset: int = 0) -> Cut:
    """Return the part of a result's content that begins at an offset.

    A part that is not the end says so in a text of its own, and links to the whole.

    Args:
        content: Content blocks as MCP has them.
        limit: Most bytes of text in the part, as UTF-8, 4 at least; the text that says how to
            go on is not counted.
        run_id: The run that made it.
        offset: How many characters of its text are skipped. Blocks that are no text belong to
            the first part.
    """
    if not offset and _fits(content, limit):
        return Cut(content, None)
    kept: list[Object] = []
    position = 0
    end = offset
    room = limit
    for block in content:
        text = _text_of(block)
        if text is None:
            if not offset:
                kept.append(block)
            continue
        start = max(0, offset - position)
        position += len(text)
        if start >= len(text) or room <= 0:
            continue
        part = _head(text[start:], room)
        room -= len(part.encode())
        end = position - len(text) + start + len(part)
        if len(part) < len(text) - start:
            room = 0  # what does not fit whole is the last
        if len(part) == len(text):
            kept.append(block)
        elif part:
            kept.append(_text(part))
    if end >= position:
        if offset > position or (offset and not kept):
            kept.append(_text(f"[There is nothing at {offset}: the text ends at {position}.]"))
        return Cut(kept, None)
    kept.append(
        _text(
            f"[Cut here: this was {offset} to {end} of {position} characters. The next part: "
            f'run_result with {{"run_id": "{run_id}", "offset": {end}}}]'
        )
    )
    kept.append(
        {"type": "resource_link", "uri": f"run://{run_id}/result", "name": f"result of {run_id}"}
    )
    return Cut(kept, end)


def cut_result(
    result: Object, limit: int, run_id: str, spell: Published | None, *, offset: int = 0
) -> Object:
    """Return a tool result whose text is within the limit, or the page of it at an offset.

    With the text goes `structuredContent`, which says the same. Half of it would not fit the
    output schema, so it stays whole where that must be met exactly (`when_long = "wait"`), is
    a handle where a handle fits too, and is left out where there is no schema and on later pages.

    Args:
        spell: The tool that was called, whose output schema the client holds the result
            against; None for one without.
    """
    found = cut(result["content"], limit, run_id, offset=offset)
    if found.next is None and not offset:
        return result
    page = {**result, "content": found.content}
    exact = spell is not None and spell.when_long == "wait" and spell.output_schema is not None
    if "structuredContent" not in result or (exact and not offset):
        return page
    del page["structuredContent"]
    if not offset and spell is not None and published_output(spell) is not None:
        page["structuredContent"] = {
            "run_id": run_id,
            "status": "completed",
            "how_to_continue": "The result is long. Call the tool run_result with "
            f'{{"run_id": "{run_id}", "offset": 0}} and on until it says no more.',
        }
    return page


def _fits(content: list[Object], limit: int) -> bool:
    room = limit
    for block in content:
        text = _text_of(block)
        if text is not None:
            # A character is four bytes at most: most results need no encoding to be measured.
            room -= len(text) if 4 * len(text) <= room else len(text.encode())
            if room < 0:
                return False
    return True


def _head(text: str, room: int) -> str:
    """Return the longest beginning of a text within so many bytes, of whole characters."""
    return text[:room].encode()[:room].decode(errors="ignore")


def _text_of(block: Object) -> str | None:
    kind = block.get("type")
    held: Any = block if kind == "text" else block.get("resource") if kind == "resource" else None
    text: Any = cast(Object, held).get("text") if isinstance(held, dict) else None
    return text if isinstance(text, str) else None


def _text(text: str) -> Object:
    return {"type": "text", "text": text}
