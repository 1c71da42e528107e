"""The wire of 2026-07-28 over HTTP: what is answered with what, byte by byte where it counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from llmspell import __version__
from tests.support.mcp import LEGACY, MODERN, SECONDS
from tests.support.mcp_http import RawClient, Served, routing, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
INFO_KEY = "io.modelcontextprotocol/clientInfo"
LEVEL_KEY = "io.modelcontextprotocol/logLevel"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with serving(tmp_path_factory.mktemp("project")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(site: Served) -> AsyncGenerator[RawClient]:
    async with site.client() as found:
        yield found


def problem(response: Any) -> tuple[int, int, Any]:
    """Return the status, the code of the error and the id it is for."""
    body = response.json()
    return response.status_code, body["error"]["code"], body["id"]


async def test_a_quick_call_is_answered_as_json_and_says_which_server_answered(
    client: RawClient,
) -> None:
    answer = await client.call_modern("echo", {"text": "hi"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "mcp-session-id" not in answer.headers
    result = answer.json()["result"]
    assert result["resultType"] == "complete"
    assert result["content"] == [{"type": "text", "text": "hi"}]
    server = result["_meta"]["io.modelcontextprotocol/serverInfo"]
    assert server == {"name": "llmspell", "version": __version__}


async def test_a_call_that_reports_progress_is_a_stream_that_cannot_be_resumed(
    client: RawClient,
) -> None:
    message = client.modern("tools/call", {"name": "steps"}, progressToken="p")
    async with client.streaming(message, {**client.headers, **routing(message)}) as stream:
        events = await stream.rest()
    assert [event.method for event in events] == ["notifications/progress"] * 3 + [""]
    assert {event.data["params"]["progressToken"] for event in events[:-1]} == {"p"}
    assert events[-1].data["id"] == message["id"]
    assert events[-1].data["result"]["content"][0]["text"] == "done"
    assert {event.id for event in events} == {""}


async def test_a_client_that_takes_only_json_gets_the_result_without_the_progress(
    client: RawClient,
) -> None:
    message = client.modern("tools/call", {"name": "steps"}, progressToken="p")
    answer = await client.send_modern(message, {"accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("mcp-method", "tools/list"),
        ("mcp-method", "TOOLS/CALL"),
        ("mcp-method", None),
        ("mcp-name", "count"),
        ("mcp-name", "=?base64?ZWNo?="),
        ("mcp-name", "=?base64?!?="),
        ("mcp-name", None),
        ("mcp-protocol-version", LEGACY),
        ("mcp-protocol-version", "2099-01-01"),
        ("mcp-protocol-version", None),
    ],
)
async def test_a_header_that_is_missing_or_says_otherwise_than_the_body_is_a_mismatch(
    client: RawClient, header: str, value: str | None
) -> None:
    message = client.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    headers = {**client.headers, **routing(message)}
    del headers[header]
    if value is not None:
        headers[header] = value
    answer = await client.http.post("/mcp", json=message, headers=headers)
    assert problem(answer) == (400, -32020, message["id"])


async def test_a_name_beyond_ascii_comes_in_base64(client: RawClient) -> None:
    message = client.modern("tools/call", {"name": "é", "arguments": {}})
    answer = await client.send_modern(message, {"mcp-name": "=?base64?w6k=?="})
    assert problem(answer) == (400, -32602, message["id"])  # the header is right; no such tool


async def test_a_header_that_stands_there_twice_is_a_mismatch(client: RawClient) -> None:
    message = client.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    headers = [*client.headers.items(), *routing(message).items(), ("mcp-name", "echo")]
    answer = await client.http.post("/mcp", json=message, headers=headers)
    assert problem(answer) == (400, -32020, message["id"])


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel"])
async def test_a_request_about_a_task_names_it_in_a_header_too(
    client: RawClient, method: str
) -> None:
    message = client.modern(method, {"taskId": "t"})
    headers = {**client.headers, **routing(message)}
    del headers["mcp-name"]
    answer = await client.http.post("/mcp", json=message, headers=headers)
    assert problem(answer) == (400, -32020, message["id"])


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        (None, -32602),
        ({}, -32602),
        ({CAPABILITIES_KEY: None}, -32602),
        ({CAPABILITIES_KEY: {"elicitation": "yes"}}, -32602),
        ({INFO_KEY: {"name": 7}}, -32602),
        ({LEVEL_KEY: "loud"}, -32602),
        ({"progressToken": {}}, -32602),
        ({"llmspell/session": ""}, -32602),
    ],
    ids=str,
)
async def test_an_envelope_that_does_not_fit_is_refused_every_time(
    client: RawClient, meta: dict[str, Any] | None, code: int
) -> None:
    for _ in range(2):
        message = client.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
        if not meta:
            message["params"]["_meta"] = meta
            if meta is None:
                del message["params"]["_meta"]
        else:
            message["params"]["_meta"] |= meta
        answer = await client.send_modern(message)
        assert problem(answer) == (400, code, message["id"])


async def test_a_version_that_is_not_served_is_refused_with_those_that_are(
    client: RawClient,
) -> None:
    meta: dict[str, Any] = {VERSION_KEY: "2099-01-01"}
    message = client.modern("tools/list", **meta)
    answer = await client.send_modern(message, {"mcp-protocol-version": "2099-01-01"})
    assert problem(answer) == (400, -32022, message["id"])
    assert answer.json()["error"]["data"] == {"requested": "2099-01-01", "supported": [MODERN]}


@pytest.mark.parametrize("arguments", [7, [], "text"])
async def test_arguments_that_are_no_object_are_refused(client: RawClient, arguments: Any) -> None:
    message = client.modern("tools/call", {"name": "echo", "arguments": arguments})
    assert problem(await client.send_modern(message)) == (400, -32602, message["id"])


@pytest.mark.parametrize("method", ["ping", "initialize", "logging/setLevel", "nope/nope"])
async def test_a_method_this_era_does_not_have_is_not_found(client: RawClient, method: str) -> None:
    message = client.modern(method, {"level": "info"})
    assert problem(await client.send_modern(message)) == (404, -32601, message["id"])


async def test_an_unknown_tool_is_a_wrong_parameter(client: RawClient) -> None:
    answer = await client.call_modern("nope")
    assert problem(answer)[:2] == (400, -32602)
    assert "nope" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        [{"jsonrpc": "2.0", "id": 1, "method": "ping"}],
        7,
        {"id": 1, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": None, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": True, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 1.5, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 1, "method": 7},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("version", [MODERN, LEGACY])
async def test_what_is_no_single_message_is_refused(
    client: RawClient, version: str, body: Any
) -> None:
    answer = await client.post(body, {"mcp-protocol-version": version})
    status, code, _ = problem(answer)
    assert (status, code) == (400, -32600)


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'"\\ud800"', b"[" * 50_000, b'{"a":1}x'])
async def test_what_is_no_json_is_a_parse_error(client: RawClient, body: bytes) -> None:
    headers = {**client.headers, "content-type": "application/json"}
    answer = await client.http.post("/mcp", content=body, headers=headers)
    assert problem(answer) == (400, -32700, None)


async def test_a_notification_is_acknowledged_and_one_of_an_unknown_version_is_not(
    client: RawClient,
) -> None:
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    answer = await client.post(message, {"mcp-protocol-version": MODERN})
    assert (answer.status_code, answer.content) == (202, b"")
    answer = await client.post(message, {"mcp-protocol-version": "2099-01-01"})
    assert problem(answer) == (400, -32022, None)


async def test_a_response_answers_nothing_in_this_era(client: RawClient) -> None:
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": {}}
    answer = await client.post(message, {"mcp-protocol-version": MODERN})
    assert problem(answer)[:2] == (400, -32600)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_post_is_allowed_in_this_era(client: RawClient, method: str) -> None:
    headers = {**client.headers, "mcp-protocol-version": MODERN}
    answer = await client.http.request(method, "/mcp", headers=headers)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"accept": "text/html"}, 406),
        ({"accept": "text/event-stream"}, 406),
        ({"accept": "*/*"}, 200),
        ({"accept": "application/*;q=0.5, text/event-stream"}, 200),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
    ],
    ids=str,
)
async def test_what_is_sent_and_taken_must_be_json(
    client: RawClient, headers: dict[str, str], status: int
) -> None:
    message = client.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    answer = await client.http.post(
        "/mcp",
        content=json.dumps(message),
        headers={
            **client.headers,
            "content-type": "application/json",
            **routing(message),
            **headers,
        },
    )
    assert answer.status_code == status


async def test_a_subscription_needs_a_client_that_takes_a_stream(client: RawClient) -> None:
    message = client.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    answer = await client.send_modern(message, {"accept": "application/json"})
    assert answer.status_code == 406


async def test_what_the_key_does_not_allow_is_forbidden_before_the_answer_begins(
    site: Served, client: RawClient
) -> None:
    reader = await site.host.api_keys.add("reader", scopes=["read"])
    message = client.modern("tools/call", {"name": "echo", "arguments": {"text": "x"}})
    headers = {"authorization": f"Bearer {reader.secret}"}
    answer = await client.send_modern(message, headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "access.forbidden"
    assert "cast" in answer.headers["www-authenticate"]


async def test_calls_on_many_connections_do_not_mix_their_answers(client: RawClient) -> None:
    async def call(number: int) -> None:
        answer = await client.call_modern("echo", {"text": f"call {number}"})
        assert answer.json()["result"]["content"][0]["text"] == f"call {number}"

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(call(number) for number in range(30)))
