"""`resources/*`: what a client can read, and of what changes it can hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.lowlevel import Server
from mcp_types import (
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from llmspell.endpoints.mcp.changes import Changes, Context, not_found
from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.endpoints.mcp.lists import FRESH_MS, about, cacheable, is_in, page
from llmspell.endpoints.mcp.reading import Reading, refused, told
from llmspell.errors import AccessForbidden, LlmspellError, ResourceNotFound
from llmspell.host.interface import DoorHost
from llmspell.host.library_interface import PublishedResource, ResourceContent
from llmspell.values import Object

NEXT_META = "llmspell/next"
"""Key in the `_meta` of a content that is a page: the URI of the next."""


class Resources:
    """Serves the resources of a host.

    Args:
        bundle: Name of the bundle whose resources are listed; "" = all.
    """

    def __init__(self, host: DoorHost, reading: Reading, *, bundle: str = "") -> None:
        self._host = host
        self._reading = reading
        self._bundle = bundle

    async def list(self, exchange: Exchange, cursor: str | None) -> Object:
        """Serve `resources/list`."""
        return page(
            "resources",
            [each for each in await self._host.library.resources() if self._is_listed(each, False)],
            cursor,
            key=lambda entry: entry.uri,
            shown=_shown,
            is_modern=exchange.is_modern,
        )

    async def list_templates(self, exchange: Exchange, cursor: str | None) -> Object:
        """Serve `resources/templates/list`."""
        return page(
            "resourceTemplates",
            [each for each in self._host.catalogue().resources if self._is_listed(each, True)],
            cursor,
            key=lambda entry: entry.uri,
            shown=_shown,
            is_modern=exchange.is_modern,
        )

    def _is_listed(self, entry: PublishedResource, is_template: bool) -> bool:
        if entry.is_template != is_template:
            return False
        own = is_template and not entry.spell  # runs belong to no bundle, and to every
        return own or is_in(self._bundle, self._host.project.settings.mcp.bundles, entry)

    async def read(self, exchange: Exchange, params: Object) -> Object:
        """Serve `resources/read`.

        Raises:
            MCPError: There is no such resource, or it cannot be read.
            AccessForbidden: The caller may not read it.
        """
        uri = str(params["uri"])
        library = self._host.library
        try:
            read = await self._reading.outcome(
                exchange,
                uri,
                params,
                lambda: library.read(uri, caller=exchange.caller),
                lambda outcome: library.contents(uri, outcome),
            )
        except ResourceNotFound:
            raise not_found(uri, is_modern=exchange.is_modern) from None
        except AccessForbidden:
            raise
        except LlmspellError as error:
            raise refused(error) from None
        if isinstance(read, dict):
            return read
        result: Object = {"contents": [_content(each) for each in read]}
        # Only these tell of every change themselves, and soon enough.
        fresh = FRESH_MS if uri.startswith(("spell://", "file://")) else 0
        return cacheable(result, fresh) if exchange.is_modern else result


def register_resources(
    server: Server[dict[str, Any]],
    resources: Resources,
    changes: Changes,
    exchange_of: Callable[[Context], Exchange],
) -> None:
    """Serve `resources/*` on a server of the SDK."""

    async def list(context: Context, params: PaginatedRequestParams) -> Object:
        return await told(resources.list(exchange_of(context), params.cursor))

    async def list_templates(context: Context, params: PaginatedRequestParams) -> Object:
        return await told(resources.list_templates(exchange_of(context), params.cursor))

    async def read(context: Context, params: ReadResourceRequestParams) -> Object:
        # As it was sent: a retry has more than the model of the SDK need know.
        return await told(resources.read(exchange_of(context), dict(context.params or {})))

    handle = server.add_request_handler
    handle("resources/list", PaginatedRequestParams, list)
    handle("resources/templates/list", PaginatedRequestParams, list_templates)
    handle("resources/read", ReadResourceRequestParams, read)
    handle("resources/subscribe", SubscribeRequestParams, changes.subscribe)
    handle("resources/unsubscribe", UnsubscribeRequestParams, changes.unsubscribe)


def _shown(entry: PublishedResource) -> Object:
    shown: Object = {"uriTemplate" if entry.is_template else "uri": entry.uri, **about(entry)}
    if entry.media_type:
        shown["mimeType"] = entry.media_type
    if entry.size is not None:
        shown["size"] = entry.size
    return shown


def _content(content: ResourceContent) -> Object:
    shown: Object = {"uri": content.uri}
    if content.media_type:
        shown["mimeType"] = content.media_type
    if content.data is not None:
        shown["blob"] = content.data
    else:
        shown["text"] = content.text or ""
    if content.next:
        shown["_meta"] = {NEXT_META: content.next}
    return shown
