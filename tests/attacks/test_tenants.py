"""Bearers of API keys over HTTP: no tenant, key or scope reaches beyond its own."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from llmspell.endpoints.app import HttpServer, serve_http
from llmspell.endpoints.auth.keys import KeyAuthenticator
from llmspell.errors import AccessForbidden
from llmspell.host.host import Host
from llmspell.security.principals import Caller
from tests.support.a2a import message, open_host
from tests.support.mcp import ENVELOPE, LEGACY, MODERN

SECONDS = 20.0

SPELLS = {
    "note": """
-- Keep a text in every scope of state, and return what was there.
return Spell.create {
  input = { put = Schema.string("What to keep", { optional = true }) },
  run = function(input)
    local found = {
      spell = State:get("note", "-"), user = State.user:get("note", "-"),
      shared = State.shared:get("note", "-"),
    }
    if input.put then
      for _, scope in ipairs { State, State.user, State.shared } do scope:set("note", input.put) end
    end
    return found
  end,
}
""",
    "ask": """
-- Asks, and says what it was told.
return Spell.create {
  input = {},
  run = function(_, ctx)
    return ctx:ask({ message = "Which?", schema = { text = Schema.string "Any" } }).text
  end,
}
""",
}

_ids = itertools.count(1)


@dataclass
class House:
    host: Host
    server: HttpServer
    http: httpx2.AsyncClient

    async def key(
        self, tenant: str = "acme", scopes: Sequence[str] | None = None
    ) -> tuple[str, str]:
        """Make a key, and return its id and secret."""
        made = await self.host.api_keys.add("test", tenant=tenant, scopes=scopes)
        return made.key.id, made.secret

    async def ask(self, key: str, method: str, params: dict[str, Any]) -> httpx2.Response:
        """Send an A2A request as the bearer of a key."""
        body = {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": params}
        headers = {"authorization": f"Bearer {key}", "a2a-version": "1.0"}
        return await self.http.post("/a2a", json=body, headers=headers)

    async def begin(self, key: str) -> str:
        """Begin a run that waits for an answer, and return its id."""
        answer = await self.ask(key, "SendMessage", message({"data": {}}, skill="ask"))
        task = answer.json()["result"]["task"]
        assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        return task["id"]

    async def call(self, key: str, tool: str, arguments: dict[str, Any]) -> httpx2.Response:
        """Call an MCP tool as the bearer of a key."""
        return await self.post(key, "tools/call", {"name": tool, "arguments": arguments}, tool)

    async def post(
        self, key: str, method: str, params: dict[str, Any], name: str
    ) -> httpx2.Response:
        """Send an MCP request as the bearer of a key."""
        headers = {
            "authorization": f"Bearer {key}",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
            "mcp-name": name,
        }
        asked = {"method": method, "params": {**params, "_meta": ENVELOPE}}
        body = {"jsonrpc": "2.0", "id": next(_ids), **asked}
        return await self.http.post("/mcp", json=body, headers=headers)

    async def noted(self, key: str, put: str | None = None) -> dict[str, str]:
        answer = await self.call(key, "note", {"put": put} if put else {})
        return json.loads(answer.json()["result"]["content"][0]["text"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with asyncio.timeout(SECONDS), open_host(tmp_path, *SPELLS, spells=SPELLS) as host:
        server = await serve_http(host, port=0, auth=KeyAuthenticator(host.api_keys))
        async with httpx2.AsyncClient(base_url=server.url, timeout=SECONDS) as http:
            yield House(host, server, http)
        await server.close()


NOTHING = {"spell": "-", "user": "-", "shared": "-"}


async def test_state_is_seen_in_the_tenant_it_belongs_to(house: House) -> None:
    _, one = await house.key("acme")
    _, same = await house.key("acme")
    _, other = await house.key("other")
    assert await house.noted(one, "hers") == NOTHING
    assert await house.noted(one) == {"spell": "hers", "user": "hers", "shared": "hers"}
    assert await house.noted(other) == NOTHING
    # Another key of the tenant is another principal: what the tenant shares, and no more.
    assert await house.noted(same) == {"spell": "hers", "user": "-", "shared": "hers"}


async def test_runs_are_seen_by_the_key_that_began_them(house: House) -> None:
    _, one = await house.key("acme")
    keys = [(await house.key(tenant))[1] for tenant in ("acme", "other", "default")]
    task = await house.begin(one)
    for other in keys:
        assert (await house.ask(other, "ListTasks", {})).json()["result"]["tasks"] == []
        for method in ("GetTask", "CancelTask", "SubscribeToTask"):
            error = (await house.ask(other, method, {"id": task})).json()["error"]
            assert error["code"] == -32001, method
        answered = message("mine", id=f"m-{other}", taskId=task)
        assert (await house.ask(other, "SendMessage", answered)).json()["error"]["code"] == -32001
        result = (await house.call(other, "run_result", {"run_id": task})).json()["result"]
        assert result["isError"]
        assert "run.not_found" in json.dumps(result)
    found = (await house.ask(one, "GetTask", {"id": task})).json()["result"]
    assert found["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"


async def test_a_session_of_one_key_is_none_for_another(house: House) -> None:
    _, one = await house.key()
    _, other = await house.key()
    accept = {"accept": "application/json, text/event-stream"}
    begun = await house.http.post(
        "/mcp",
        headers={**accept, "authorization": f"Bearer {one}"},
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
    session = {**accept, "mcp-session-id": begun.headers["mcp-session-id"]}
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    statuses = [
        (
            await house.http.post(
                "/mcp", json=ping, headers={**session, "authorization": f"Bearer {key}"}
            )
        ).status_code
        for key in (one, other)
    ]
    assert statuses == [200, 404]


async def test_a_key_casts_what_its_scopes_name_and_is_told_what_it_lacks(house: House) -> None:
    _, narrow = await house.key(scopes=["cast:note"])
    assert (await house.call(narrow, "note", {})).status_code == 200
    for refused in (
        await house.call(narrow, "ask", {}),
        await house.call(narrow, "cast", {"name": "ask", "input": {}}),
        await house.ask(narrow, "SendMessage", message({"data": {}}, skill="ask")),
        await house.ask(narrow, "SendStreamingMessage", message({"data": {}}, skill="ask", id="2")),
    ):
        assert refused.status_code == 403
        assert refused.json()["error"]["data"]["scopes"] == ["cast:ask"]
        assert 'scope="cast:ask"' in refused.headers["www-authenticate"]
    page = await house.host.runs(caller=await _caller(house, narrow))
    assert {run.spell for run in page.runs} == {"note"}


async def test_sources_are_read_with_the_scope_for_that_only(house: House) -> None:
    for scopes, status in ((["read"], 200), (["cast"], 403), (None, 200)):
        _, key = await house.key(scopes=scopes)
        answer = await house.post(key, "resources/read", {"uri": "spell://note"}, "spell://note")
        assert answer.status_code == status, answer.text
        if status == 403:
            assert 'scope="read"' in answer.headers["www-authenticate"]


async def test_who_may_not_cast_may_neither_answer_nor_stop(house: House) -> None:
    _, full = await house.key()
    task = await house.begin(full)
    caller = await _caller(house, full)
    # One principal with fewer scopes, as another token of the same person is.
    for handle in (
        await house.host.run(task, caller=replace(caller, scopes=frozenset({"read"}))),
        await house.host.wait_for(task, caller=replace(caller, scopes=frozenset({"cast:note"}))),
    ):
        assert (await handle.record()).state == "input_required"
        for act in (handle.cancel, lambda handle=handle: handle.answer("x")):
            with pytest.raises(AccessForbidden) as refused:
                await act()
            assert refused.value.data == {"scopes": ["cast:ask"]}
    for scopes in (frozenset[str](), frozenset({"openid"})):
        with pytest.raises(AccessForbidden):
            await house.host.run(task, caller=replace(caller, scopes=scopes))


async def test_a_revoked_key_is_out_on_a_socket_that_is_open(house: House) -> None:
    id, secret = await house.key()
    headers = {"authorization": f"Bearer {secret}", "a2a-version": "1.0"}
    url = f"ws{house.server.url.removeprefix('http')}/a2a/ws"
    async with connect(
        url, subprotocols=[Subprotocol("a2a.v1")], additional_headers=headers, proxy=None
    ) as socket:
        await socket.send(json.dumps(_list_tasks()))
        assert "result" in json.loads(await socket.recv())
        await house.host.api_keys.revoke(id)
        await socket.wait_closed()
        assert socket.close_code == 1008
    assert (await house.ask(secret, "ListTasks", {})).status_code == 401


def _list_tasks() -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": next(_ids), "method": "ListTasks", "params": {}}


async def _caller(house: House, secret: str) -> Caller:
    caller = await house.host.api_keys.caller(secret, "a2a")
    assert caller is not None
    return caller
