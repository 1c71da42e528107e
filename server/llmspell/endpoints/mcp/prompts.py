"""`prompts/*`: texts for a model that a person fills in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, GetPromptRequestParams, PaginatedRequestParams

from llmspell.endpoints.mcp.changes import Context
from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.endpoints.mcp.lists import about, is_in, page
from llmspell.endpoints.mcp.reading import Reading, refused, told
from llmspell.endpoints.mcp.results import content_block
from llmspell.errors import AccessForbidden, LlmspellError
from llmspell.host.interface import DoorHost
from llmspell.host.library_interface import PromptArgument, PublishedPrompt
from llmspell.values import Object


class Prompts:
    """Serves the prompts of a host.

    Args:
        bundle: Name of the bundle whose prompts are listed; "" = all.
    """

    def __init__(self, host: DoorHost, reading: Reading, *, bundle: str = "") -> None:
        self._host = host
        self._reading = reading
        self._bundle = bundle

    def list(self, exchange: Exchange, cursor: str | None) -> Object:
        """Serve `prompts/list`."""
        bundles = self._host.project.settings.mcp.bundles
        return page(
            "prompts",
            [each for each in self._host.catalogue().prompts if is_in(self._bundle, bundles, each)],
            cursor,
            key=lambda entry: entry.name,
            shown=_shown,
            is_modern=exchange.is_modern,
        )

    async def get(self, exchange: Exchange, params: Object) -> Object:
        """Serve `prompts/get`.

        Raises:
            MCPError: There is no such prompt, its arguments do not fit, or it cannot be made.
            AccessForbidden: The caller may not have it.
        """
        name = str(params["name"])
        arguments: Any = params.get("arguments") or {}
        if not all(isinstance(text, str) for text in arguments.values()):
            raise MCPError(INVALID_PARAMS, "the arguments of a prompt are texts")
        library = self._host.library
        try:
            made = await self._reading.outcome(
                exchange,
                name,
                params,
                lambda: library.prompt(name, arguments, caller=exchange.caller),
                library.messages,
            )
        except AccessForbidden:
            raise
        except LlmspellError as error:
            raise refused(error) from None
        if isinstance(made, dict):
            return made
        result: Object = {
            "messages": [{"role": each.role, "content": content_block(each.part)} for each in made]
        }
        described = next(
            (each.description for each in self._host.catalogue().prompts if each.name == name), ""
        )
        if described:
            result["description"] = described
        return {**result, "resultType": "complete"} if exchange.is_modern else result


def register_prompts(
    server: Server[dict[str, Any]],
    prompts: Prompts,
    exchange_of: Callable[[Context], Exchange],
) -> None:
    """Serve `prompts/*` on a server of the SDK."""

    async def list(context: Context, params: PaginatedRequestParams) -> Object:
        return prompts.list(exchange_of(context), params.cursor)

    async def get(context: Context, params: GetPromptRequestParams) -> Object:
        # As it was sent: a retry has more than the model of the SDK need know.
        return await told(prompts.get(exchange_of(context), dict(context.params or {})))

    server.add_request_handler("prompts/list", PaginatedRequestParams, list)
    server.add_request_handler("prompts/get", GetPromptRequestParams, get)


def _shown(entry: PublishedPrompt) -> Object:
    shown = about(entry)
    if entry.arguments:
        shown["arguments"] = [_argument(each) for each in entry.arguments]
    return shown


def _argument(argument: PromptArgument) -> Object:
    shown: Object = {"name": argument.name}
    if argument.title:
        shown["title"] = argument.title
    if argument.description:
        shown["description"] = argument.description
    shown["required"] = argument.required
    return shown
