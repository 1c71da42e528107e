"""Sessions of the handshake era over HTTP: whose they are, how long they last, what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmspell.endpoints.mcp.http.door import HttpLimits
from llmspell.host.host import Host
from tests.support.mcp import LEGACY, SECONDS, write_spell
from tests.support.mcp_http import GATED, RawClient, Served, served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with serving(tmp_path_factory.mktemp("project")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(site: Served) -> AsyncGenerator[RawClient]:
    async with site.client() as found:
        yield found


async def status(client: RawClient) -> int:
    """Return the status of a ping in the session."""
    return (await client.send(client.request("ping"))).status_code


async def test_a_handshake_begins_a_session_that_cannot_be_guessed(client: RawClient) -> None:
    answer = await client.initialize()
    assert answer.status_code == 200
    result = answer.json()["result"]
    assert result["protocolVersion"] == LEGACY
    assert "_meta" not in result
    first = client.session
    await client.initialize()
    assert client.session != first
    assert client.session is not None
    assert len(client.session) >= 32
    assert await status(client) == 200


async def test_a_handshake_that_is_none_begins_no_session(client: RawClient) -> None:
    answer = await client.post(client.request("initialize", {"protocolVersion": LEGACY}))
    assert answer.json()["error"]["code"] == -32602
    assert "mcp-session-id" not in answer.headers
    large = {
        "protocolVersion": LEGACY,
        "capabilities": {"experimental": {"x": {"y": "z" * 100_000}}},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    answer = await client.post(client.request("initialize", large))
    assert answer.json()["error"]["code"] == -32602


async def test_a_quick_call_in_a_session_is_answered_as_json(client: RawClient) -> None:
    await client.initialize()
    answer = await client.send(client.call("echo", {"text": "hi"}))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["mcp-session-id"] == client.session
    result = answer.json()["result"]
    assert result["content"] == [{"type": "text", "text": "hi"}]
    assert "resultType" not in result


async def test_a_call_is_made_in_the_session_it_came_in(client: RawClient) -> None:
    await client.initialize()
    answer = await client.send(client.call("who"))
    said = answer.json()["result"]["structuredContent"]
    assert said["session"] == client.session
    assert said["message"]["client"] == {"name": "raw", "version": "1"}
    meta: dict[str, Any] = {"llmspell/session": "mine"}
    named = await client.send(client.call("who", **meta))
    assert named.json()["result"]["structuredContent"]["session"] == "mine"


async def test_a_request_outside_any_session_is_refused(client: RawClient) -> None:
    answer = await client.send(client.request("tools/list"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
    for method in ("GET", "DELETE"):
        refused = await client.http.request(method, "/mcp", headers=client.in_session)
        assert refused.status_code == 400


async def test_a_session_that_is_not_there_or_not_ones_own_is_not_found(
    site: Served, client: RawClient
) -> None:
    await client.initialize()
    async with site.client(1) as other:
        other.session = client.session
        assert await status(other) == 404
        for method in ("GET", "DELETE"):
            refused = await other.http.request(method, "/mcp", headers=other.in_session)
            assert refused.status_code == 404
    assert await status(client) == 200
    client.session = "0" * 32
    assert await status(client) == 404


async def test_deleting_a_session_ends_it(client: RawClient) -> None:
    await client.initialize()
    async with client.listening() as stream:
        deleted = await client.http.request("DELETE", "/mcp", headers=client.in_session)
        assert deleted.status_code == 200
        assert await stream.rest() == []
    assert await status(client) == 404


async def test_an_id_is_used_for_one_request_at_a_time(client: RawClient) -> None:
    await client.initialize()
    held = client.call("held", progressToken=1)
    async with client.streaming(held) as stream:
        await stream.until("notifications/progress")
        for same in (held["id"], str(held["id"])):
            refused = await client.send({**client.request("ping"), "id": same})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32600)
            assert refused.json()["id"] == same
        await client.send(client.call("let_go"))
        rest = await stream.rest()
    assert rest[-1].data["result"]["content"][0]["text"] == "let go"
    assert (await client.send({**client.request("ping"), "id": held["id"]})).status_code == 200


async def test_an_id_as_long_as_a_message_is_refused(client: RawClient) -> None:
    await client.initialize()
    answer = await client.send({**client.request("ping"), "id": "x" * 10_000})
    assert answer.status_code == 400


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", LEGACY])
async def test_every_version_of_the_era_is_spoken(client: RawClient, version: str) -> None:
    answer = await client.initialize(version)
    assert answer.json()["result"]["protocolVersion"] == version
    called = await client.send(client.call("count", {"text": "a b"}))
    assert called.json()["result"]["content"][0]["text"] == '{"words":2}'


async def test_a_version_nobody_knows_is_answered_with_one_that_is_served(
    client: RawClient,
) -> None:
    answer = await client.initialize("1999-01-01")
    assert answer.json()["result"]["protocolVersion"] == LEGACY


async def test_a_session_survives_a_restart_of_the_server_with_all_it_was_told(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving(tmp_path))
        async with first.client() as client:
            await client.initialize()
            session = client.session
            set_level = await client.send(client.request("logging/setLevel", {"level": "info"}))
            assert set_level.status_code == 200
            watched = {"uri": "spell://echo"}
            subscribed = await client.send(client.request("resources/subscribe", watched))
            assert "result" in subscribed.json(), subscribed.json()
        await first.server.close()
        second = await stack.enter_async_context(served(first.host, first.keys))
        async with second.client(1) as other:
            other.session = session
            assert await status(other) == 404
        async with second.client() as client:
            client.session = session
            async with client.listening() as stream:
                said = await client.send(client.call("who"))
                message = said.json()["result"]["structuredContent"]["message"]
                assert message["client"]["name"] == "raw"
                source = GATED["echo"].replace("Say a text back", "Say it again")
                write_spell(tmp_path, "echo", source)
                await first.host.reload()
                updated = await stream.until("notifications/resources/updated")
                assert updated.data["params"]["uri"] == "spell://echo"


async def test_a_session_survives_a_restart_of_the_owner(tmp_path: Path) -> None:
    (tmp_path / "llmspell.toml").write_text("", encoding="utf-8")
    write_spell(tmp_path, "who", GATED["who"])
    environ = {"HOME": str(tmp_path), "LLMSPELL_ALLOW_NETWORK": "0"}
    session: str | None = None
    keys: list[str] = []
    for _ in range(3):
        async with Host.open(tmp_path, environ=environ) as host:
            keys = keys or [(await host.api_keys.add("one")).secret]
            async with served(host, keys) as site, site.client() as client:
                if session is None:
                    await client.initialize()
                    session = client.session
                client.session = session
                said = await client.send(client.call("who"))
                assert said.json()["result"]["structuredContent"]["session"] == session


async def test_a_session_that_was_deleted_does_not_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as first:
        async with first.client() as client:
            await client.initialize()
            session = client.session
            await client.http.request("DELETE", "/mcp", headers=client.in_session)
        await first.server.close()
        async with served(first.host, first.keys) as second, second.client() as client:
            client.session = session
            assert await status(client) == 404


async def test_one_session_too_many_ends_the_one_that_was_unused_longest(tmp_path: Path) -> None:
    limits = HttpLimits(sessions=2)
    async with (
        serving(tmp_path, limits=limits) as site,
        site.client() as client,
        site.client(1) as other,
    ):
        await other.initialize()
        await client.initialize()
        oldest = client.session
        await client.initialize()
        second = client.session
        client.session = oldest
        assert await status(client) == 200  # now the second is the older
        await client.initialize()
        newest = client.session
        found: dict[str | None, int] = {}
        for client.session in (oldest, second, newest):
            found[client.session] = await status(client)
        assert found == {oldest: 200, second: 404, newest: 200}
        assert await status(other) == 200


async def test_sessions_that_are_in_use_are_not_ended_for_another(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=HttpLimits(sessions=1)) as site, site.client() as client:
        await client.initialize()
        async with client.listening():
            refused = await client.post(
                client.request(
                    "initialize",
                    {
                        "protocolVersion": LEGACY,
                        "capabilities": {},
                        "clientInfo": {"name": "raw", "version": "1"},
                    },
                )
            )
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) > 0
            assert refused.json()["error"]["code"] == "access.rate_limited"
            assert await status(client) == 200


async def test_the_streams_of_one_principal_are_limited(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=HttpLimits(streams=1)) as site, site.client() as client:
        await client.initialize()
        async with client.listening():
            refused = await client.http.get("/mcp", headers=client.in_session)
            assert refused.status_code == 429
            async with site.client(1) as other:
                await other.initialize()
                async with other.listening():
                    pass
        async with asyncio.timeout(SECONDS):
            while True:
                async with client.http.stream("GET", "/mcp", headers=client.in_session) as again:
                    if again.status_code == 200:
                        break
