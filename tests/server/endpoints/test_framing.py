"""What a request is and where it ends: hosts in targets, offers of other protocols, no requests.

Java's HTTP client offers HTTP/2 with its first request to a server, whatever that is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from llmspell.endpoints.framing import take_authority
from tests.support.mcp import SECONDS
from tests.support.mcp_http import RawClient, Served, routing, serving
from tests.support.raw_http import Connection, request_bytes

HOST: list[tuple[bytes, bytes]] = [(b"host", b"localhost")]
OTHER: list[tuple[bytes, bytes]] = [(b"accept", b"*/*")]
H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"}


@asynccontextmanager
async def connected(site: Served) -> AsyncGenerator[Connection]:
    connection = await Connection.to(site.server.port)
    try:
        async with asyncio.timeout(SECONDS):
            yield connection
    finally:
        connection.abort()


def echo(client: RawClient, text: str, **more: str) -> bytes:
    asked = client.modern("tools/call", {"name": "echo", "arguments": {"text": text}})
    headers = {**client.headers, **routing(asked), "content-type": "application/json", **more}
    return request_bytes("POST", "/mcp", headers, json.dumps(asked).encode())


async def said(connection: Connection) -> str:
    answer = await connection.response()
    body = await answer.read()
    assert answer.status == 200, body
    return json.loads(body)["result"]["content"][0]["text"]


@pytest.mark.parametrize("pieces", [1, 2, 400], ids=str)
async def test_a_request_that_offers_another_protocol_is_served_with_its_body(
    tmp_path: Path, pieces: int
) -> None:
    async with serving(tmp_path) as site, site.client() as client, connected(site) as connection:
        request = echo(client, "one", **H2C)
        # The body in a piece of its own; or the head in many.
        size = {1: len(request), 2: request.index(b"{"), 400: 1 + len(request) // 400}[pieces]
        for start in range(0, len(request), size):
            await connection.write(request[start : start + size])
            await asyncio.sleep(0)
        assert await said(connection) == "one"
        await connection.write(echo(client, "two"))
        assert await said(connection) == "two"


async def test_many_that_offer_it_at_once_are_served_in_their_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.client() as client, connected(site) as connection:
        texts = [str(number) for number in range(20)]
        await connection.write(b"".join(echo(client, text, **H2C) for text in texts))
        assert [await said(connection) for _ in texts] == texts


async def test_a_request_in_the_body_of_one_that_offers_it_is_no_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, connected(site) as connection:
        inner = request_bytes("GET", "/healthz", {})
        await connection.write(request_bytes("POST", "/healthz", H2C, inner))
        first = await connection.response()
        assert (first.status, await first.read() != b"") == (405, True)
        await connection.write(request_bytes("GET", "/nope", {"connection": "close"}))
        second = await connection.response()
        assert (second.status, await second.read() != b"") == (404, True)
        assert await connection.is_ended()


async def test_a_tunnel_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, connected(site) as connection:
        answer = await connection.request("CONNECT", "localhost:80", {})
        assert answer.status == 400
        await answer.read()
        assert await connection.is_ended()


async def test_what_is_no_request_is_not_answered_in_the_place_of_one_before(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site, site.client() as client, connected(site) as connection:
        asked = client.modern("tools/call", {"name": "held", "arguments": {}})
        headers = {**client.headers, **routing(asked), "content-type": "application/json"}
        body = json.dumps(asked).encode()
        await connection.write(request_bytes("POST", "/mcp", headers, body) + b"no request\r\n\r\n")
        with suppress(ConnectionError):
            assert await connection.is_ended()
        assert (await site.ended_run()).state == "canceled"


@pytest.mark.parametrize(
    ("target", "rest", "host"),
    [
        (b"http://evil.example/mcp?a=b", b"/mcp?a=b", b"evil.example"),
        (b"HTTPS://Evil.example:80/", b"/", b"Evil.example:80"),
        (b"http://evil.example", b"/", b"evil.example"),
        (b"http://evil.example?a=/b", b"/?a=/b", b"evil.example"),
        (b"http:///mcp", b"/mcp", b""),
        (b"http://[::1]:7777/mcp", b"/mcp", b"[::1]:7777"),
        (b"http://evil.example@localhost/mcp", b"/mcp", b"evil.example@localhost"),
    ],
)
def test_a_target_with_a_host_loses_it_to_the_header(
    target: bytes, rest: bytes, host: bytes
) -> None:
    for headers in ([*OTHER, *HOST], [*OTHER]):
        assert take_authority(target, headers) == rest
        assert headers == [*OTHER, (b"host", host)]


@pytest.mark.parametrize("target", [b"/mcp", b"//evil.example/mcp", b"*", b"evil.example:80", b""])
def test_any_other_target_is_left_as_it_is(target: bytes) -> None:
    headers = [*HOST]
    assert take_authority(target, headers) == target
    assert headers == HOST


def test_hosts_that_stand_there_twice_stay_to_be_refused() -> None:
    headers = [*HOST, *HOST]
    take_authority(b"http://localhost/mcp", headers)
    assert headers == [*HOST, *HOST]
