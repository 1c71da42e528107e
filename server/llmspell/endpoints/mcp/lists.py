"""Pages of the lists of tools, resources and prompts, and what their entries have in common."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from llmspell.endpoints.mcp.bundles import in_bundle
from llmspell.host.library_interface import PublishedPrompt, PublishedResource
from llmspell.values import Object

PAGE = 200
"""Entries on one page."""

FRESH_MS = 1000
"""How long a client may keep a list: short, because a spell changes while its author looks."""

_PREFIX = "after:"
_T = TypeVar("_T")


def page(
    field: str,
    entries: Sequence[_T],
    cursor: str | None,
    *,
    key: Callable[[_T], str],
    shown: Callable[[_T], Object],
    is_modern: bool,
    size: int = PAGE,
) -> Object:
    """Return the result of a list request.

    A cursor says behind which entry its page begins, so one from before a change goes on at that
    place of the new list.

    Args:
        field: What the list is called in the result.
        entries: Sorted by `key`.

    Raises:
        MCPError: The cursor is none of ours.
    """
    start = 0
    if cursor is not None:
        start = bisect_right(entries, _behind(cursor), key=key)
    some = entries[start : start + size]
    result: Object = {field: [shown(entry) for entry in some]}
    if start + size < len(entries):
        mark = f"{_PREFIX}{key(some[-1])}".encode()
        result["nextCursor"] = base64.urlsafe_b64encode(mark).decode()
    return cacheable(result, FRESH_MS) if is_modern else result


def cacheable(result: Object, ttl_ms: int) -> Object:
    """Return a complete result of 2026-07-28 that its client may keep for itself."""
    return {**result, "resultType": "complete", "ttlMs": ttl_ms, "cacheScope": "private"}


def is_in(
    bundle: str,
    bundles: Mapping[str, Sequence[str]],
    entry: PublishedPrompt | PublishedResource,
) -> bool:
    """Return whether an entry is of a bundle ("" = of everything): its spell is.

    Args:
        bundles: Patterns of spells' names, by the bundles that settings make of them.
    """
    return in_bundle(bundle, bundles, own=entry.bundle, spell=entry.spell)


def about(entry: PublishedPrompt | PublishedResource) -> Object:
    """Return what an entry says of itself to people: name, title, description, icon."""
    shown: Object = {"name": entry.name}
    if entry.title:
        shown["title"] = entry.title
    if entry.description:
        shown["description"] = entry.description
    if entry.icon:
        shown["icons"] = [icon(entry.icon)]
    return shown


def icon(source: str) -> Object:
    """Return an icon as MCP has it, with its media type where the URL says it."""
    media_type = source.removeprefix("data:").partition(";")[0].partition(",")[0]
    if source.startswith("data:") and media_type:
        return {"src": source, "mimeType": media_type}
    return {"src": source}


def _behind(cursor: str) -> str:
    try:
        text = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error):
        text = ""
    if not text.startswith(_PREFIX):
        raise MCPError(
            INVALID_PARAMS,
            "unknown cursor",
            {"code": "input.invalid", "hint": "begin again without one"},
        )
    return text.removeprefix(_PREFIX)
