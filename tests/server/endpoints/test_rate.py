"""One principal too often: what each door answers, and that the others are served meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from llmspell.clock import ManualClock
from llmspell.endpoints.app import HttpServer, serve_http
from llmspell.endpoints.auth.keys import KeyAuthenticator
from llmspell.endpoints.limits import RateLimit
from llmspell.host.host import Host
from tests.support.a2a import SECONDS, open_host

LIST: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
A2A = {"a2a-version": "1.0"}
MCP = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


class Served:
    """A server that lets a principal ask three times."""

    def __init__(self, host: Host, server: HttpServer, client: httpx2.AsyncClient) -> None:
        self.host, self.server, self.client = host, server, client
        self.clock = ManualClock()

    async def key(self) -> dict[str, str]:
        made = await self.host.api_keys.add("test")
        return {"authorization": f"Bearer {made.secret}"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served]:
    clock = ManualClock()
    async with asyncio.timeout(SECONDS), open_host(tmp_path, "echo") as host:
        auth = KeyAuthenticator(host.api_keys)
        server = await serve_http(host, port=0, auth=auth, rate=RateLimit(3, clock))
        async with httpx2.AsyncClient(base_url=server.url, timeout=SECONDS) as client:
            served = Served(host, server, client)
            served.clock = clock
            yield served
        await server.close()


async def test_every_door_counts_for_the_same_principal(served: Served) -> None:
    hers, his = await served.key(), await served.key()
    assert (await served.client.post("/a2a", json=LIST, headers={**hers, **A2A})).status_code == 200
    for _ in range(2):
        answer = await served.client.post("/mcp", content=b"{", headers={**hers, **MCP})
        assert answer.status_code == 400
    for path, headers in (("/a2a", A2A), ("/mcp", MCP)):
        refused = await served.client.post(path, json=LIST, headers={**hers, **headers})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "20"
        assert refused.json()["error"]["code"] == "access.rate_limited"
    assert (await served.client.post("/a2a", json=LIST, headers={**his, **A2A})).status_code == 200
    await served.clock.advance(20)
    assert (await served.client.post("/a2a", json=LIST, headers={**hers, **A2A})).status_code == 200


async def test_each_request_on_a_socket_counts(served: Served) -> None:
    url = f"ws{served.server.url.removeprefix('http')}/a2a/ws"
    headers = {**await served.key(), **A2A}
    async with connect(
        url, subprotocols=[Subprotocol("a2a.v1")], additional_headers=headers, proxy=None
    ) as socket:
        answers: list[dict[str, Any]] = []
        for number in range(4):  # the upgrade was the first
            await socket.send(json.dumps({**LIST, "id": number}))
            answers.append(json.loads(await socket.recv()))
    assert ["error" in answer for answer in answers] == [False, False, True, True]
    detail = answers[2]["error"]["data"][0]["metadata"]
    assert (detail["code"], detail["retryable"]) == ("access.rate_limited", "true")


async def test_guessing_keys_ends_in_too_many_requests(served: Served) -> None:
    statuses = [
        (await served.client.post("/mcp", headers={"authorization": f"Bearer lsk_{n}"})).status_code
        for n in range(70)
    ]
    assert set(statuses[:60]) == {401}
    assert 429 in statuses[60:]
    anonymous = await served.client.post("/mcp")
    assert anonymous.status_code == 401


async def test_what_a_browser_must_not_guess_is_said_on_every_answer(served: Served) -> None:
    for path in ("/healthz", "/mcp", "/nothing"):
        headers = (await served.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
