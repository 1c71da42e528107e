"""A request that the SDK's dispatcher has read, as an `Exchange`."""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import INVALID_PARAMS, LOG_LEVEL_META_KEY, ClientCapabilities, Implementation
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from llmspell.endpoints.mcp.exchange import Client, NoBackChannel, client_of
from llmspell.endpoints.mcp.streams import Piped
from llmspell.security.principals import Caller
from llmspell.values import JSON, Object

SESSION_META = "llmspell/session"
"""Key in a request's `_meta` that names the session of the cast."""

CALLER_SCOPE = "llmspell.caller"
"""Key in the ASGI scope under which the HTTP transport leaves the authenticated caller."""

_MAX_SESSION = 256
_RESERVED_META = "io.modelcontextprotocol/"
_OWN_META = ("progressToken",)

Context = ServerRequestContext[Any, Any]
Dispatch = DispatchContext[Any]


class SdkExchange:
    """A request that the SDK's dispatcher has read. See `Exchange`.

    Args:
        dispatch: What the dispatcher knows of it.
        meta: Its `_meta`, as it was sent.
        level: The log level that the client of the connection has set, before 2026-07-28.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        client: Client,
        meta: Object,
        *,
        is_modern: bool,
        level: str | None = None,
    ) -> None:
        metadata = dispatch.message_metadata
        carrier = metadata.request_context if isinstance(metadata, ServerMessageMetadata) else None
        self._dispatch = dispatch
        self._pipe: Piped | None = None
        self.is_modern = is_modern
        self.client = client
        self.meta = meta
        if isinstance(carrier, Piped):
            self._pipe = carrier
            self.caller = caller_at(carrier.caller, client, meta, None)
        elif isinstance(carrier, Request):
            session = carrier.headers.get("mcp-session-id")
            self.caller = caller_at(carrier.scope[CALLER_SCOPE], client, meta, session)
        else:
            raise TypeError(f"a request without a caller: {type(carrier).__name__}")
        asked = meta.get(LOG_LEVEL_META_KEY)
        own = asked if isinstance(asked, str) else None
        self.log_level = own if is_modern else level

    @classmethod
    def of(cls, context: Context, *, level: str | None) -> SdkExchange:
        """Return a request as the SDK's server hands it to a handler."""
        said = context.session.client_params
        meta: Object = dict(context.meta or {})
        token = meta.pop("progress_token", None)
        if token is not None:
            meta["progressToken"] = token  # as it was sent
        return cls(
            context.session._request_outbound,  # pyright: ignore[reportPrivateUsage, reportArgumentType]  # its typed methods validate what spells may say freely; held by a contract test
            client_said(
                said.client_info if said is not None else None, context.session.client_capabilities
            ),
            meta,
            is_modern=context.protocol_version in MODERN_PROTOCOL_VERSIONS,
            level=level,
        )

    @property
    def progress_token(self) -> JSON:
        """The token under which the client wants to hear of progress, or None."""
        return self.meta.get("progressToken")

    @property
    def key(self) -> str | None:
        """The idempotency key that the transport gives this request, or None."""
        return self._pipe.key(self._dispatch.request_id) if self._pipe is not None else None

    @property
    def was_cancelled(self) -> bool:
        """Whether the client has cancelled the request, as opposed to lost its connection."""
        return self._pipe is None or self._pipe.is_cancelled(self._dispatch.request_id)

    def began(self, run_id: str) -> None:
        """Do nothing: who asks again over a pipe is led to the run by the request's key."""

    async def notify(self, method: str, params: Object) -> None:
        """Send a notification that belongs to this request."""
        await self._dispatch.notify(method, params)

    async def request(self, method: str, params: Object) -> Object:
        """Ask the client something and return its result.

        Raises:
            NoBackChannel: There is no way, or the client has left.
            MCPError: The client answered with an error.
        """
        if self.is_modern or not self._dispatch.can_send_request:
            raise NoBackChannel
        try:
            return await self._dispatch.send_raw_request(method, params)
        except NoBackChannelError as error:
            raise NoBackChannel from error


def caller_at(caller: Caller, client: Client, meta: Object, http_session: str | None) -> Caller:
    """Return who calls, with the session of this request and what the client said beside the input.

    The session is `_meta["llmspell/session"]`, else the HTTP session of the
    handshake era, else the principal's default.

    Raises:
        MCPError: The session is not a text of 1 to 256 characters.
    """
    session = http_session
    rest: Object = {
        key: value
        for key, value in meta.items()
        if key not in _OWN_META and not key.startswith(_RESERVED_META)
    }
    named = rest.pop(SESSION_META, None)
    if named is not None:
        if not isinstance(named, str) or not 0 < len(named) <= _MAX_SESSION:
            raise MCPError(
                INVALID_PARAMS,
                f"_meta[{SESSION_META!r}] is a text of 1 to {_MAX_SESSION} characters",
            )
        session = named
    message: Object = {}
    if client.name:
        message["client"] = {"name": client.name, "version": client.version}
    if rest:
        message["meta"] = rest
    return caller.at("mcp", session=session, message=message or None)


def client_said(info: Implementation | None, capabilities: ClientCapabilities | None) -> Client:
    """Return the client that said this of itself, as the SDK has read it."""
    return client_of(
        info.model_dump(by_alias=True) if info is not None else None,
        capabilities.model_dump(by_alias=True, exclude_none=True) if capabilities else {},
    )
