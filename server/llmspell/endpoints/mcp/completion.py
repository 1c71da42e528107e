"""`completion/complete`: what an argument of a prompt or a template may go on to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.lowlevel import Server
from mcp_types import CompleteRequestParams, PromptReference

from llmspell.endpoints.mcp.changes import Context, not_found
from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.endpoints.mcp.reading import refused, told
from llmspell.errors import AccessForbidden, LlmspellError, ResourceNotFound
from llmspell.host.interface import DoorHost
from llmspell.host.library_interface import PromptRef, ResourceRef
from llmspell.values import Object


async def complete(host: DoorHost, exchange: Exchange, params: CompleteRequestParams) -> Object:
    """Serve `completion/complete`.

    Raises:
        MCPError: There is no such prompt, template or argument, or its function failed.
        AccessForbidden: The caller may not ask.
    """
    ref: PromptRef | ResourceRef = (
        ("prompt", params.ref.name)
        if isinstance(params.ref, PromptReference)
        else ("resource", params.ref.uri)
    )
    argument, context = params.argument, params.context
    others = context.arguments if context is not None else None
    try:
        found = await host.library.complete(
            ref, argument.name, argument.value, others or {}, caller=exchange.caller
        )
    except ResourceNotFound:
        raise not_found(ref[1], is_modern=exchange.is_modern) from None
    except AccessForbidden:
        raise
    except LlmspellError as error:
        raise refused(error) from None
    result: Object = {
        "completion": {
            "values": [*found.values],
            "total": found.total,
            "hasMore": found.total > len(found.values),
        }
    }
    return {**result, "resultType": "complete"} if exchange.is_modern else result


def register_completion(
    server: Server[dict[str, Any]], host: DoorHost, exchange_of: Callable[[Context], Exchange]
) -> None:
    """Serve `completion/complete` on a server of the SDK."""

    async def handle(context: Context, params: CompleteRequestParams) -> Object:
        return await told(complete(host, exchange_of(context), params))

    server.add_request_handler("completion/complete", CompleteRequestParams, handle)
