"""What a request of 2026-07-28 must look like: its envelope, and the headers that repeat its body.

The common case is told by a few comparisons; whatever is unusual is judged by
the SDK, so that its verdict is the one everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PARAM_HEADER_PREFIX,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    InboundLadderRejection,
    classify_inbound_request,
    decode_header_value,
    find_invalid_x_mcp_header,
    unsupported_protocol_version_rejection,
    validate_mcp_param_headers,
    x_mcp_header_map,
)
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from mcp_types.methods import validate_client_request
from mcp_types.version import LATEST_MODERN_VERSION

from llmspell.endpoints.mcp.exchange import Client, client_of
from llmspell.endpoints.mcp.http.answers import encode
from llmspell.endpoints.mcp.http.message import Message, is_object
from llmspell.endpoints.mcp.http.request import HttpHeaders
from llmspell.endpoints.mcp.progress import LEVELS
from llmspell.values import Object

_NAMED: Mapping[str, str] = {
    **NAME_BEARING_METHODS,
    "tasks/get": "taskId",  # SEP-2663, "Streamable HTTP: Routing Headers"
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_ROUTING = (MCP_PROTOCOL_VERSION_HEADER, MCP_METHOD_HEADER, MCP_NAME_HEADER)
_PLAIN_CALL = frozenset({"name", "arguments", "_meta"})
_MOST_CLIENTS = 1024

MOST_SAID = 64 << 10
"""Most bytes that a client may say of itself: it is remembered, and stands in the record of each
of its runs."""


def is_modern(meta: Object) -> bool:
    """Return whether a request's `_meta` is an envelope of 2026-07-28, whole or not."""
    return PROTOCOL_VERSION_META_KEY in meta


def check_version(headers: HttpHeaders) -> None:
    """Refuse a message in a version that is not served.

    Raises:
        MCPError: It is not served.
    """
    asked = headers.get(MCP_PROTOCOL_VERSION_HEADER, "")
    _raise(unsupported_protocol_version_rejection(asked))


def check_envelope(headers: HttpHeaders, message: Message) -> None:
    """Check the envelope in `_meta`, and that the headers say what the body says (SEP-2243).

    Raises:
        MCPError: They do not; its code is that of the rule it breaks.
    """
    for name in _ROUTING:
        if name in headers.repeated:
            raise MCPError(HEADER_MISMATCH, f"{name} header appears more than once")
    if not _is_plain(headers, message):
        verdict = classify_inbound_request(message.body, headers=headers)
        _raise(verdict if isinstance(verdict, InboundLadderRejection) else None)
    named = _NAMED.get(message.method)
    if named is not None and message.params is not None:
        value = message.params.get(named)
        if value is not None and decode_header_value(headers.get(MCP_NAME_HEADER)) != value:
            raise MCPError(
                HEADER_MISMATCH,
                f"{MCP_NAME_HEADER} header does not match the request body's {named!r} parameter",
            )


def _is_plain(headers: HttpHeaders, message: Message) -> bool:
    """Return whether nothing is wrong, as far as this can tell."""
    meta = message.meta
    return (
        meta.get(PROTOCOL_VERSION_META_KEY) == LATEST_MODERN_VERSION
        and headers.get(MCP_PROTOCOL_VERSION_HEADER) == LATEST_MODERN_VERSION
        and headers.get(MCP_METHOD_HEADER) == message.method
        and CLIENT_CAPABILITIES_META_KEY in meta
    )


class Clients:
    """The clients that have called, by what they say of themselves.

    What a client says is judged by the SDK when it is said first; it says the
    same with every request.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Client] = {}

    def check_call(self, message: Message) -> Client:
        """Check the params of a `tools/call` and return who calls.

        Raises:
            MCPError: The client says too much of itself.
            ValidationError: They are not those of a `tools/call`.
        """
        meta = message.meta
        said = [meta.get(CLIENT_INFO_META_KEY), meta[CLIENT_CAPABILITIES_META_KEY]]
        key = encode(said)
        client = self._known.get(key)
        if client is not None and _is_plain_call(message.params or {}, meta):
            return client
        _check_size(key)
        validate_client_request("tools/call", LATEST_MODERN_VERSION, message.params)
        return self._learn(key, said)

    def of(self, meta: Object) -> Client:
        """Return who calls another method. Its params are checked by whoever serves it.

        Raises:
            MCPError: The client says too much of itself.
        """
        info, capabilities = meta.get(CLIENT_INFO_META_KEY), meta[CLIENT_CAPABILITIES_META_KEY]
        _check_size(encode([info, capabilities]))
        return client_of(info, capabilities if is_object(capabilities) else {})

    def _learn(self, key: bytes, said: list[Any]) -> Client:
        if len(self._known) >= _MOST_CLIENTS:
            del self._known[next(iter(self._known))]
        client = self._known[key] = client_of(*said)
        return client


def _check_size(said: bytes) -> None:
    if len(said) > MOST_SAID:
        told = f"what a client says of itself is at most {MOST_SAID} bytes"
        raise MCPError(INVALID_PARAMS, told)


def _is_plain_call(params: Object, meta: Object) -> bool:
    """Return whether the params are those of a call that is no retry, with nothing unusual."""
    token = meta.get("progressToken", 0)
    level = meta.get(LOG_LEVEL_META_KEY)
    return (
        params.keys() <= _PLAIN_CALL
        and isinstance(params.get("name"), str)
        and isinstance(params.get("arguments", {}), dict)
        and isinstance(token, str | int)
        and not isinstance(token, bool)
        and (level is None or level in LEVELS)
    )


class ParamHeaders:
    """The headers `Mcp-Param-*`, as the tools' input schemas ask for them (`x-mcp-header`).

    Args:
        schema_of: Returns the input schema of a tool, or None. The same object is taken for
            the same schema.
    """

    def __init__(self, schema_of: Callable[[str], Mapping[str, Any] | None]) -> None:
        self._schema_of = schema_of
        self._headers: dict[str, tuple[Mapping[str, Any], frozenset[str]]] = {}

    def check(self, message: Message, headers: HttpHeaders) -> None:
        """Check the headers of a `tools/call` against its arguments.

        Raises:
            MCPError: One is missing, too many, or says something else.
        """
        params = message.params or {}
        name = params["name"]
        schema = self._schema_of(name)
        if schema is None:
            return
        known = self._headers.get(name)
        if known is None or known[0] is not schema:
            known = self._headers[name] = (schema, _declared(schema))
        declared = known[1]
        if not declared:
            return
        twice = declared & headers.repeated
        if twice:
            raise MCPError(HEADER_MISMATCH, f"{min(twice)} header appears more than once")
        _raise(validate_mcp_param_headers(schema, params.get("arguments") or {}, headers))


def _declared(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the headers a schema asks for; none when it does so wrongly."""
    if find_invalid_x_mcp_header(schema) is not None:
        return frozenset()
    return frozenset(
        f"{MCP_PARAM_HEADER_PREFIX}{token}".lower() for token in x_mcp_header_map(schema).values()
    )


def _raise(rejection: InboundLadderRejection | None) -> None:
    if rejection is not None:
        raise MCPError(rejection.code, rejection.message, rejection.data)
