"""The MCP adapter: the host's spells on the SDK's low-level server, in both protocol eras.

One `McpEndpoint` serves any number of connections, pipes (`stdio`) and HTTP
(`http`) alike. It maps and decides nothing: arguments are validated, limits
held and runs kept by the host.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from mcp.server.caching import CacheHint
from mcp.server.connection import Connection
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    EmptyResult,
    NotificationParams,
    PaginatedRequestParams,
    SetLevelRequestParams,
)

from llmspell import __version__
from llmspell.endpoints.mcp.calls import Calls
from llmspell.endpoints.mcp.changes import Changes, connection_of
from llmspell.endpoints.mcp.completion import register_completion
from llmspell.endpoints.mcp.control_tools import ControlTools
from llmspell.endpoints.mcp.exchange import TASKS, Exchange
from llmspell.endpoints.mcp.profiles import Profiles
from llmspell.endpoints.mcp.prompts import Prompts, register_prompts
from llmspell.endpoints.mcp.reading import Reading
from llmspell.endpoints.mcp.resources import Resources, register_resources
from llmspell.endpoints.mcp.results import error_result
from llmspell.endpoints.mcp.sdk_exchange import CALLER_SCOPE, Context, SdkExchange
from llmspell.endpoints.mcp.skills import register_skills
from llmspell.endpoints.mcp.tasks import TaskParams, Tasks, TaskUpdateParams
from llmspell.endpoints.mcp.tools import ToolList
from llmspell.errors import AccessForbidden, InternalError, LlmspellError
from llmspell.host.catalogue import Catalogue, Published
from llmspell.host.interface import DoorHost
from llmspell.values import Object

__all__ = ["CALLER_SCOPE", "McpEndpoint"]

_FRESH = CacheHint(ttl_ms=1000, scope="private")
"""How long a client may keep a list: short, because a spell changes while its author looks."""

_log = logging.getLogger(__name__)

_P = TypeVar("_P", bound=TaskParams)


class _Server(Server[dict[str, Any]]):
    """The SDK's server, announcing that its lists change.

    The HTTP session manager makes the options of the handshake itself, so they
    are set where it asks for them.
    """

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        return super().create_initialization_options(
            notification_options
            or NotificationOptions(
                tools_changed=True, prompts_changed=True, resources_changed=True
            ),
            experimental_capabilities,
            extensions,
        )


class McpEndpoint:
    """The host as an MCP server.

    Make it on the event loop that serves; close it when nothing is served any
    more. Several may stand over one host.

    Args:
        bundle: Name of the bundle whose spells it serves; "" = everything published.
    """

    def __init__(self, host: DoorHost, *, bundle: str = "") -> None:
        self._host = host
        self._bundle = bundle
        self._profiles = Profiles(host.project.settings.mcp)
        self.tools = self._tools_of(host.catalogue())
        self.log_levels: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()
        """The least level of log messages that each client before 2026-07-28 asked for."""
        self.tasks = Tasks(host, self._published)
        self.changes = Changes(host, exchange_of=self.exchange, task_of=self.tasks.of)
        self.calls = Calls(
            host,
            self._published,
            tasks=self.tasks,
            wait_of=lambda exchange: self.tools.profile(exchange.client).wait,
            offers=lambda name: self.tools.offers(name),
            task_after=host.project.settings.mcp.task_after,
        )
        self.control_tools = ControlTools(self.calls, lambda: self.tools)
        self.server: Server[dict[str, Any]] = _Server(
            "llmspell",
            version=__version__,
            instructions=self.tools.instructions,
            cache_hints={"tools/list": _FRESH, "server/discover": _FRESH},
            # Without it the SDK runs the whole listing for each HTTP call.
            get_tool_input_schema=self.input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=self.changes.listen,
        )
        # The SDK puts its OpenTelemetry span here; nothing exports spans.
        self.server.middleware.clear()
        self.server.extensions[TASKS] = {}
        handle = self.server.add_request_handler
        handle("tasks/get", TaskParams, self._task_handler(self.tasks.get))
        handle("tasks/update", TaskUpdateParams, self._task_handler(self.tasks.update))
        handle("tasks/cancel", TaskParams, self._task_handler(self.tasks.cancel))
        self._reading = Reading(host, self.calls.rounds)
        resources = Resources(host, self._reading, bundle=bundle)
        register_resources(self.server, resources, self.changes, self.exchange)
        prompts = Prompts(host, self._reading, bundle=bundle)
        register_prompts(self.server, prompts, self.exchange)
        register_completion(self.server, host, self.exchange)
        register_skills(self.server, host, self.exchange)
        handle("logging/setLevel", SetLevelRequestParams, self._set_log_level)
        self.server.add_notification_handler(
            "notifications/initialized", NotificationParams, self.changes.initialized
        )
        self._detach = host.on_change(self._changed)

    async def end_streams(self) -> None:
        """End the streams that wait for changes, gracefully."""
        await self.changes.end_streams()

    async def close(self) -> None:
        """Stop following the host. Closing twice is no error."""
        self._detach()
        await self.changes.close()
        await self.calls.close()
        await self._reading.close()

    def exchange(self, context: Context) -> SdkExchange:
        """Return a request of the SDK's as the handlers of this adapter see it."""
        return SdkExchange.of(context, level=self.log_levels.get(connection_of(context)))

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return the input schema of a tool, or None when there is no such tool."""
        return self.tools.input_schema(name)

    async def call_tool(self, exchange: Exchange, params: Object) -> Object:
        """Serve `tools/call`: return the result body, complete for the protocol of the exchange.

        Raises:
            MCPError: The params are none, or see `Calls.cast`.
            AccessForbidden: The caller may not cast it.
        """
        name: Any = params.get("name")
        arguments: Any = params.get("arguments")
        state: Any = params.get("requestState")
        responses: Any = params.get("inputResponses")
        if not isinstance(name, str):
            raise MCPError(INVALID_PARAMS, "tools/call needs the name of a tool")
        if not isinstance(arguments, dict | None):
            raise MCPError(INVALID_PARAMS, "the arguments of tools/call are an object")
        if not isinstance(state, str | None) or not isinstance(responses, dict | None):
            raise MCPError(INVALID_PARAMS, "requestState is a text, inputResponses an object")
        perform = self.control_tools.call if self.tools.offers(name) else self.calls.cast
        try:
            return await perform(
                exchange,
                name,
                cast(Object, arguments or {}),
                state=state,
                responses=cast(Object, responses or {}),
            )
        except (MCPError, AccessForbidden):
            raise
        except LlmspellError as error:
            return error_result(error, is_modern=exchange.is_modern)
        except Exception:
            # The edge of the product: the SDK would send the exception's text to the client.
            _log.exception("tools/call of %r failed inside llmspell", name)
            failure = InternalError(f"casting {name!r} failed inside llmspell")
            return error_result(failure, is_modern=exchange.is_modern)

    # -- the SDK's handlers

    def _published(self, name: str) -> Published | None:
        return self.tools.get(name)

    def _tools_of(self, catalogue: Catalogue) -> ToolList:
        settings = self._host.project.settings.mcp
        return ToolList(catalogue, settings, profiles=self._profiles, bundle=self._bundle)

    def _changed(self, catalogue: Catalogue) -> None:
        tools = self._tools_of(catalogue)
        previous, self.tools = self.tools, tools
        self.server.instructions = tools.instructions
        if not tools.same_as(previous):
            self.changes.announce("tools")
        self.changes.catalogue_changed(catalogue)

    async def _list_tools(self, context: Context, params: PaginatedRequestParams | None) -> Any:
        exchange = self.exchange(context)
        cursor = params.cursor if params is not None else None
        return self.tools.listing(exchange.client, exchange.is_modern, cursor)

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> Any:
        # As it was sent: the model of the params would have to be taken apart again.
        return await self.call_tool(self.exchange(context), dict(context.params or {}))

    async def _set_log_level(self, context: Context, params: SetLevelRequestParams) -> EmptyResult:
        self.log_levels[connection_of(context)] = params.level
        return EmptyResult()

    def _task_handler(
        self, serve: Callable[[Exchange, _P], Awaitable[Object]]
    ) -> Callable[[Context, _P], Awaitable[Object]]:
        async def handle(context: Context, params: _P) -> Object:
            return await serve(self.exchange(context), params)

        return handle
