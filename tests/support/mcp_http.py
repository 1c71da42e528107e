"""A raw client of MCP over HTTP, in both eras, against a real server on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from llmspell.endpoints.app import HttpServer, serve_http
from llmspell.endpoints.auth.keys import KeyAuthenticator
from llmspell.endpoints.mcp.http.door import HttpLimits
from llmspell.host.host import Host
from llmspell.runs.record import Run
from tests.support.mcp import ENVELOPE, LEGACY, MODERN, SECONDS, SPELLS, open_host

Object = dict[str, Any]

ACCEPT = {"accept": "application/json, text/event-stream"}

GATED = {
    **SPELLS,
    "held": """
-- Reports that it waits, waits until it is let go, and reports that it goes on.
return Spell.create {
  input = {}, read_only = true, open_world = false, when_long = "wait",
  run = function(_, ctx)
    ctx:progress(1, 3, "waiting")
    while not State.shared:get("gate") do sleep(0.005) end
    ctx:progress(2, 3, "going on")
    return "let go"
  end,
}
""",
    "let_go": """
-- Lets every call of `held` go.
return Spell.create {
  input = {}, open_world = false,
  run = function() State.shared:set("gate", true) end,
}
""",
    "asks": """
-- Asks for a name.
return Spell.create {
  input = {}, open_world = false, when_long = "wait",
  run = function(_, ctx)
    local answer = ctx:ask { message = "Who?", schema = { name = Schema.string "Your name" } }
    return "hello " .. answer.name
  end,
}
""",
}


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    data: Any
    """What it says as JSON; None when it is empty."""
    retry: int | None = None

    @property
    def method(self) -> str:
        """The method of the notification or request it carries, or ""."""
        return str(self.data.get("method", "")) if self.data else ""


class Events:
    """The events of a response, as they come."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        fields: dict[str, str] = {}
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif not line and fields:
                    data = fields.get("data")
                    retry = fields.get("retry")
                    return Event(
                        fields.get("id", ""),
                        json.loads(data) if data else None,
                        int(retry) if retry is not None else None,
                    )
        raise StopAsyncIteration

    async def until(self, method: str) -> Event:
        """Return the next event that carries this method."""
        async for event in self:
            if event.method == method:
                return event
        raise AssertionError(f"the stream ended before {method}")

    async def rest(self) -> list[Event]:
        """Return all events to the end."""
        return [event async for event in self]


class RawClient:
    """Posts messages. After `initialize` it is in a session.

    Args:
        key: The API key it calls with.
    """

    def __init__(self, http: httpx2.AsyncClient, key: str) -> None:
        self.http = http
        self.headers = {**ACCEPT, "authorization": f"Bearer {key}"}
        self.session: str | None = None
        self._ids = itertools.count(1)

    async def post(self, message: object, headers: Mapping[str, str] | None = None) -> Any:
        """Post a message with these headers besides the usual ones, and return the response."""
        return await self.http.post(
            "/mcp", json=message, headers={**self.headers, **(headers or {})}
        )

    def modern(self, method: str, params: Object | None = None, **meta: Any) -> Object:
        """Return a request of 2026-07-28."""
        body = {**(params or {}), "_meta": {**ENVELOPE, **meta}}
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": body}

    def request(self, method: str, params: Object | None = None, **meta: Any) -> Object:
        """Return a request of the handshake era."""
        body = {**(params or {}), **({"_meta": meta} if meta else {})}
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": body}

    async def send_modern(self, message: Object, headers: Mapping[str, str] | None = None) -> Any:
        """Post a request of 2026-07-28 with the headers it needs."""
        return await self.post(message, {**routing(message), **(headers or {})})

    async def call_modern(self, name: str, arguments: Object | None = None, **meta: Any) -> Any:
        """Call a tool in the modern era and return the response."""
        params = {"name": name, "arguments": arguments or {}}
        return await self.send_modern(self.modern("tools/call", params, **meta))

    async def initialize(
        self, version: str = LEGACY, capabilities: Object | None = None
    ) -> httpx2.Response:
        """Begin a session and return the answer to `initialize`."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "raw", "version": "1"},
        }
        answer: httpx2.Response = await self.post(self.request("initialize", params))
        if "mcp-session-id" in answer.headers:
            self.session = answer.headers["mcp-session-id"]
            await self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    @property
    def in_session(self) -> dict[str, str]:
        """The headers of a request in the session."""
        found = {**self.headers, "mcp-protocol-version": LEGACY}
        return found if self.session is None else {**found, "mcp-session-id": self.session}

    async def send(self, message: object) -> httpx2.Response:
        """Post a message in the session."""
        return await self.http.post("/mcp", json=message, headers=self.in_session)

    def call(self, name: str, arguments: Object | None = None, **meta: Any) -> Object:
        """Return a `tools/call` of the handshake era."""
        return self.request("tools/call", {"name": name, "arguments": arguments or {}}, **meta)

    @asynccontextmanager
    async def streaming(
        self, message: object, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Events]:
        """Post a message and read the answer as a stream."""
        async with self.http.stream(
            "POST", "/mcp", json=message, headers={**(headers or self.in_session)}
        ) as response:
            assert response.headers["content-type"] == "text/event-stream", response.status_code
            yield Events(response)

    @asynccontextmanager
    async def listening(self, last_event_id: str | None = None) -> AsyncGenerator[Events]:
        """Open a GET stream in the session."""
        after = {} if last_event_id is None else {"last-event-id": last_event_id}
        async with self.http.stream(
            "GET", "/mcp", headers={**self.in_session, **after}
        ) as response:
            assert response.status_code == 200
            yield Events(response)


def routing(message: Object) -> dict[str, str]:
    """Return the headers that repeat what a modern request says (SEP-2243)."""
    found = {"mcp-protocol-version": MODERN, "mcp-method": str(message["method"])}
    for field in ("name", "uri", "taskId"):
        if field in message["params"]:
            found["mcp-name"] = message["params"][field]
    return found


@dataclass
class Served:
    """A host that is served."""

    host: Host
    server: HttpServer
    keys: list[str]
    """API keys, each of a principal of its own."""

    async def ended_run(self, which: int = 0) -> Run:
        """Return the record of the only run of a principal, once it has ended."""
        caller = await self.host.api_keys.caller(self.keys[which], "mcp")
        assert caller is not None
        async with asyncio.timeout(SECONDS):
            while True:
                for run in (await self.host.runs(caller=caller)).runs:
                    if run.is_final:
                        return run
                await asyncio.sleep(0)  # its task goes on

    @asynccontextmanager
    async def client(self, which: int = 0) -> AsyncGenerator[RawClient]:
        """Connect as one of the principals."""
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx2.AsyncClient(
            base_url=self.server.url, timeout=SECONDS, limits=limits
        ) as http:
            yield RawClient(http, self.keys[which])


@asynccontextmanager
async def serving(
    directory: Path,
    spells: Mapping[str, str] = GATED,
    *,
    limits: HttpLimits | None = None,
    origins: tuple[str, ...] = (),
) -> AsyncGenerator[Served]:
    """Open a host and serve it to two principals."""
    async with open_host(directory, spells) as host:
        keys = [(await host.api_keys.add(label)).secret for label in ("one", "two")]
        async with served(host, keys, limits=limits, origins=origins) as found:
            yield found


@asynccontextmanager
async def served(
    host: Host,
    keys: list[str],
    *,
    limits: HttpLimits | None = None,
    origins: tuple[str, ...] = (),
) -> AsyncGenerator[Served]:
    """Serve an open host to those who have these keys."""
    server = await serve_http(
        host,
        port=0,
        auth=await KeyAuthenticator.open(host.api_keys),
        limits=limits,
        allowed_origins=origins,
    )
    try:
        yield Served(host, server, keys)
    finally:
        async with asyncio.timeout(SECONDS):
            await server.close()
