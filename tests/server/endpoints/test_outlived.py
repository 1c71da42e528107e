"""Streams and sockets end with the credential they were opened with, and the runs go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from llmspell.clock import ManualClock
from llmspell.config import OAuthSettings
from llmspell.endpoints.app import HttpServer, serve_http
from llmspell.endpoints.auth.oauth import OAuthAuthenticator
from llmspell.host.host import Host
from llmspell.security.principals import Caller
from tests.support.a2a import frame, message
from tests.support.authorization_server import serving_issuer
from tests.support.hosts import open_host
from tests.support.mcp import SECONDS, SPELLS, write_spell
from tests.support.mcp_http import (
    GATED,
    Events,
    RawClient,
    Served,
    routing,
    served,
    serving,
)

PROGRESS = "notifications/progress"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
BASE = "http://127.0.0.1:7777"


async def revoke(site: Served, which: int = 0) -> None:
    """Revoke the key of one of the principals."""
    ids = [key.id for key in await site.host.api_keys.list()]
    await site.host.api_keys.revoke(ids[which])


@asynccontextmanager
async def subscribed(client: RawClient) -> AsyncGenerator[Events]:
    """Open a `subscriptions/listen` stream."""
    asked = client.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    async with client.streaming(asked, {**client.headers, **routing(asked)}) as stream:
        await stream.until(ACKNOWLEDGED)
        yield stream


@asynccontextmanager
async def calling(client: RawClient, spell: str) -> AsyncGenerator[Events]:
    """Call a tool of 2026-07-28 on a stream, until it has reported."""
    asked = client.modern("tools/call", {"name": spell, "arguments": {}}, progressToken=1)
    async with client.streaming(asked, {**client.headers, **routing(asked)}) as stream:
        await stream.until(PROGRESS)
        yield stream


@asynccontextmanager
async def socket(server: HttpServer, secret: str) -> AsyncGenerator[ClientConnection]:
    """Open a socket of A2A."""
    async with connect(
        f"ws{server.url.removeprefix('http')}/a2a/ws",
        subprotocols=[Subprotocol("a2a.v1")],
        additional_headers={"authorization": f"Bearer {secret}", "a2a-version": "1.0"},
        proxy=None,
    ) as opened:
        yield opened


async def closed_with(opened: ClientConnection) -> int:
    """Return the code a socket is closed with, whatever comes before."""
    async with asyncio.timeout(SECONDS):
        await opened.wait_closed()
    assert opened.close_code is not None
    return opened.close_code


def told(stream_rest: list[Any]) -> str:
    """Return the code of ours in the error that a stream ended with."""
    return stream_rest[-1].data["error"]["data"]["code"]


async def test_a_subscription_ends_when_its_key_is_revoked_and_others_go_on(
    tmp_path: Path,
) -> None:
    async with (
        serving(tmp_path) as site,
        site.client() as client,
        site.client(1) as other,
        subscribed(client) as stream,
        subscribed(other) as going_on,
    ):
        await revoke(site)
        assert told(await stream.rest()) == "access.unauthenticated"
        write_spell(tmp_path, "more", SPELLS["echo"])
        await site.host.reload()
        assert (await anext(going_on)).method == "notifications/tools/list_changed"


async def test_a_call_on_a_stream_ends_when_its_key_is_revoked_and_its_run_goes_on(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site, site.client() as client, site.client(1) as other:
        caller = await site.host.api_keys.caller(site.keys[0], "mcp")
        assert caller is not None
        async with calling(client, "held") as stream:
            await revoke(site)
            assert told(await stream.rest()) == "access.unauthenticated"
        assert (await other.call_modern("let_go")).status_code == 200
        assert await ended_run(site.host, caller) == ("completed", "let go")


async def test_a_request_that_is_no_stream_is_answered_though_its_key_was_revoked(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site, site.client() as client, site.client(1) as other:
        client.headers["accept"] = "application/json"
        asked = client.modern("tools/call", {"name": "held", "arguments": {}})
        call = asyncio.ensure_future(client.send_modern(asked))
        await begun(site.host)
        await revoke(site)
        await other.call_modern("let_go")
        answer = await call
        assert answer.status_code == 200
        assert answer.json()["result"]["content"][0]["text"] == "let go"
        assert (await client.send_modern(asked)).status_code == 401


async def test_the_stream_of_a_session_ends_when_its_key_is_revoked(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.client() as client:
        await client.initialize()
        async with client.listening() as stream:
            await revoke(site)
            assert await stream.rest() == []  # and the end of the response was whole


async def test_a_call_in_a_session_is_as_one_whose_client_left_when_its_key_is_revoked(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site, site.client() as client, site.client(1) as other:
        await client.initialize()
        caller = await site.host.api_keys.caller(site.keys[0], "mcp")
        assert caller is not None
        async with client.streaming(client.call("held", progressToken=1)) as stream:
            await stream.until(PROGRESS)
            await revoke(site)
            assert await stream.rest() == []
        await other.call_modern("let_go")
        assert await ended_run(site.host, caller) == ("completed", "let go")


async def test_a_stream_of_a2a_ends_when_its_key_is_revoked_and_its_task_goes_on(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site, site.client() as client, site.client(1) as other:
        caller = await site.host.api_keys.caller(site.keys[0], "a2a")
        assert caller is not None
        headers = {**client.headers, "a2a-version": "1.0"}
        body = json.loads(frame("s", "SendStreamingMessage", message("go", skill="held")))
        async with client.http.stream("POST", "/a2a", json=body, headers=headers) as response:
            stream = Events(response)
            task = (await anext(stream)).data["result"]["task"]["id"]
            await revoke(site)
            last = (await stream.rest())[-1]
        assert last.data["id"] == "s"
        assert "access.unauthenticated" in json.dumps(last.data["error"]["data"])
        await other.call_modern("let_go")
        assert (await (await site.host.run(task, caller=caller)).result()).output == "let go"


async def test_a_socket_is_closed_when_its_key_is_revoked_and_its_tasks_go_on(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site, site.client(1) as other:
        caller = await site.host.api_keys.caller(site.keys[0], "a2a")
        assert caller is not None
        async with socket(site.server, site.keys[0]) as opened:
            await opened.send(frame("s", "SendStreamingMessage", message("go", skill="held")))
            task = json.loads(await opened.recv())["result"]["task"]["id"]
            await revoke(site)
            assert await closed_with(opened) == 1008
        await other.call_modern("let_go")
        assert (await (await site.host.run(task, caller=caller)).result()).output == "let go"


async def test_all_that_is_open_ends_when_its_key_expires(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_host(tmp_path, SPELLS, clock=clock) as host, AsyncExitStack() as stack:
        keys = [(await host.api_keys.add("short", seconds=3600)).secret]
        site = await stack.enter_async_context(served(host, keys))
        client = await stack.enter_async_context(site.client())
        await client.initialize()
        streams = [
            await stack.enter_async_context(subscribed(client)),
            await stack.enter_async_context(client.listening()),
        ]
        opened = await stack.enter_async_context(socket(site.server, keys[0]))
        await clock.advance(3599)
        pong = await opened.ping()
        await asyncio.wait_for(pong, SECONDS)
        await clock.advance(1)
        assert told(await streams[0].rest()) == "access.unauthenticated"
        assert await streams[1].rest() == []
        assert await closed_with(opened) == 1008


async def test_all_that_is_open_ends_with_the_token_it_was_opened_with(tmp_path: Path) -> None:
    async with serving_issuer() as issuer, AsyncExitStack() as stack:
        host = await stack.enter_async_context(open_host(tmp_path, SPELLS))
        clock = ManualClock()
        auth = OAuthAuthenticator(OAuthSettings(issuer=issuer.url), BASE, clock)
        server = await serve_http(host, port=0, auth=auth)
        stack.push_async_callback(server.close)
        both = [f"{BASE}/mcp", f"{BASE}/a2a"]
        short, long = (
            issuer.token(both, nbf=None, iat=None, exp=int(clock.time()) + seconds)
            for seconds in (100, 1000)
        )
        streams = [
            await stack.enter_async_context(
                subscribed(await stack.enter_async_context(client_of(server, token)))
            )
            for token in (short, long)
        ]
        opened = await stack.enter_async_context(socket(server, short))
        await clock.advance(130)  # its time, and the leeway
        assert told(await streams[0].rest()) == "access.unauthenticated"
        assert await closed_with(opened) == 1008
        # One principal, another token.
        asked = asyncio.ensure_future(streams[1].rest())
        await clock.advance(800)
        assert not asked.done()
        await clock.advance(100)
        assert told(await asked) == "access.unauthenticated"


async def test_the_answer_to_a_call_in_a_session_is_fetched_with_a_newer_token(
    tmp_path: Path,
) -> None:
    async with serving_issuer() as issuer, AsyncExitStack() as stack:
        host = await stack.enter_async_context(open_host(tmp_path, GATED))
        clock = ManualClock()
        auth = OAuthAuthenticator(OAuthSettings(issuer=issuer.url), BASE, clock)
        server = await serve_http(host, port=0, auth=auth)
        stack.push_async_callback(server.close)
        short, long = (
            issuer.token(f"{BASE}/mcp", nbf=None, iat=None, exp=int(clock.time()) + seconds)
            for seconds in (100, 1000)
        )
        client = await stack.enter_async_context(client_of(server, short))
        await client.initialize()
        async with client.streaming(client.call("held", progressToken=1)) as stream:
            seen = await stream.until(PROGRESS)
            await clock.advance(130)
            assert await stream.rest() == []
        client.headers["authorization"] = f"Bearer {long}"
        assert (await client.send(client.call("let_go"))).status_code == 200
        async with client.listening(seen.id) as again:
            answer = (await again.rest())[-1]
        assert answer.data["result"]["content"][0]["text"] == "let go"


@asynccontextmanager
async def client_of(server: HttpServer, token: str) -> AsyncGenerator[RawClient]:
    """Connect as the bearer of a token."""
    async with httpx2.AsyncClient(base_url=server.url, timeout=SECONDS) as http:
        yield RawClient(http, token)


async def begun(host: Host) -> None:
    """Return once something is under way."""
    async with asyncio.timeout(SECONDS):
        while True:
            if host.busy:
                return
            await asyncio.sleep(0)  # its task goes on


async def ended_run(host: Host, caller: Caller) -> tuple[str, Any]:
    """Return the state and the result of the only run of a caller, once it has ended."""
    async with asyncio.timeout(SECONDS):
        while True:
            for run in (await host.runs(caller=caller)).runs:
                if run.is_final:
                    outcome = await (await host.run(run.id, caller=caller)).result()
                    return outcome.state, outcome.output
            await asyncio.sleep(0)  # its task goes on
