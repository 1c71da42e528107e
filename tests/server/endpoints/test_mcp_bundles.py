"""Bundles over HTTP: `/mcp/NAME` serves the spells of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llmspell.endpoints.app import serve_http
from llmspell.endpoints.auth.token import TokenAuthenticator
from tests.support.mcp import CONTROL_TOOLS, ENVELOPE, LEGACY, MODERN, SECONDS, open_host

SETTINGS = """
[mcp.bundles]
words = ["echo", "count"]
nothing = []
"""
BEARER = {"authorization": "Bearer s3cret"}
ACCEPT = {"accept": "application/json, text/event-stream"}

Object = dict[str, Any]


@asynccontextmanager
async def serving(directory: Path) -> AsyncGenerator[httpx2.AsyncClient]:
    async with open_host(directory, settings=SETTINGS) as host:
        server = await serve_http(host, port=0, auth=TokenAuthenticator("s3cret"))
        headers = {**BEARER, **ACCEPT}
        try:
            async with httpx2.AsyncClient(
                base_url=server.url, timeout=SECONDS, headers=headers
            ) as client:
                yield client
        finally:
            async with asyncio.timeout(SECONDS):
                await server.close()


async def ask(client: httpx2.AsyncClient, path: str, method: str, **params: Any) -> Object:
    headers = {"mcp-protocol-version": MODERN, "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": ENVELOPE}}
    answer = await client.post(path, json=message, headers=headers)
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    return answer.json()


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_bundle_lists_and_casts_its_own_spells(tmp_path: Path, slash: str) -> None:
    async with serving(tmp_path) as client:
        path = f"/mcp/words{slash}"
        listed = await ask(client, path, "tools/list")
        names = [tool["name"] for tool in listed["result"]["tools"]]
        assert names == sorted(["count", "echo", *CONTROL_TOOLS])
        cast = await ask(client, path, "tools/call", name="echo", arguments={"text": "hi"})
        assert cast["result"]["content"][0]["text"] == "hi"
        refused = await ask(client, path, "tools/call", name="who", arguments={})
        assert refused["error"]["code"] == -32602


async def test_a_bundle_says_what_it_has(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        found = await ask(client, "/mcp/words", "server/discover")
        assert "Spells (2)" in found["result"]["instructions"]
        empty = await ask(client, "/mcp/nothing", "server/discover")
        assert "None is published" in empty["result"]["instructions"]


async def test_everything_stays_at_its_place(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        listed = await ask(client, "/mcp", "tools/list")
        assert "who" in [tool["name"] for tool in listed["result"]["tools"]]


async def test_the_handshake_era_has_bundles_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        params: Object = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        answer = await client.post("/mcp/words", json=message)
        session = {"mcp-session-id": answer.headers["mcp-session-id"]}
        listing: Object = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
        listed = await client.post("/mcp/words", json=listing, headers=session)
        assert "count" in listed.text
        assert '"who"' not in listed.text
        # A session is of the bundle it was begun with.
        elsewhere = await client.post("/mcp", json=listing, headers=session)
        assert elsewhere.status_code == 404


async def test_a_bundle_that_is_none_is_said_with_those_that_are(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        answer = await client.post("/mcp/words2", json={})
        assert answer.status_code == 404
        hint = answer.json()["error"]["hint"]
        assert "nothing, words" in hint
        stranger = await client.post("/mcp/words2", json={}, headers={"authorization": ""})
        assert stranger.status_code == 401
        assert "words" not in stranger.text.replace("words2", "")
