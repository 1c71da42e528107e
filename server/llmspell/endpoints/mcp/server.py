"""The MCP adapter: the host's spells on the SDK's low-level server, in both protocol eras.

One `McpEndpoint` serves any number of connections, pipes (`stdio`) and HTTP
(`http`) alike. It maps and decides nothing: arguments are validated, limits
held and runs kept by the host.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from llmspell import __version__
from llmspell.endpoints.mcp.changes import ToolChanges
from llmspell.endpoints.mcp.progress import ProgressReporter
from llmspell.endpoints.mcp.results import error_result, outcome_result
from llmspell.endpoints.mcp.streams import Piped
from llmspell.endpoints.mcp.tools import build_tools
from llmspell.errors import InternalError, LlmspellError, SpellNotFound
from llmspell.host.interface import Catalogue, HostInterface, RunHandle
from llmspell.runs.record import Outcome
from llmspell.security.principals import Caller
from llmspell.values import Object

SESSION_META = "llmspell/session"
"""Key in a request's `_meta` that names the session of the cast."""

CALLER_SCOPE = "llmspell.caller"
"""Key in the ASGI scope under which the HTTP transport leaves the authenticated caller."""

_MAX_SESSION = 256
_RESERVED_META = "io.modelcontextprotocol/"
_FRESH = CacheHint(ttl_ms=1000, scope="private")
"""How long a client may keep a list: short, because a spell changes while its author looks."""

_log = logging.getLogger(__name__)

Context = ServerRequestContext[Any, Any]


class _Server(Server[dict[str, Any]]):
    """The SDK's server, announcing that its list of tools changes.

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
            notification_options or NotificationOptions(tools_changed=True),
            experimental_capabilities,
            extensions,
        )


class McpEndpoint:
    """The host as an MCP server.

    Make it on the event loop that serves; close it when nothing is served any
    more. Several may stand over one host.
    """

    def __init__(self, host: HostInterface) -> None:
        self._host = host
        self._tools = build_tools(host.catalogue())
        self._changes = ToolChanges()
        self._stopping: set[asyncio.Task[None]] = set()
        # Casts whose caller's pipe broke: they go on, and something must hold them.
        self._detached: set[asyncio.Future[Outcome]] = set()
        self.server: Server[dict[str, Any]] = _Server(
            "llmspell",
            version=__version__,
            instructions=self._tools.instructions,
            cache_hints={"tools/list": _FRESH, "server/discover": _FRESH},
            # Without it the SDK runs the whole listing for each HTTP call.
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=self._changes.listen,
        )
        # The SDK puts its OpenTelemetry span here; nothing exports spans.
        self.server.middleware.clear()
        self.server.add_notification_handler(
            "notifications/initialized", NotificationParams, self._changes.initialized
        )
        self._detach = host.on_change(self._changed)

    async def end_streams(self) -> None:
        """End the streams that wait for changes of the list, gracefully."""
        await self._changes.close()

    async def close(self) -> None:
        """Stop following the host. Closing twice is no error."""
        self._detach()
        await self.end_streams()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def _changed(self, catalogue: Catalogue) -> None:
        tools = build_tools(catalogue)
        previous, self._tools = self._tools, tools
        self.server.instructions = tools.instructions
        if tools.modern != previous.modern:
            self._changes.announce()

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        spell = self._tools.spells.get(name)
        return None if spell is None else spell.input_schema

    async def _list_tools(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        if params is not None and params.cursor is not None:
            raise MCPError(INVALID_PARAMS, "unknown cursor: the list has one page")
        modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
        return ListToolsResult(tools=self._tools.modern if modern else self._tools.legacy)

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        spell = self._tools.spells.get(params.name)
        if spell is None:
            raise _unknown_tool(params.name)
        caller = caller_of(context)
        try:
            outcome = await self._cast(context, caller, params.name, params.arguments or {})
        except SpellNotFound:
            raise _unknown_tool(params.name) from None
        except LlmspellError as error:
            return error_result(error)
        except Exception:
            # The edge of the product: the SDK would send the exception's text to the client.
            _log.exception("tools/call of %r failed inside llmspell", params.name)
            return error_result(InternalError(f"casting {params.name!r} failed inside llmspell"))
        modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
        return outcome_result(outcome, spell, objects_only=not modern)

    async def _cast(
        self, context: Context, caller: Caller, name: str, arguments: Object
    ) -> Outcome:
        pipe = context.request if isinstance(context.request, Piped) else None
        if context.meta is not None and context.meta.get("progress_token") is not None:
            return await self._cast_aloud(context, caller, name, arguments, pipe)
        if pipe is None:
            return await self._host.cast(name, arguments, caller=caller)
        key = pipe.key(context.request_id)
        casting = asyncio.ensure_future(self._host.cast(name, arguments, caller=caller, key=key))
        try:
            return await asyncio.shield(casting)
        except asyncio.CancelledError:
            if casting.cancelled():
                raise
            if pipe.take_cancelled(context.request_id):
                casting.cancel()
            self._detached.add(casting)
            casting.add_done_callback(self._forget)
            raise

    async def _cast_aloud(
        self,
        context: Context,
        caller: Caller,
        name: str,
        arguments: Object,
        pipe: Piped | None,
    ) -> Outcome:
        """Cast and report progress meanwhile."""
        key = pipe.key(context.request_id) if pipe is not None else None
        # Shielded: a handle that comes after the client left must still be stopped.
        starting = asyncio.ensure_future(self._host.start(name, arguments, caller=caller, key=key))
        try:
            handle = await asyncio.shield(starting)
            reporter = ProgressReporter(context.session.report_progress)
            async for event in handle.events(until_pause=True):
                await reporter.event(event)
            return await handle.result()
        except BaseException:
            # Nobody else was given the run, so it ends with the request. In a task of its
            # own: a cancelled anyio scope cancels every await of its tasks again.
            if pipe is None or pipe.take_cancelled(context.request_id):
                self._spawn(_stop(starting))
            else:
                starting.add_done_callback(self._forget)
            raise

    def _forget(self, casting: asyncio.Future[Any]) -> None:
        self._detached.discard(casting)
        if not casting.cancelled() and (error := casting.exception()) is not None:
            _log.debug("a cast nobody waits for ended: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)


async def _stop(starting: asyncio.Future[RunHandle]) -> None:
    try:
        await (await starting).cancel()
    except LlmspellError as error:
        # It never began, or has ended: either way nothing is left to stop.
        _log.debug("nothing to stop: %s", error)


def caller_of(context: Context) -> Caller:
    """Return who calls, with the session of this request and what the client said beside the input.

    The session is `_meta["llmspell/session"]`, else the HTTP session of the
    handshake era, else the principal's default.

    Raises:
        MCPError: The session is not a text of 1 to 256 characters.
    """
    carrier = context.request
    session: str | None = None
    if isinstance(carrier, Piped):
        caller = carrier.caller
    elif isinstance(carrier, Request):
        caller = carrier.scope[CALLER_SCOPE]
        session = carrier.headers.get("mcp-session-id")
    else:
        raise TypeError(f"a request without a caller: {type(carrier).__name__}")
    meta: Object = {
        key: value
        for key, value in (context.meta or {}).items()
        if key != "progress_token" and not key.startswith(_RESERVED_META)
    }
    named = meta.pop(SESSION_META, None)
    if named is not None:
        if not isinstance(named, str) or not 0 < len(named) <= _MAX_SESSION:
            raise MCPError(
                INVALID_PARAMS,
                f"_meta[{SESSION_META!r}] is a text of 1 to {_MAX_SESSION} characters",
            )
        session = named
    message: Object = {}
    client = context.session.client_params
    if client is not None:
        message["client"] = {
            "name": client.client_info.name,
            "version": client.client_info.version,
        }
    if meta:
        message["meta"] = meta
    return caller.at("mcp", session=session, message=message or None)


def _unknown_tool(name: str) -> MCPError:
    error = SpellNotFound(f"unknown tool {name!r}", hint="tools/list names what is published")
    return MCPError(INVALID_PARAMS, error.message, {"code": error.code, "hint": error.hint})
