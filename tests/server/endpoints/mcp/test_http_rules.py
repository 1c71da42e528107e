"""The rules of 2026-07-28 for a request's headers, against the SDK's own word on each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    InboundLadderRejection,
    classify_inbound_request,
    decode_header_value,
    encode_header_value,
    mcp_param_headers,
)
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    INVALID_PARAMS,
    PROTOCOL_VERSION_META_KEY,
)
from starlette.types import Scope

from llmspell.endpoints.mcp.http.message import Message, read_message
from llmspell.endpoints.mcp.http.request import HttpHeaders
from llmspell.endpoints.mcp.http.rules import MOST_SAID, Clients, ParamHeaders, check_envelope
from tests.support.mcp import ENVELOPE, MODERN

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "other": {"type": "string"},
    },
}
PATHS: dict[tuple[str, ...], str] = {
    ("region",): "Region",
    ("count",): "Count",
    ("dry",): "Dry",
}


def headers_of(*pairs: tuple[str, str]) -> HttpHeaders:
    scope: Scope = {"headers": [(n.lower().encode(), v.encode("latin-1")) for n, v in pairs]}
    return HttpHeaders(scope)


def call(name: str, arguments: dict[str, Any] | None = None) -> Message:
    params = {"name": name, "arguments": arguments or {}, "_meta": {**ENVELOPE}}
    message = read_message({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    assert message is not None
    return message


def code_of(check: Any, *given: Any) -> int | None:
    """Return the code of the error a check raises, or None."""
    try:
        check(*given)
    except MCPError as error:
        return error.code
    return None


@given(st.text(max_size=40))
def test_any_name_survives_its_header(name: str) -> None:
    sent = encode_header_value(name)
    assert sent.isascii()
    assert decode_header_value(sent) == name
    headers = headers_of(
        ("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", sent)
    )
    assert code_of(check_envelope, headers, call(name)) is None


@given(
    st.text(alphabet=st.characters(max_codepoint=255, exclude_categories=("Cc",)), max_size=40),
    st.text(max_size=40),
)
def test_a_header_is_right_exactly_when_it_means_the_name(sent: str, name: str) -> None:
    headers = headers_of(
        ("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", sent)
    )
    is_right = decode_header_value(sent.strip(" \t")) == name
    assert (code_of(check_envelope, headers, call(name)) is None) == is_right


VERSIONS: list[Any] = [MODERN, "2099-01-01", "2025-11-25", None, 7]
CAPABILITIES: list[Any] = [{}, None]
PARTS: dict[str, st.SearchStrategy[Any]] = {
    PROTOCOL_VERSION_META_KEY: st.sampled_from(VERSIONS),
    CLIENT_CAPABILITIES_META_KEY: st.sampled_from(CAPABILITIES),
}
META = st.fixed_dictionaries({}, optional=PARTS)


@given(
    st.one_of(st.none(), META),
    st.sampled_from([MODERN, "2025-11-25", "2099-01-01", ""]),
    st.sampled_from(["tools/list", "tools/call", "x/y"]),
    st.sampled_from(["tools/list", "tools/call", "x/y", "TOOLS/LIST"]),
)
def test_the_short_way_comes_to_the_same_verdict_as_the_sdk(
    meta: dict[str, Any] | None, version: str, method: str, said: str
) -> None:
    params = {} if meta is None else {"_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = headers_of(("mcp-protocol-version", version), ("mcp-method", said))
    verdict = classify_inbound_request(body, headers=headers)
    expected = verdict.code if isinstance(verdict, InboundLadderRejection) else None
    message = read_message(body)
    assert message is not None
    assert code_of(check_envelope, headers, message) == expected


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "region": st.text(),
            "count": st.integers(),
            "dry": st.booleans(),
            "other": st.text(),
        },
    )
)
def test_the_headers_a_client_makes_of_its_arguments_are_right(arguments: dict[str, Any]) -> None:
    rules = ParamHeaders({"tool": SCHEMA}.get)
    sent = headers_of(*mcp_param_headers(PATHS, arguments).items())
    assert code_of(rules.check, call("tool", arguments), sent) is None


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, []),
        ({"region": "eu"}, [("mcp-param-region", "us")]),
        ({"region": "eu"}, [("mcp-param-region", "eu"), ("mcp-param-region", "eu")]),
        ({"region": "eu"}, [("mcp-param-region", "=?base64?ZXU?=")]),
        ({}, [("mcp-param-region", "eu")]),
        ({"count": 7}, [("mcp-param-count", "8")]),
        ({"dry": True}, [("mcp-param-dry", "True")]),
    ],
    ids=str,
)
def test_a_header_that_is_missing_or_wrong_is_a_mismatch(
    arguments: dict[str, Any], headers: list[tuple[str, str]]
) -> None:
    rules = ParamHeaders({"tool": SCHEMA}.get)
    assert code_of(rules.check, call("tool", arguments), headers_of(*headers)) == -32020


def test_a_tool_that_asks_for_no_headers_or_is_not_there_checks_none() -> None:
    plain = {"type": "object", "properties": {"region": {"type": "string"}}}
    wrong = {"type": "object", "properties": {"region": {"type": "number", "x-mcp-header": "R"}}}
    rules = ParamHeaders({"plain": plain, "wrong": wrong}.get)
    for name in ("plain", "wrong", "gone"):
        sent = headers_of(("mcp-param-region", "x"), ("mcp-param-r", "y"))
        assert code_of(rules.check, call(name, {"region": "eu"}), sent) is None


def test_a_schema_that_changes_changes_the_headers() -> None:
    schemas = {"tool": {"type": "object", "properties": {"region": {"type": "string"}}}}
    rules = ParamHeaders(schemas.get)
    assert code_of(rules.check, call("tool", {"region": "eu"}), headers_of()) is None
    schemas["tool"] = SCHEMA
    assert code_of(rules.check, call("tool", {"region": "eu"}), headers_of()) == -32020


def test_what_a_client_says_of_itself_is_no_place_to_keep_things() -> None:
    clients = Clients()
    info = {"name": "c", "version": "1" * MOST_SAID}
    said = {**ENVELOPE, CLIENT_INFO_META_KEY: info}
    message = call("echo")
    message.meta.update(said)
    assert code_of(clients.check_call, message) == INVALID_PARAMS
    assert code_of(clients.of, message.meta) == INVALID_PARAMS
    assert code_of(clients.check_call, call("echo")) is None
