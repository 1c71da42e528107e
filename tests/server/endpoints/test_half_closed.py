"""Clients that close their side once they have said all: what is soon answered is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.a2a import frame, message
from tests.support.mcp import SECONDS
from tests.support.mcp_http import RawClient, Served, routing, serving
from tests.support.raw_http import request_bytes


@asynccontextmanager
async def connected(
    site: Served,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answers(site: Served, *requests: bytes) -> bytes:
    """Send requests, close the side they went by, and return all that comes back."""
    async with asyncio.timeout(SECONDS), connected(site) as (reader, writer):
        writer.write(b"".join(requests))
        writer.write_eof()
        return await reader.read()


def modern_call(client: RawClient, name: str, **meta: int) -> bytes:
    asked = client.modern("tools/call", {"name": name, "arguments": {}}, **meta)
    return post("/mcp", {**client.headers, **routing(asked)}, json.dumps(asked))


def post(path: str, headers: dict[str, str], body: str) -> bytes:
    fields = {**headers, "content-type": "application/json"}
    return request_bytes("POST", path, fields, body.encode())


@pytest.mark.parametrize("door", ["modern", "session", "a2a", "healthz"])
async def test_a_request_that_came_whole_is_answered_and_the_connection_ends(
    tmp_path: Path, door: str
) -> None:
    async with serving(tmp_path) as site, site.client() as client:
        await client.initialize()
        a2a = frame("u", "SendMessage", message("go", skill="let_go"))
        requests = {
            "modern": modern_call(client, "let_go"),
            "session": post("/mcp", client.in_session, json.dumps(client.call("let_go"))),
            "a2a": post("/a2a", {**client.headers, "a2a-version": "1.0"}, a2a),
            "healthz": request_bytes("GET", "/healthz", {}),
        }
        answer = await answers(site, requests[door])
        assert answer.startswith(b"HTTP/1.1 200 ")
        json.loads(answer.partition(b"\r\n\r\n")[2])


async def test_requests_behind_one_another_are_all_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        told = await answers(site, *[request_bytes("GET", "/healthz", {})] * 3)
        assert told.count(b'{"status":"ok"') == 3


async def test_a_request_that_did_not_come_whole_is_not_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.client() as client:
        assert await answers(site, modern_call(client, "let_go")[:-1]) == b""


async def test_a_call_that_takes_longer_is_one_whose_client_left(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.client() as client:
        assert await answers(site, modern_call(client, "held")) == b""
        assert (await site.ended_run()).state == "canceled"


async def test_a_stream_under_way_is_left_by_its_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.client() as client:
        async with asyncio.timeout(SECONDS), connected(site) as (reader, writer):
            writer.write(modern_call(client, "held", progressToken=1))
            await reader.readuntil(b"notifications/progress")
            writer.write_eof()
            await reader.read()
        assert (await site.ended_run()).state == "canceled"
