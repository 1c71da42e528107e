"""The HTTP server: who is let in, what is answered, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from llmspell import __version__
from llmspell.endpoints.app import HttpServer, build_app, serve_http
from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.endpoints.auth.authenticator import Authenticator
from llmspell.endpoints.auth.token import TokenAuthenticator
from llmspell.endpoints.mcp.http.door import MAX_BODY
from llmspell.errors import ConfigError
from tests.support.mcp import ENVELOPE, LEGACY, MODERN, SECONDS, SPELLS, ended_run, open_host
from tests.support.raw_http import Connection

TOKEN = TokenAuthenticator("s3cret")
BEARER = {"authorization": "Bearer s3cret"}
ACCEPT = {"accept": "application/json, text/event-stream"}
UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-protocol": "a2a.v1",
}


@asynccontextmanager
async def serving(
    directory: Path, auth: Authenticator = TOKEN
) -> AsyncGenerator[tuple[HttpServer, httpx2.AsyncClient]]:
    async with open_host(directory) as host:
        server = await serve_http(host, port=0, auth=auth)
        try:
            async with httpx2.AsyncClient(base_url=server.url, timeout=SECONDS) as client:
                yield server, client
        finally:
            async with asyncio.timeout(SECONDS):
                await server.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[HttpServer]:
    """What most tests share: opening a host takes longer than they do."""
    async with serving(tmp_path_factory.mktemp("project")) as (server, _):
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: HttpServer) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=SECONDS) as client:
        yield client


def modern_call(name: str, **params: Any) -> dict[str, Any]:
    """Return what a client of 2026-07-28 posts to call a tool."""
    meta = {**ENVELOPE, **params.pop("meta", {})}
    body = {"name": name, "_meta": meta, **params}
    return {
        "headers": {
            **BEARER,
            **ACCEPT,
            "mcp-protocol-version": MODERN,
            "mcp-method": "tools/call",
            "mcp-name": name,
        },
        "json": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body},
    }


async def test_health_and_readiness_need_no_token(client: httpx2.AsyncClient) -> None:
    health = await client.get("/healthz")
    assert (health.status_code, health.json()) == (
        200,
        {"status": "ok", "version": __version__},
    )
    assert (await client.get("/readyz")).status_code == 200


async def test_an_application_that_has_not_begun_is_not_ready(tmp_path: Path) -> None:
    async with open_host(tmp_path) as host:
        app = build_app(host, auth=TOKEN)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "owner.stopping"
            async with app.router.lifespan_context(app):
                assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503


@pytest.mark.parametrize("path", ["/nope", "/mcp/a/b", "/"])
async def test_an_unknown_path_is_an_error_with_a_code_and_a_hint(
    client: httpx2.AsyncClient, path: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert path in error["message"]
    assert error["code"] == "usage.invalid"
    assert "/mcp" in error["hint"]


async def test_a_wrong_method_is_an_error_that_names_the_right_ones(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.post("/healthz")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.json()["error"]["code"] == "usage.invalid"


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}])
async def test_without_the_token_nothing_is_served(
    client: httpx2.AsyncClient, header: dict[str, str]
) -> None:
    for path in ("/mcp", "/mcp/"):
        answer = await client.post(path, json={}, headers=header)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        error = answer.json()["error"]
        assert error["code"] == "access.unauthenticated"
        assert "token" in error["hint"]
        assert "s3cret" not in answer.text


async def test_a_foreign_host_is_misdirected_whatever_it_asks_for(
    client: httpx2.AsyncClient,
) -> None:
    for path in ("/healthz", "/mcp", "/nope"):
        answer = await client.get(path, headers={**BEARER, "host": "evil.example"})
        assert answer.status_code == 421
        assert answer.json()["error"]["code"] == "access.host"


@pytest.mark.parametrize("path", ["/healthz", "/mcp", "/a2a/ws"])
@pytest.mark.parametrize(
    ("target", "host", "is_answered"),
    [("evil.example", "localhost", False), ("localhost", "evil.example", True)],
)
async def test_the_host_in_the_target_of_a_request_counts_and_the_header_does_not(
    server: HttpServer, path: str, target: str, host: str, is_answered: bool
) -> None:
    upgrade = UPGRADE if path == "/a2a/ws" else {}
    connection = await Connection.to(server.port)
    try:
        async with asyncio.timeout(SECONDS):
            headers = {**BEARER, **upgrade, "host": host}
            answer = await connection.request(
                "GET", f"http://{target}:{server.port}{path}", headers
            )
    finally:
        connection.abort()
    if is_answered:
        # A GET of MCP is one of a session, and there is none.
        assert answer.status == {"/healthz": 200, "/mcp": 400, "/a2a/ws": 101}[path]
    else:
        assert answer.status == (403 if upgrade else 421)


async def test_a_foreign_web_page_is_refused_and_a_local_one_is_not(
    client: httpx2.AsyncClient,
) -> None:
    foreign = await client.get("/healthz", headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert foreign.json()["error"]["code"] == "access.origin"
    local = await client.get("/healthz", headers={"origin": "http://localhost:6274"})
    assert local.status_code == 200


@pytest.mark.parametrize(
    "foreign", [{"host": "evil.example"}, {"origin": "https://evil.example"}], ids=str
)
async def test_a_foreign_page_cannot_open_a_websocket(
    client: httpx2.AsyncClient, foreign: dict[str, str]
) -> None:
    answer = await client.get("/a2a/ws", headers={**BEARER, **UPGRADE, **foreign})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("host", ("localhost", "evil.example")),
        ("host", ("localhost", "localhost")),
        ("authorization", ("Bearer s3cret", "Bearer other")),
        ("content-type", ("application/json", "text/plain")),
        ("origin", ("http://localhost", "http://evil.example")),
        ("mcp-session-id", ("one", "other")),
        ("last-event-id", ("1", "2")),
        ("content-length", ("2", "2")),
        ("content-length", ("2", "3")),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/mcp", "/mcp/words", "/a2a", "/healthz", "/a2a/ws"])
async def test_a_request_that_says_two_things_of_who_asks_or_what_is_refused_at_every_door(
    server: HttpServer, path: str, name: str, values: tuple[str, str]
) -> None:
    fields = {"host": "localhost", **BEARER, "content-type": "application/json"}
    fields |= UPGRADE if path == "/a2a/ws" else {"content-length": "2"}
    lines = [f"{key}: {value}\r\n" for key, value in fields.items() if key != name]
    lines += [f"{name}: {value}\r\n" for value in values]
    connection = await Connection.to(server.port)
    try:
        async with asyncio.timeout(SECONDS):
            await connection.write(f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n{{}}".encode())
            answer = await connection.response()
            assert answer.status == 400
            body = await answer.read()
            if answer.headers["content-type"] == "application/json":
                assert name in json.loads(body)["error"]["message"]
            else:  # found where the request was read
                assert name == "content-length" or path == "/a2a/ws"
    finally:
        connection.abort()


async def test_the_lines_of_a_header_that_is_a_list_are_one_list(
    client: httpx2.AsyncClient,
) -> None:
    request = modern_call("steps", meta={"progressToken": 1})
    headers = [(name, value) for name, value in request.pop("headers").items() if name != "accept"]
    headers += [("accept", "application/json"), ("accept", "text/event-stream")]
    answer = await client.post("/mcp", headers=headers, **request)
    assert answer.headers["content-type"] == "text/event-stream"


async def test_the_other_doors_are_in_the_same_application(client: httpx2.AsyncClient) -> None:
    card = await client.get("/.well-known/agent-card.json")
    assert card.status_code == 200
    assert {skill["id"] for skill in card.json()["skills"]} == set(SPELLS)
    assert (await client.post("/a2a", json={})).status_code == 401


async def test_without_authentication_hosts_are_checked_all_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path, AnonymousAuthenticator()) as (_, client):
        request = modern_call("who")
        del request["headers"]["authorization"]
        answer = await client.post("/mcp", **request)
        assert answer.json()["result"]["structuredContent"]["user"] == "anonymous"
        request["headers"]["host"] = "evil.example"
        assert (await client.post("/mcp", **request)).status_code == 421


async def test_without_authentication_only_loopback_is_served(tmp_path: Path) -> None:
    async with open_host(tmp_path) as host:
        with pytest.raises(ConfigError, match="none"):
            await serve_http(host, bind_host="0.0.0.0", port=0, auth=AnonymousAuthenticator())


async def test_a_port_in_use_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with open_host(tmp_path) as host:
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port}") as refused:
                await serve_http(host, port=port, auth=TOKEN)
    assert "--port" in refused.value.hint


async def test_a_name_that_cannot_be_resolved_is_an_error(tmp_path: Path) -> None:
    async with open_host(tmp_path) as host:
        with pytest.raises(ConfigError, match="no such host"):
            await serve_http(host, bind_host="no such host", port=0, auth=TOKEN)


async def test_a_modern_call_is_answered_as_json(
    server: HttpServer, client: httpx2.AsyncClient
) -> None:
    assert server.port > 0
    for path in ("/mcp", "/mcp/"):
        answer = await client.post(path, **modern_call("count", arguments={"text": "a b c"}))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["result"]["structuredContent"] == {"words": 3}


async def test_blanks_after_a_header_value_do_not_count(server: HttpServer) -> None:
    request = modern_call("echo", arguments={"text": "hi"})
    body = json.dumps(request["json"]).encode()
    headers = request["headers"] | {
        "mcp-name": "echo \t",  # our HTTP client refuses to send such a value
        "host": "localhost",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
    async with asyncio.timeout(SECONDS):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"text":"hi"' in answer


async def test_a_header_that_contradicts_the_body_is_refused(client: httpx2.AsyncClient) -> None:
    request = modern_call("echo", arguments={"text": "hi"})
    request["headers"]["mcp-name"] = "count"
    answer = await client.post("/mcp", **request)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_body_that_is_not_json_is_a_parse_error(client: httpx2.AsyncClient) -> None:
    for version in (MODERN, LEGACY):
        headers = {
            **BEARER,
            **ACCEPT,
            "content-type": "application/json",
            "mcp-protocol-version": version,
        }
        answer = await client.post("/mcp", content=b"{nope", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused_by_name(
    client: httpx2.AsyncClient, chunked: bool
) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "x" * (10 << 20)}).encode()

    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    answer = await client.post(
        "/mcp",
        content=pieces() if chunked else body,
        headers={**BEARER, **ACCEPT, "content-type": "application/json"},
    )
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert error["code"] == "input.too_large"
    assert str(MAX_BODY) in error["message"]
    assert (await client.get("/healthz")).status_code == 200


async def test_a_client_that_hangs_up_takes_its_run_with_it(tmp_path: Path) -> None:
    async with open_host(tmp_path) as host:
        server = await serve_http(host, port=0, auth=TOKEN)
        async with httpx2.AsyncClient(base_url=server.url, timeout=SECONDS) as client:
            request = modern_call("waits", meta={"progressToken": 1})
            async with client.stream("POST", "/mcp", **request) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        assert "notifications/progress" in line
                        break
        assert (await ended_run(host)).state == "canceled"
        await server.close()


async def test_closing_ends_the_streams_that_clients_hold_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, client):
        listening = modern_call("x")
        listening["headers"] |= {"mcp-method": "subscriptions/listen"}
        del listening["headers"]["mcp-name"]
        listening["json"] |= {
            "method": "subscriptions/listen",
            "params": {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE},
        }
        begun = await client.post(
            "/mcp",
            headers={**BEARER, **ACCEPT},
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "initialize",
                "params": {
                    "protocolVersion": LEGACY,
                    "capabilities": {},
                    "clientInfo": {"name": "raw", "version": "1"},
                },
            },
        )
        session = {**BEARER, **ACCEPT, "mcp-session-id": begun.headers["mcp-session-id"]}
        async with (
            client.stream("POST", "/mcp", **listening) as recent,
            client.stream("GET", "/mcp", headers=session) as legacy,
        ):
            lines = recent.aiter_lines()
            async for line in lines:
                if "acknowledged" in line:
                    break
            async with asyncio.timeout(SECONDS):
                await server.close()
                rest = [line async for line in lines if line.startswith("data:")]
                assert json.loads(rest[-1].removeprefix("data:"))["id"] == 1
                assert [line async for line in legacy.aiter_lines() if line] == []


async def test_closing_lets_a_call_under_way_be_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, client):
        request = modern_call("steps", meta={"progressToken": 1})
        async with client.stream("POST", "/mcp", **request) as answer:
            lines = answer.aiter_lines()
            async for line in lines:
                if "notifications/progress" in line:
                    break
            closing = asyncio.ensure_future(server.close())
            rest = [line async for line in lines if line.startswith("data:")]
            result = json.loads(rest[-1].removeprefix("data:"))["result"]
            assert result["content"][0]["text"] == "done"
            await closing


async def test_a_closed_server_is_gone_and_closing_twice_is_no_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, client):
        await server.close()
        await server.close()
        await server.wait()
        with pytest.raises(httpx2.ConnectError):
            await client.get("/healthz")


async def test_no_signal_is_caught(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving(tmp_path):
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert during == before
