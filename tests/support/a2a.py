"""A host with a few small spells behind the real HTTP server, and raw A2A messages."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from llmspell.endpoints.app import HttpServer, serve_http
from llmspell.endpoints.auth.authenticator import Authenticator
from llmspell.endpoints.auth.token import TokenAuthenticator
from llmspell.host.host import Host
from llmspell.security.principals import local_caller

SECONDS = 20.0
"""Bound of every wait."""

TOKEN = "s3cret"
HEADERS = {"authorization": f"Bearer {TOKEN}", "a2a-version": "1.0"}

SPELLS = {
    "echo": """
-- Say a text back.
return Spell.create {
  title = "Echo", tags = { "text" },
  input = { text = Schema.string "What to say" },
  examples = { { input = { text = "hello" } } },
  run = function(input) return input.text end,
}
""",
    "count": """
-- Count the words of a text.
return Spell.create {
  input = { text = Schema.string "The text to count" },
  output = { words = Schema.integer "Number of words" },
  run = function(input)
    local _, words = input.text:gsub("%S+", "")
    return { words = words }
  end,
}
""",
    "add": """
-- Add two whole numbers.
return Spell.create {
  input = { a = Schema.integer "One", b = Schema.integer "Another" },
  run = function(input) return { sum = input.a + input.b } end,
}
""",
    "fails": """
-- Always raises an error.
return Spell.create {
  input = {},
  run = function() error { code = "no.luck", message = "no luck today", hint = "try tomorrow" } end,
}
""",
    "pieces": """
-- Says two pieces of its answer; after each it waits until `open_gate` was cast once more.
return Spell.create {
  input = {},
  run = function(_, ctx)
    local function gate(number)
      while (State.shared:get("gate", 0)) < number do sleep(0.005) end
    end
    ctx:emit("one ")
    gate(1)
    ctx:emit("two")
    gate(2)
    return "one two"
  end,
}
""",
    "open_gate": """
-- Lets `pieces` go on to its next piece.
return Spell.create {
  input = {}, expose = { a2a = false },
  run = function() return State.shared:increment("gate", 1) end,
}
""",
    "hidden": """
-- Is no skill.
return Spell.create {
  input = {}, expose = { a2a = false },
  run = function() return 1 end,
}
""",
}
"""`pieces` goes on when the test says so (`Serving.open_gate`); the others answer at once."""


@asynccontextmanager
async def open_host(
    directory: Path, *names: str, spells: Mapping[str, str] = SPELLS
) -> AsyncGenerator[Host]:
    """A host over these spells, its state in memory; without names over all of them."""
    (directory / "spells").mkdir(parents=True, exist_ok=True)
    (directory / "llmspell.toml").write_text("", encoding="utf-8")
    for name, text in spells.items():
        if not names or name in names:
            (directory / "spells" / f"{name}.lua").write_text(text, encoding="utf-8")
    async with Host.open(directory, state="memory", watch=False, environ={}) as host:
        yield host


@dataclass(frozen=True)
class Serving:
    """A server that answers, and the host behind it."""

    host: Host
    server: HttpServer

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return self.server.url

    @property
    def socket_url(self) -> str:
        """URL of the WebSocket binding."""
        return f"ws{self.server.url.removeprefix('http')}/a2a/ws"

    async def open_gate(self) -> None:
        """Let `pieces` go on to its next piece."""
        await self.host.cast("open_gate", {}, caller=local_caller())

    @asynccontextmanager
    async def socket(self, **options: Any) -> AsyncGenerator[ClientConnection]:
        """A raw socket of the binding."""
        options = {"subprotocols": ["a2a.v1"], "additional_headers": HEADERS, **options}
        async with connect(self.socket_url, compression=None, proxy=None, **options) as socket:
            yield socket


@asynccontextmanager
async def serving(
    directory: Path,
    *names: str,
    auth: Authenticator | None = None,
    default_skill: str = "",
) -> AsyncGenerator[Serving]:
    """The real server on a free port of this machine, over a host with these spells."""
    async with open_host(directory, *names) as host:
        server = await serve_http(
            host, port=0, auth=auth or TokenAuthenticator(TOKEN), default_skill=default_skill
        )
        try:
            yield Serving(host, server)
        finally:
            await server.close()


def message(
    *parts: str | dict[str, Any], skill: str | None = None, id: str = "m-1", **more: Any
) -> dict[str, Any]:
    """Return the params of `SendMessage`: texts as text parts, dicts as they are."""
    body: dict[str, Any] = {
        "messageId": id,
        "role": "ROLE_USER",
        "parts": [{"text": part} if isinstance(part, str) else part for part in parts],
        **more,
    }
    if skill is not None:
        body["metadata"] = {"llmspell/skill": skill}
    return {"message": body}


def frame(id: Any, method: str, params: dict[str, Any] | None = None, **more: Any) -> str:
    """Return a request as text."""
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}, **more}
    return json.dumps(body)
